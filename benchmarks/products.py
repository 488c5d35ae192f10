"""How fast does the machine multiply matrices, and how much of that does a network ask for?"""

import math

import keras
import tensorflow as tf
from keras import layers

from benchmarks.common import alternate, median

SIDE = 2048  # of the square matrices that are multiplied
PRODUCTS = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.Dense)


def product_rate() -> float:
    """Return how many float32 operations a second the machine does in products of matrices."""
    left, right = (tf.random.normal((SIDE, SIDE)) for _ in range(2))
    seconds = alternate({"": lambda: tf.linalg.matmul(left, right).numpy()}, 20)
    return 2 * SIDE**3 / median(seconds)[""]


def operations(model: keras.Model) -> int:
    """Return the additions and multiplications of a forward pass of one sample, in its products."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            total += operations(layer)
        for weight in layer.weights if isinstance(layer, PRODUCTS) else []:
            if weight.ndim > 1:  # not a bias: a kernel, used once at each place of the output
                total += 2 * math.prod(weight.shape) * math.prod(layer.output.shape[1:-1])
    return total
