"""Losses of the box, drawn over error and shift."""

import os

import keras
import numpy as np
from matplotlib import style
from matplotlib.figure import Figure

from facemask.config import BoxLoss
from facemask.models.losses import box_loss
from facemask.reporting.plots import FACES, STYLE, save

# Losses by colour, thresholds by dashes; wide lines show where a narrow one lies on them.
THRESHOLDS = {0.5: ":", 1.0: "-", 2.0: "--"}
POINTWISE = {"mse": ("black", 1.5), "smooth_l1": (FACES[0], 3), "huber": (FACES[1], 1.5)}
OVERLAP = {"diou": (FACES[1], "-", 4), "ciou": (FACES[6], "-", 1.5), "giou": (FACES[2], "--", 1.5)}


@style.context(STYLE)
def loss_shapes(path: str | os.PathLike[str]) -> None:
    """Draw the losses of the box: over the error of a coordinate, over a shift, over a width.

    In the second and third panel a box of the right size slides away by so many of its widths, and
    a box with the right centre and height is so many times as wide; the squared error is drawn
    there for a box a quarter of the crop wide, on a scale of its own.
    """
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    pointwise, shifted, scaled = figure.subplots(1, 3)
    errors = np.linspace(-3, 3, 301, dtype=np.float32)
    for name, (colour, width) in POINTWISE.items():
        for threshold, dashes in THRESHOLDS.items():
            if name == "mse" and threshold != 1:
                continue
            label = name if name == "mse" else f"{name} {threshold:g}"
            loss = _values(
                name, np.zeros((301, 4), np.float32), np.tile(errors, (4, 1)).T, threshold
            )
            pointwise.plot(errors, loss, color=colour, ls=dashes, lw=width, label=label)
    pointwise.set(title="Error of a coordinate", ylim=(0, 4))
    steps = np.linspace(0, 3, 301, dtype=np.float32)
    true = np.tile(np.array([0.375, 0.375, 0.625, 0.625], np.float32), (301, 1))
    slid = true + 0.25 * steps[:, None] * np.array([1, 0, 1, 0], np.float32)
    wide = 0.5 + (true - 0.5) * steps[:, None]
    grown = np.where([True, False, True, False], wide, true)
    for axes, boxes, title in (
        (shifted, slid, "Shift, in widths of the box"),
        (scaled, grown, "Width, in that of the true box"),
    ):
        for name, (colour, dashes, width) in OVERLAP.items():
            loss = _values(name, true, boxes)
            axes.plot(steps, loss, color=colour, ls=dashes, lw=width, label=name)
        error = _values("mse", true, boxes)
        axes.plot(steps, error / error.max(), color="black", lw=1, ls=":", label="mse, scaled")
        axes.set(title=title, ylim=(0, 2))
    for axes in (pointwise, shifted):
        axes.legend(ncols=2, fontsize=8, loc="upper center" if axes is pointwise else "lower right")
    save(figure, path)


def _values(
    name: str, true: np.ndarray, predicted: np.ndarray, threshold: float = 1.0
) -> np.ndarray:
    """The loss of each pair of corners."""
    loss = box_loss(BoxLoss.model_validate({"name": name, "threshold": threshold}), "rel_xyxy")
    loss.reduction = "none"
    return keras.ops.convert_to_numpy(loss(true, predicted))
