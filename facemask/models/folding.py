"""Batch normalisation with fixed statistics, folded into the convolutions before it."""

from collections import Counter

import keras
import numpy as np
from keras import layers

CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)


def fold_normalisation(network: keras.Model) -> keras.Model:
    """Return a network of the same outputs in inference, whose convolutions do what followed them.

    With fixed statistics a normalisation multiplies and shifts each channel, which the kernel and
    bias of a convolution can do at no cost (Jacob et al. 2018, section 3.2). Fine-tuned, the result
    also learns the same from weights that came folded and from weights that did not.

    Args:
        network: functional, each layer called once. Its weights are copied. A normalisation stays
            if it does not follow a convolution, or if another layer reads that one's output too.

    Returns:
        A network with layers of the same names; a folded normalisation is an identity there.
    """
    readers = Counter(
        id(tensor)
        for tensors in (network.outputs, *(layer.input for layer in network.layers))
        for tensor in keras.tree.flatten(tensors)
    )
    norms = {
        id(layer.input): layer
        for layer in network.layers
        if isinstance(layer, layers.BatchNormalization) and readers[id(layer.input)] == 1
    }
    after = {
        layer.name: norms[id(layer.output)]
        for layer in network.layers
        if isinstance(layer, CONVOLUTIONS) and id(layer.output) in norms
    }
    gone = {norm.name for norm in after.values()}

    def clone(layer: layers.Layer) -> layers.Layer:
        if layer.name in gone:
            return layers.Identity(name=layer.name)
        config = layer.get_config()
        return type(layer).from_config(
            config | {"use_bias": True} if layer.name in after else config
        )

    # A normalisation is called with arguments that an identity does not take.
    folded = keras.models.clone_model(
        network, clone_function=clone, call_function=lambda layer, *inputs, **_: layer(*inputs)
    )
    for layer in network.layers:
        if layer.name in after:
            folded.get_layer(layer.name).set_weights(_folded(layer, after[layer.name]))
        elif layer.weights and layer.name not in gone:
            folded.get_layer(layer.name).set_weights(layer.get_weights())
    return folded


def _folded(convolution: layers.Layer, norm: layers.BatchNormalization) -> list[np.ndarray]:
    """Return kernels and bias of a convolution and the normalisation of its output."""
    weights = convolution.get_weights()
    bias = weights.pop() if convolution.use_bias else 0.0
    mean, variance = np.array(norm.moving_mean), np.array(norm.moving_variance)
    scale = (np.array(norm.gamma) if norm.scale else 1.0) / np.sqrt(variance + norm.epsilon)
    shift = np.array(norm.beta) if norm.center else 0.0
    *others, kernel = weights
    # The last axes of a depthwise kernel are channels and what is made of each.
    depthwise = isinstance(convolution, layers.DepthwiseConv2D)
    scales = scale.reshape(kernel.shape[-2:]) if depthwise else scale
    return [*others, kernel * scales, (bias - mean) * scale + shift]
