"""Losses of the box, over error and shift."""

import os

import keras
import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from facemask.config.training import BoxLoss
from facemask.models.losses import box_loss
from facemask.reporting.plots import FACES, STYLE, save

# Losses by colour, thresholds by dashes; wide lines show where a narrow one lies on them.
THRESHOLDS = {0.5: ":", 1.0: "-", 2.0: "--"}
POINTWISE = {"mse": ("black", 1.5), "study_smooth_l1": (FACES[0], 3), "huber": (FACES[1], 1.5)}
OVERLAP = {"diou": (FACES[1], "-", 4), "ciou": (FACES[6], "-", 1.5), "giou": (FACES[2], "--", 1.5)}
STEPS = np.linspace(0, 3, 301, dtype=np.float32)


@style.context(STYLE)
def loss_shapes(path: str | os.PathLike[str]) -> None:
    """Draw the losses of the box: over the error of a coordinate, over a shift, over a width.

    In the second and third panel a box of the right size slides away by so many of its widths, and
    a box with the right centre and height is so many times as wide; the squared error is drawn
    there for a box a quarter of the crop wide, on a scale of its own.
    """
    figure = Figure(figsize=(11, 4.0), layout="constrained")
    pointwise, shifted, scaled = figure.subplots(1, 3)
    _pointwise(pointwise)
    true = np.tile(np.array([0.375, 0.375, 0.625, 0.625], np.float32), (len(STEPS), 1))
    slid = true + 0.25 * STEPS[:, None] * np.array([1, 0, 1, 0], np.float32)
    wide = 0.5 + (true - 0.5) * STEPS[:, None]
    _overlap(shifted, true, slid, "Shift, in widths of the box")
    grown = np.where([True, False, True, False], wide, true)
    _overlap(scaled, true, grown, "Width, in that of the true box")
    for axes, columns in ((pointwise, 3), (shifted, 2)):
        axes.legend(ncols=columns, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    save(figure, path)


def _pointwise(axes: Axes) -> None:
    errors = np.linspace(-3, 3, 301, dtype=np.float32)
    true, predicted = np.zeros((301, 4), np.float32), np.tile(errors, (4, 1)).T
    for name, (colour, width) in POINTWISE.items():
        for threshold, dashes in THRESHOLDS.items():
            if name == "mse" and threshold != 1:
                continue
            label = name if name == "mse" else f"{name} {threshold:g}"
            loss = _values(name, true, predicted, threshold)
            axes.plot(errors, loss, color=colour, ls=dashes, lw=width, label=label)
    axes.set(title="Error of a coordinate", ylim=(0, 4))


def _overlap(axes: Axes, true: np.ndarray, boxes: np.ndarray, title: str) -> None:
    for name, (colour, dashes, width) in OVERLAP.items():
        loss = _values(name, true, boxes)
        axes.plot(STEPS, loss, color=colour, ls=dashes, lw=width, label=name)
    error = _values("mse", true, boxes)
    axes.plot(STEPS, error / error.max(), color="black", lw=1, ls=":", label="mse, scaled")
    axes.set(title=title, ylim=(0, 2))


def _values(
    name: str, true: np.ndarray, predicted: np.ndarray, threshold: float = 1.0
) -> np.ndarray:
    """The loss of each pair of corners."""
    loss = box_loss(BoxLoss.model_validate({"name": name, "threshold": threshold}), "rel_xyxy")
    loss.reduction = "none"
    return keras.ops.convert_to_numpy(loss(true, predicted))
