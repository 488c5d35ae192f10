"""A network that finds every face of an image: a heatmap, and in each cell a box and a class.

A cell of the grid holds a heatmap logit (is the centre of a face here?), the ltrb distances from
the cell's centre to the sides of the box, class logits, and a quality logit: what IoU the box will
have. As CenterNet (Zhou et al. 2019) and TTFNet (Liu et al. 2020), without an offset of the centre:
the distances hold it. Faces are the peaks of the heatmap, so that no suppression of overlapping
boxes is needed but for double peaks in a large face.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

from facemask.config.detector import Detector
from facemask.models.feature_pyramid import feature_levels, merge
from facemask.models.folding import fold_normalisation
from facemask.models.study_networks import in_precision

HEADS = ("heatmap", "box", "label", "quality")
MAX_FACES = 300  # of an image; the most crowded one known has 115
# The heatmap of an untrained network: nearly all cells hold no face (Lin et al. 2017, focal loss).
FIRST_LOGIT = -4.6
# Two boxes that overlap more are of one face: of 4,072 annotated faces, two do.
SAME_FACE = 0.6
MOMENTUM = 0.9  # of batch normalisation: epochs have few steps
SIDE = 256  # px, of an input by which a network's stride is found


def build_detector(
    settings: Detector, classes: int, application: keras.Model, preprocess: Callable[[Any], Any]
) -> keras.Model:
    """Build a detector on a backbone, which is a part of it from then on.

    Args:
        settings: feature levels, freeze_until, channels, precision.
        classes: how many there are.
        application: of keras.applications, without its top, for images of any size; its weights
            are copied, and normalisations folded into convolutions.
        preprocess: from pixels 0-255 to what the application expects.

    Returns:
        A model of (N, H, W, 3), raw values 0-255, whose sides are multiples of the coarsest level's
        stride, with maps of the finest level's resolution (h, w) as outputs: heatmap (N, h, w, 1),
        logits; box (N, h, w, 4), corners in px of the input; label (N, h, w, classes), softmax;
        quality (N, h, w, 5): a logit, and the box again, through which no gradient flows.

    Raises:
        InputError: as `feature_pyramid.feature_levels` and `merge`.
    """
    application = fold_normalisation(application)
    inputs = keras.Input((None, None, 3), name="inputs")
    names = settings.feature_levels
    maps = feature_levels(inputs, application, preprocess, names, settings.freeze_until)
    with in_precision(settings.precision):
        x = merge(maps, names, settings.channels, _convolve)
        x = _convolve(_convolve(x, settings.channels), settings.channels)
    bias = keras.initializers.Constant(FIRST_LOGIT)
    heatmap = layers.Conv2D(1, 1, bias_initializer=bias, dtype="float32", name="heatmap")(x)
    distances = layers.Conv2D(4, 1, dtype="float32", name="ltrb")(x)
    box = Boxes(_stride(settings, application), dtype="float32", name="box")(distances)
    logits = layers.Conv2D(classes, 1, dtype="float32", name="class_logits")(x)
    quality = layers.Conv2D(1, 1, dtype="float32", name="quality_logits")(x)
    return keras.Model(
        inputs,
        {
            "heatmap": heatmap,
            "box": box,
            "label": layers.Softmax(dtype="float32", name="label")(logits),
            "quality": WithoutGradient(dtype="float32", name="quality")([quality, box]),
        },
    )


def stride(model: keras.Model) -> int:
    """Return how many px of its input a cell of a detector is wide."""
    return int(model.get_layer("box").stride)


def _stride(settings: Detector, application: keras.Model) -> int:
    finest = application.get_layer(settings.feature_levels[0]).output
    shape = keras.Model(application.input, finest).compute_output_shape((1, SIDE, SIDE, 3))
    return SIDE // int(shape[1])


@keras.saving.register_keras_serializable("facemask")
class Boxes(layers.Layer):
    """Boxes of cells: their centres and, around them, strides times e to the predicted values."""

    def __init__(self, stride: int, **rest: Any) -> None:  # noqa: ANN401 - Keras' own
        super().__init__(**rest)
        self.stride = stride

    def call(self, distances: keras.KerasTensor) -> keras.KerasTensor:
        """Return corners in px of the input: (N, h, w, 4) to (N, h, w, 4)."""
        shape = ops.shape(distances)
        x = (ops.arange(shape[2], dtype="float32") + 0.5) * self.stride
        y = (ops.arange(shape[1], dtype="float32") + 0.5) * self.stride
        x, y = (ops.broadcast_to(each, shape[1:3]) for each in (x[None, :], y[:, None]))
        ltrb = self.stride * ops.exp(ops.clip(distances, -6.0, 8.0))
        return ops.stack([x, y, x, y], axis=-1) + ltrb * ops.array([-1.0, -1.0, 1.0, 1.0])

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds this layer."""
        return {**super().get_config(), "stride": self.stride}


