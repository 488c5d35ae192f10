"""Folded normalisation: the same outputs, no normalisation left after a convolution."""

import keras
import numpy as np
import pytest
from keras import layers

from facemask.models.backbones import build_application
from facemask.models.folding import fold_normalisation


def norms(network: keras.Model) -> int:
    return sum(isinstance(layer, layers.BatchNormalization) for layer in network.layers)


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("MobileNetV2", 0),
        ("Xception", 0),  # separable convolutions
        ("InceptionV3", 0),  # normalisations without gamma
        ("DenseNet121", 62),  # many follow a concatenation
    ],
)
def test_outputs_stay(name: str, left: int) -> None:
    network, preprocess, _ = build_application(name, 96, "random")
    rng = np.random.default_rng(1)
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            values = [rng.uniform(0.5, 1.5, weight.shape) for weight in layer.weights]
            layer.set_weights(values)
    image = preprocess(rng.uniform(0, 255, (1, 96, 96, 3)).astype("float32"))
    folded = fold_normalisation(network)
    expected, actual = network(image), folded(image)
    assert norms(folded) == left < norms(network)
    assert [layer.name for layer in folded.layers[1:]] == [
        layer.name for layer in network.layers[1:]
    ]
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_a_normalisation_stays_whose_convolution_another_layer_reads() -> None:
    inputs = keras.Input((8, 8, 3))
    read_twice = layers.Conv2D(4, 3, padding="same")(inputs)
    normalised = layers.BatchNormalization()(read_twice)
    x = layers.Add()([read_twice, normalised])
    last = layers.Conv2D(4, 3)(x)  # an output itself, and normalised
    network = keras.Model(inputs, [last, layers.BatchNormalization()(last)])
    rng = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 2, 4) for _ in range(4)])
    image = rng.normal(size=(2, 8, 8, 3)).astype("float32")
    folded = fold_normalisation(network)
    assert norms(folded) == 2
    for actual, expected in zip(folded(image), network(image), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_a_bias_and_several_filters_a_channel_are_folded() -> None:
    inputs = keras.Input((8, 8, 3))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, bias_initializer="random_normal")(inputs)
    outputs = layers.BatchNormalization(center=False)(x)
    network = keras.Model(inputs, outputs)
    rng = np.random.default_rng(0)
    network.layers[2].set_weights([rng.uniform(0.5, 2, 6) for _ in range(3)])
    image = rng.normal(size=(2, 8, 8, 3)).astype("float32")
    folded = fold_normalisation(network)
    assert norms(folded) == 0
    np.testing.assert_allclose(folded(image), network(image), rtol=1e-5, atol=1e-5)
