"""Losses of a detector's maps. Their targets are maps too: `training.heatmaps` draws them.

Each is a mean over the faces of a batch, so that an image of many faces counts for more.
"""

from typing import Any

import keras
from keras import ops

from facemask.models import boxes

# CenterNet's focal loss (Zhou et al. 2019): easy cells count less, and cells near a centre too.
FOCUS, NEAR = 2.0, 4.0


@keras.saving.register_keras_serializable("facemask")
class HeatmapFocalLoss(keras.losses.Loss):
    """CenterNet's focal loss of heatmap logits, over the number of faces.

    A target of 1 is the centre of a face, a value below is near one, and a negative value is a cell
    that does not count.
    """

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Return the loss of each sample: (N, h, w, 1) and (N, h, w, 1) to (N,)."""
        positive = ops.cast(y_true == 1.0, "float32")
        counts = ops.cast(y_true >= 0.0, "float32") - positive
        probability = ops.sigmoid(y_pred)
        # log p and log (1 - p) by softplus: no logarithm of 0.
        found = positive * ops.power(1 - probability, FOCUS) * ops.softplus(-y_pred)
        near = ops.power(1 - ops.clip(y_true, 0.0, 1.0), NEAR)
        false = counts * near * ops.power(probability, FOCUS) * ops.softplus(y_pred)
        return _over_faces(
            ops.sum(found + false, axis=(1, 2, 3)), ops.sum(positive, axis=(1, 2, 3))
        )


@keras.saving.register_keras_serializable("facemask")
class CellLoss(keras.losses.Loss):
    """Another loss in the cells of faces, weighted.

    The last channel of a target is the cell's weight, those before it are the other's target.
    """

    def __init__(
        self,
        loss: keras.losses.Loss,
        name: str = "cell_loss",
        reduction: str = "sum_over_batch_size",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.loss = loss

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Return the loss of each sample: (N, h, w, c + 1) and (N, h, w, c) to (N,)."""
        true, weight = y_true[..., :-1], y_true[..., -1]
        size = true.shape[-1]
        losses = self.loss.call(ops.reshape(true, (-1, size)), ops.reshape(y_pred, (-1, size)))
        return _weighted(ops.reshape(losses, ops.shape(weight)), weight)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds this loss."""
        loss = keras.saving.serialize_keras_object(self.loss)
        return {**super().get_config(), "loss": loss}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "CellLoss":
        """Rebuild it."""
        loss = keras.saving.deserialize_keras_object(config["loss"])
        return cls(**{**config, "loss": loss})


@keras.saving.register_keras_serializable("facemask")
class QualityCrossEntropy(keras.losses.Loss):
    """Cross-entropy of a quality logit and the IoU of the cell's box with the face, weighted."""

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Return the loss of each sample, (N,).

        From (N, h, w, 5), box and weight, and (N, h, w, 5), logit and box.
        """
        logit, weight = y_pred[..., 0], y_true[..., -1]
        true, predicted = (
            ops.reshape(each, (-1, 4)) for each in (y_true[..., :4], y_pred[..., 1:])
        )
        quality = ops.reshape(boxes.iou(true, predicted, "xyxy"), ops.shape(weight))
        loss = ops.softplus(logit) - quality * logit
        return _weighted(loss, weight)


def _weighted(loss: keras.KerasTensor, weight: keras.KerasTensor) -> keras.KerasTensor:
    """Sums over cells (N, h, w) by weight, over the mean weight of a sample: (N,)."""
    return _over_faces(ops.sum(loss * weight, axis=(1, 2)), ops.sum(weight, axis=(1, 2)))


def _over_faces(loss: keras.KerasTensor, faces: keras.KerasTensor) -> keras.KerasTensor:
    return loss / ops.maximum(ops.mean(faces), 1.0 / 16)