@keras.saving.register_keras_serializable("facemask")
class WithoutGradient(layers.Layer):
    """Join two maps, of which the second lets no gradient through."""

    def call(self, maps: list[keras.KerasTensor]) -> keras.KerasTensor:
        """Return (N, h, w, a) and (N, h, w, b) as (N, h, w, a + b)."""
        return ops.concatenate([maps[0], ops.stop_gradient(maps[1])], axis=-1)


def with_decoding(model: keras.Model, quality_power: float) -> keras.Model:
    """Return a detector whose outputs are faces: boxes and the score of each class.

    Args:
        model: of `build_detector`.
        quality_power: p; a score is heatmap^(1 - p) · quality^p · √(probability of the class), so
            that the squares of a face's scores add up to the square of that of the face.

    Returns:
        A model of (N, H, W, 3), with boxes (N, MAX_FACES, 4), corners in px of the input, and
        scores (N, MAX_FACES, classes), the highest faces first; where there are fewer, the scores
        of the rest are 0.
    """
    outputs = Decode(quality_power, dtype="float32", name="decode")(
        [model.output[name] for name in HEADS]
    )
    return keras.Model(model.input, {"boxes": outputs[0], "scores": outputs[1]})


@keras.saving.register_keras_serializable("facemask")
class Decode(layers.Layer):
    """The peaks of the heatmap: those of a 3 by 3 neighbourhood, and one for each face."""

    def __init__(self, quality_power: float, **rest: Any) -> None:  # noqa: ANN401 - Keras' own
        super().__init__(**rest)
        self.quality_power = quality_power

    def call(self, maps: list[keras.KerasTensor]) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Return boxes and scores."""
        heatmap, box, label, quality = maps
        heat = ops.sigmoid(heatmap)
        power = self.quality_power
        score = ops.power(heat, 1 - power) * ops.power(ops.sigmoid(quality[..., :1]), power)
        highest = ops.max_pool(score, 3, strides=1, padding="same")
        score = ops.where(score == highest, score, 0.0)
        cells = ops.shape(score)[1] * ops.shape(score)[2]
        # A small image has fewer cells than there may be faces.
        score = ops.pad(ops.reshape(score, (-1, cells)), [[0, 0], [0, MAX_FACES]])
        score, chosen = ops.top_k(score, MAX_FACES)
        chosen = ops.minimum(chosen, cells - 1)
        boxes, label = (
            ops.take_along_axis(ops.reshape(each, (-1, cells, size)), chosen[..., None], axis=1)
            for each, size in ((box, 4), (label, label.shape[-1]))
        )
        score = ops.where(_is_double(boxes), 0.0, score)
        return boxes, score[..., None] * ops.sqrt(label)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds this layer."""
        return {**super().get_config(), "quality_power": self.quality_power}


def _is_double(boxes: keras.KerasTensor) -> keras.KerasTensor:
    """Whether a box lies on one before it, which has a higher score: (N, k, 4) to (N, k).

    As fast NMS (YOLACT, Bolya et al. 2019): also if that one lies on another itself.
    """
    low = ops.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    high = ops.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    sides = ops.maximum(high - low, 0.0)
    common = sides[..., 0] * sides[..., 1]
    area = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    overlap = common / (area[:, :, None] + area[:, None, :] - common)
    before = ops.arange(boxes.shape[1])
    earlier = before[None, :] < before[:, None]
    return ops.any(ops.logical_and(overlap > SAME_FACE, earlier[None]), axis=-1)


def _convolve(x: keras.KerasTensor, channels: int) -> keras.KerasTensor:
    x = layers.SeparableConv2D(channels, 3, padding="same", use_bias=False)(x)
    # Without it a separable convolution, whose first depthwise weights are small, hardly learns.
    x = layers.BatchNormalization(momentum=MOMENTUM)(x)
    return layers.Activation("relu")(x)
