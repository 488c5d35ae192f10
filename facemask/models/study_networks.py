"""The trained part of every experiment: convolutions or features, dense layers, two heads."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
from keras import layers

from facemask.config.training import Experiment

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


def build(experiment: Experiment, input_shape: tuple[int, ...]) -> keras.Model:
    """Build the network of one experiment.

    Args:
        experiment: its layers, dropout rates, losses and box format.
        input_shape: (s, s, 3) for crops, raw values 0-255; (d,) for pooled features.

    Returns:
        An untrained model with the outputs label (N, 1) sigmoid or (N, 2) softmax, and box (N, 4)
        in the experiment's box format, both float32 whatever the precision of the layers before.
    """
    with in_precision(experiment.precision):
        return _network(experiment, input_shape)


@contextmanager
def in_precision(precision: str) -> Iterator[None]:
    """Make layers in a precision of params.yaml."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(POLICIES[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def _network(experiment: Experiment, input_shape: tuple[int, ...]) -> keras.Model:
    network, dropout = experiment.network, experiment.dropout
    inputs = keras.Input(input_shape, name="inputs")
    x = _convolve(inputs, network.filters, network.pools) if network.filters else inputs
    for units in network.dense:
        x = _drop(layers.Dense(units, activation="relu")(x), dropout.dense)
    x = _drop(x, dropout.shared)
    outputs = {"label": _label_head(x, experiment), "box": _box_head(x, experiment)}
    return keras.Model(inputs, outputs)


def _convolve(x: keras.KerasTensor, filters: tuple[int, ...], pools: int) -> keras.KerasTensor:
    for number, count in enumerate(filters):
        x = layers.Conv2D(count, 3, activation="relu")(x)
        if number < pools:
            x = layers.MaxPooling2D()(x)
    return layers.Flatten()(x)


def _label_head(x: keras.KerasTensor, experiment: Experiment) -> keras.KerasTensor:
    x = _drop(x, experiment.dropout.label)
    for units in experiment.network.label_dense:
        x = layers.Dense(units, activation="relu")(x)
    if experiment.losses.label.name == "categorical_crossentropy":
        return layers.Dense(2, activation="softmax", dtype="float32", name="label")(x)
    return layers.Dense(1, activation="sigmoid", dtype="float32", name="label")(x)


def _box_head(x: keras.KerasTensor, experiment: Experiment) -> keras.KerasTensor:
    activation = "sigmoid" if experiment.box_format.startswith("rel_") else "linear"
    x = _drop(x, experiment.dropout.box)
    return layers.Dense(4, activation=activation, dtype="float32", name="box")(x)


def _drop(x: keras.KerasTensor, rate: float) -> keras.KerasTensor:
    return layers.Dropout(rate)(x) if rate else x
