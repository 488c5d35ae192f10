"""Losses of the box head: mean over the four coordinates of a function of their errors."""

import keras
from keras import ops

from facemask.config import BoxLoss


@keras.saving.register_keras_serializable("facemask")
class SmoothL1(keras.losses.Loss):
    """The study's first formula: e² / t up to the threshold t, |e| beyond.

    Its slope jumps from 2 to 1 at the threshold. With t = 1 and targets and predictions in [0, 1]
    it is the mean squared error itself. The Huber form (keras.losses.Huber: e² / 2, then
    t·|e| - t² / 2), which the study trained with, has no such jump; with t = 1 on [0, 1] it is half
    the mean squared error.
    """

    def __init__(
        self,
        threshold: float = 1.0,
        name: str = "smooth_l1",
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


def box_loss(loss: BoxLoss) -> keras.losses.Loss:
    """Return the loss that an experiment asks for by name."""
    if loss.name == "mse":
        return keras.losses.MeanSquaredError()
    if loss.name == "huber":
        return keras.losses.Huber(delta=loss.threshold)
    return SmoothL1(loss.threshold)
