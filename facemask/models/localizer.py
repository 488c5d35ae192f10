"""A network that says where faces are: maps of heat, boxes and labels, one value a cell of a grid.

Every cell says how likely it is the middle of the face (heat), how far from its own middle the four
sides of the face's box are, and whether the face wears a mask (score). For the one face of a crop,
heat is a softmax over the cells, and box and label are the mean by it of what the cells say. In a
photograph of many faces, the peaks of the same map are the faces.
"""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from facemask.config import Localizer
from facemask.errors import InputError
from facemask.models.heads import in_precision

# How far from a cell's middle the sides lie at first, in sides of the canvas.
FIRST_SIDE = 1 / 6


def build_localizer(
    settings: Localizer, application: keras.Model, preprocess: Callable[[Any], Any]
) -> keras.Model:
    """Build a localizer on a backbone, which is a part of it from then on.

    Args:
        settings: taps of the backbone, how much of it is frozen, width, label loss, precision.
        application: of keras.applications, without its top.
        preprocess: from pixels 0-255 to what the application expects.

    Returns:
        A model of (N, s, s, 3), raw values 0-255, with the outputs label (N, 1) sigmoid or (N, 2)
        softmax, box (N, 4) in rel_xyxy, and cells (N, h · w): the heat's logits, row by row. The
        layers heat, sides and score are the maps.

    Raises:
        InputError: the backbone has no layer of one of the names, or taps are not from fine to
            coarse, each half as fine as the one before.
    """
    taps = keras.Model(
        application.input, [_layer(application, tap).output for tap in settings.taps]
    )
    _freeze(application, settings.frozen)
    inputs = keras.Input(application.input_shape[1:], name="inputs")
    maps = taps(preprocess(layers.Identity()(inputs)))
    with in_precision(settings.precision):
        x = _neck(maps if isinstance(maps, list) else [maps], settings)
        x = _convolve(_convolve(x, settings.width), settings.width)
    softmax = settings.losses.label.name == "categorical_crossentropy"
    heat = layers.Conv2D(1, 1, name="heat")(x)
    sides = layers.Conv2D(
        4,
        1,
        activation="sigmoid",
        bias_initializer=keras.initializers.Constant(math.log(FIRST_SIDE / (1 - FIRST_SIDE))),
        name="sides",
    )(x)
    score = layers.Conv2D(2 if softmax else 1, 1, name="score")(x)
    box, score = StrongestFace(name="box")([heat, sides, score])
    label = layers.Activation("softmax" if softmax else "sigmoid", name="label")(score)
    cells = layers.Flatten(name="cells")(heat)
    return keras.Model(inputs, {"label": label, "box": box, "cells": cells})


@keras.saving.register_keras_serializable("facemask")
class StrongestFace(layers.Layer):
    """The one face of a crop: the mean of what the cells say, by the softmax of their heat.

    From the maps heat (N, h, w, 1), sides (N, h, w, 4: left, top, right, bottom) and score
    (N, h, w, c) to its box (N, 4) in rel_xyxy and its score (N, c).
    """

    def call(self, maps: list[keras.KerasTensor]) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Return box and score."""
        heat, sides, score = maps
        height, width = heat.shape[1:3]
        weight = ops.softmax(ops.reshape(heat, (-1, height * width, 1)), axis=1)
        middles = ops.convert_to_tensor(cell_middles(height, width))
        away = ops.reshape(sides, (-1, height * width, 4)) * ops.array([-1.0, -1.0, 1.0, 1.0])
        boxes = ops.concatenate([middles, middles], axis=1) + away
        scores = ops.reshape(score, (-1, height * width, score.shape[-1]))
        return ops.sum(weight * boxes, axis=1), ops.sum(weight * scores, axis=1)


def cell_middles(height: int, width: int) -> np.ndarray:
    """Return the middles (x, y) of a grid's cells, row by row, in sides of the canvas.

    Returns:
        float32 (h · w, 2).
    """
    y, x = np.mgrid[:height, :width]
    middles = (np.stack([x, y], axis=-1) + 0.5) / [width, height]
    return middles.reshape(-1, 2).astype(np.float32)


def _neck(maps: list[keras.KerasTensor], settings: Localizer) -> keras.KerasTensor:
    """Merge maps from coarse to fine, as feature pyramids do (Lin et al. 2017): the finest."""
    fine, *coarser = [layers.Conv2D(settings.width, 1)(x) for x in maps]
    if not coarser:
        return fine
    merged = coarser[-1]
    for x in [*coarser[-2::-1], fine]:
        if (2 * merged.shape[1], 2 * merged.shape[2]) != x.shape[1:3]:
            raise InputError(
                f"taps {', '.join(settings.taps)}: a map of {merged.shape[1:3]} does not double to "
                f"{x.shape[1:3]}; give one tap a resolution, the finest first"
            )
        merged = _convolve(layers.Add()([layers.UpSampling2D()(merged), x]), settings.width)
    return merged


def _convolve(x: keras.KerasTensor, width: int) -> keras.KerasTensor:
    return layers.Conv2D(width, 3, padding="same", activation="relu")(x)


def _freeze(application: keras.Model, last: str) -> None:
    """Freeze a backbone up to one of its layers, which is included, and its normalisation wholly.

    The statistics of a small batch are worse than those that the weights came with. A frozen layer
    keeps them; Keras gives a part called with training=False the outer model's mode all the same.
    """
    until = application.layers.index(_layer(application, last))
    for number, layer in enumerate(application.layers):
        normalises = isinstance(layer, layers.BatchNormalization)
        layer.trainable = number > until and not normalises


def _layer(application: keras.Model, name: str) -> layers.Layer:
    try:
        return application.get_layer(name)
    except ValueError:
        raise InputError(
            f"the backbone {application.name} has no layer {name!r}; it has "
            + ", ".join(layer.name for layer in application.layers)
        ) from None
