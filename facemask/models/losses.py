"""Losses of the two heads, by the names that params.yaml gives them."""

import math

import keras
from keras import ops

from facemask.config.training import BoxLoss, LabelLoss
from facemask.models import boxes

# Keeps ratios defined where a box or the hull of two has no extent.
TINY = 1e-7


@keras.saving.register_keras_serializable("facemask")
class StudySmoothL1(keras.losses.Loss):
    """The study's first printed formula: e² / t up to the threshold t, |e| above.

    Its slope jumps from 2 to 1 at the threshold. With t = 1 and targets and predictions in [0, 1]
    it is the mean squared error itself. The Huber form (keras.losses.Huber: e² / 2, then
    t·|e| - t² / 2), which the study trained with, has no such jump; with t = 1 on [0, 1] it is half
    the mean squared error.
    """

    def __init__(
        self,
        threshold: float = 1.0,
        name: str = "study_smooth_l1",
        reduction: str = "sum_over_batch_size",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.threshold = threshold

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Return the loss of each sample: (N, 4) and (N, 4) to (N,)."""
        error = ops.abs(y_pred - y_true)
        near = error * error / self.threshold
        return ops.mean(ops.where(error < self.threshold, near, error), axis=-1)

    def get_config(self) -> dict[str, object]:
        """Return what rebuilds this loss."""
        return {**super().get_config(), "threshold": self.threshold}


@keras.saving.register_keras_serializable("facemask")
class IoULoss(keras.losses.Loss):
    """1 - IoU and a penalty that still has a slope where boxes do not meet.

    `kind` selects it: giou, the share of the boxes' hull that neither covers (Rezatofighi et al.
    2019); diou, the squared distance of the centres over the squared diagonal of the hull; ciou,
    this and a term for unlike aspect ratios (both Zheng et al. 2020). Boxes are in `box_format`;
    its unit does not matter, since the input is a square.

    The papers know no box of negative width or height, but a network can predict one in every
    format other than rel_center_xywh, and none of the three would lead it out of there. Such a side
    is added to the loss, in parts of the true box's.
    """

    def __init__(
        self,
        kind: str,
        box_format: str,
        name: str = "iou_loss",
        reduction: str = "sum_over_batch_size",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.kind, self.box_format = kind, box_format

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Return the loss of each sample: (N, 4) and (N, 4) to (N,).

        In [0, 2], ciou up to 3, where the predicted box has no negative side.
        """
        true, predicted = (boxes.corners(box, self.box_format) for box in (y_true, y_pred))
        overlap = boxes.iou(true, predicted)
        hull = _hull(true, predicted)
        loss = 1 - overlap + _negative_sides(true, predicted)
        if self.kind == "giou":
            union = boxes.union(true, predicted)
            return loss + 1 - union / ops.maximum(boxes.area(hull), TINY)
        loss = loss + _centre_distance(true, predicted, hull)
        if self.kind == "ciou":
            unlike = _unlike_aspects(true, predicted)
            # The paper's weight, which it treats as a constant: no gradient flows through it.
            weight = ops.stop_gradient(unlike / ops.maximum(1 - overlap + unlike, TINY))
            loss = loss + weight * unlike
        return loss

    def get_config(self) -> dict[str, object]:
        """Return what rebuilds this loss."""
        return {**super().get_config(), "kind": self.kind, "box_format": self.box_format}


