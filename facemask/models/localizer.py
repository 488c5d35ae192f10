"""A network that predicts where a face is: a heatmap, and a box and class logits in each cell.

Every cell of a grid holds a heatmap logit (is the face's centre here?), the ltrb distances from the
cell's centre to the sides of the box, and class logits (with a mask or without). For the one face
of a crop, soft-argmax pooling averages box and logits over the cells, weighted by the softmax of
the heatmap. In an image of many faces, the peaks of the same heatmap are the faces.
"""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from facemask.config.localizer import Localizer
from facemask.models.feature_pyramid import feature_levels, merge
from facemask.models.study_networks import in_precision

# The ltrb distances of an untrained network, in sides of the input.
FIRST_DISTANCE = 1 / 6


def build_localizer(
    settings: Localizer, application: keras.Model, preprocess: Callable[[Any], Any]
) -> keras.Model:
    """Build a localizer on a backbone, which is a part of it from then on.

    Args:
        settings: feature levels, freeze_until, channels, label loss, precision.
        application: of keras.applications, without its top.
        preprocess: from pixels 0-255 to what the application expects.

    Returns:
        A model of (N, s, s, 3), raw values 0-255, with the outputs label (N, 1) sigmoid or (N, 2)
        softmax, box (N, 4) in rel_xyxy, and heatmap (N, h · w): logits, row by row. The layers
        heatmap_logits, ltrb and class_logits are the maps.

    Raises:
        InputError: the backbone has no layer of one of the names, or the feature levels are not
            from fine to coarse, each of half the resolution of the one before.
    """
    inputs = keras.Input(application.input_shape[1:], name="inputs")
    names = settings.feature_levels
    maps = feature_levels(inputs, application, preprocess, names, settings.freeze_until)
    with in_precision(settings.precision):
        x = merge(maps, names, settings.channels, _convolve)
        x = _convolve(_convolve(x, settings.channels), settings.channels)
    softmax = settings.losses.label.name == "categorical_crossentropy"
    heatmap = layers.Conv2D(1, 1, name="heatmap_logits")(x)
    ltrb = layers.Conv2D(
        4,
        1,
        activation="sigmoid",
        bias_initializer=keras.initializers.Constant(
            math.log(FIRST_DISTANCE / (1 - FIRST_DISTANCE))
        ),
        name="ltrb",
    )(x)
    logits = layers.Conv2D(2 if softmax else 1, 1, name="class_logits")(x)
    box, logits = SoftArgmaxPooling(name="box")([heatmap, ltrb, logits])
    label = layers.Activation("softmax" if softmax else "sigmoid", name="label")(logits)
    flat = layers.Flatten(name="heatmap")(heatmap)
    return keras.Model(inputs, {"label": label, "box": box, "heatmap": flat})


@keras.saving.register_keras_serializable("facemask")
class SoftArgmaxPooling(layers.Layer):
    """Box and class logits of the one face: means over cells, weighted by the heatmap's softmax.

    From the maps heatmap (N, h, w, 1), ltrb (N, h, w, 4: left, top, right, bottom) and class logits
    (N, h, w, c) to the box (N, 4) in rel_xyxy and the logits (N, c).
    """

    def call(self, maps: list[keras.KerasTensor]) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Return box and class logits."""
        heatmap, ltrb, logits = maps
        height, width = heatmap.shape[1:3]
        weight = ops.softmax(ops.reshape(heatmap, (-1, height * width, 1)), axis=1)
        centres = ops.convert_to_tensor(cell_centres(height, width))
        offsets = ops.reshape(ltrb, (-1, height * width, 4)) * ops.array([-1.0, -1.0, 1.0, 1.0])
        boxes = ops.concatenate([centres, centres], axis=1) + offsets
        logits = ops.reshape(logits, (-1, height * width, logits.shape[-1]))
        return ops.sum(weight * boxes, axis=1), ops.sum(weight * logits, axis=1)


def cell_centres(height: int, width: int) -> np.ndarray:
    """Return the centres (x, y) of a grid's cells, row by row, in sides of the input.

    Returns:
        float32 (h · w, 2).
    """
    y, x = np.mgrid[:height, :width]
    centres = (np.stack([x, y], axis=-1) + 0.5) / [width, height]
    return centres.reshape(-1, 2).astype(np.float32)


def _convolve(x: keras.KerasTensor, channels: int) -> keras.KerasTensor:
    return layers.Conv2D(channels, 3, padding="same", activation="relu")(x)