@keras.saving.register_keras_serializable("facemask")
class HeatmapCrossEntropy(keras.losses.Loss):
    """Cross-entropy of a square heatmap and a normal distribution around the centre of the face.

    As CenterNet's target (Zhou et al. 2019) with a standard deviation of `sigma` of the box's
    sides, and half a cell at least; normalised to a sum of 1.
    """

    def __init__(
        self,
        sigma: float = 0.1,
        name: str = "heatmap_cross_entropy",
        reduction: str = "sum_over_batch_size",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.sigma = sigma

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Return the loss of each sample: boxes (N, 4), rel_xyxy, and logits (N, s · s) to (N,)."""
        side = math.isqrt(y_pred.shape[1])
        cells = (ops.arange(side, dtype="float32") + 0.5) / side
        centre = (y_true[:, :2] + y_true[:, 2:]) / 2
        sigma = ops.maximum(self.sigma * (y_true[:, 2:] - y_true[:, :2]), 0.5 / side)
        across, down = (
            -0.5 * ops.square((cells - centre[:, axis, None]) / sigma[:, axis, None])
            for axis in (0, 1)
        )
        target = ops.softmax(ops.reshape(down[:, :, None] + across[:, None, :], (-1, side * side)))
        return keras.losses.categorical_crossentropy(target, y_pred, from_logits=True)

    def get_config(self) -> dict[str, object]:
        """Return what rebuilds this loss."""
        return {**super().get_config(), "sigma": self.sigma}


def box_loss(loss: BoxLoss, box_format: str) -> keras.losses.Loss:
    """Return the loss of the box head by its name in params.yaml."""
    if loss.name == "mse":
        return keras.losses.MeanSquaredError()
    if loss.name == "huber":
        return keras.losses.Huber(delta=loss.threshold)
    if loss.name == "study_smooth_l1":
        return StudySmoothL1(loss.threshold)
    return IoULoss(loss.name, box_format)


def label_loss(loss: LabelLoss) -> keras.losses.Loss:
    """Return the loss of the label head by its name in params.yaml."""
    categorical = loss.name == "categorical_crossentropy"
    smoothing = {"label_smoothing": loss.smoothing}
    if not loss.focal_gamma:
        plain = (
            keras.losses.CategoricalCrossentropy if categorical else keras.losses.BinaryCrossentropy
        )
        return plain(**smoothing)
    if categorical:
        # alpha 1: no weights of classes beside those of class_weights.
        return keras.losses.CategoricalFocalCrossentropy(
            alpha=1.0, gamma=loss.focal_gamma, **smoothing
        )
    return keras.losses.BinaryFocalCrossentropy(gamma=loss.focal_gamma, **smoothing)


def _hull(true: keras.KerasTensor, predicted: keras.KerasTensor) -> keras.KerasTensor:
    """The smallest box around both, as corners (N, 4); predicted ones may be in either order."""
    first, second = predicted[:, :2], predicted[:, 2:]
    low = ops.minimum(true[:, :2], ops.minimum(first, second))
    return ops.concatenate([low, ops.maximum(true[:, 2:], ops.maximum(first, second))], axis=1)


def _negative_sides(true: keras.KerasTensor, predicted: keras.KerasTensor) -> keras.KerasTensor:
    """How far predicted width and height are below 0, in parts of the true ones, together: (N,)."""
    missing = ops.relu(predicted[:, :2] - predicted[:, 2:])
    return ops.sum(missing / ops.maximum(true[:, 2:] - true[:, :2], TINY), axis=1)


def _centre_distance(
    true: keras.KerasTensor, predicted: keras.KerasTensor, hull: keras.KerasTensor
) -> keras.KerasTensor:
    """Squared distance of the centres over the squared diagonal of the hull: (N,)."""
    apart = (true[:, :2] + true[:, 2:] - predicted[:, :2] - predicted[:, 2:]) / 2
    diagonal = hull[:, 2:] - hull[:, :2]
    return _squares(apart) / ops.maximum(_squares(diagonal), TINY)


def _unlike_aspects(true: keras.KerasTensor, predicted: keras.KerasTensor) -> keras.KerasTensor:
    """4 / π² · (difference of the angles of the two diagonals)²: (N,)."""
    angles = []
    for box in (true, predicted):
        sides = ops.maximum(box[:, 2:] - box[:, :2], TINY)
        angles.append(ops.arctan(sides[:, 0] / sides[:, 1]))
    return 4 / math.pi**2 * ops.square(angles[0] - angles[1])


def _squares(vectors: keras.KerasTensor) -> keras.KerasTensor:
    return ops.sum(ops.square(vectors), axis=1)
