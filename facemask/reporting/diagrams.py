"""Diagrams of what was tried: the trials of a search, and the shapes of losses."""

import os

import keras
import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from facemask.config import BoxLoss, Space
from facemask.models.losses import box_loss
from facemask.reporting.plots import FACES, GREY, STYLE, WRONG, key, save

# Losses by colour, thresholds by dashes; wide lines show where a narrow one lies on them.
THRESHOLDS = {0.5: ":", 1.0: "-", 2.0: "--"}
POINTWISE = {"mse": ("black", 1.5), "smooth_l1": (FACES[0], 3), "huber": (FACES[1], 1.5)}
OVERLAP = {"diou": (FACES[1], "-", 4), "ciou": (FACES[6], "-", 1.5), "giou": (FACES[2], "--", 1.5)}


@style.context(STYLE)
def search_picture(
    trials: pd.DataFrame, epochs: pd.DataFrame, path: str | os.PathLike[str]
) -> None:
    """Draw the validation loss of all trials by bracket and epoch, and by each hyperparameter.

    `trials` and `epochs` are the tables of `search.search`. A trial that goes on where another
    stopped is joined to it. Only hyperparameters with more than one value are drawn; the line is
    the median of the trials of a value. The best trial is ringed everywhere.
    """
    varied = [name for name in Space.model_fields if len(trials[name].unique()) > 1]
    brackets = sorted(trials["bracket"].unique(), reverse=True)
    columns = max(len(brackets), len(varied), 1)
    figure = Figure(figsize=(2.8 * columns, 5.6 if varied else 3.0), layout="constrained")
    halves = figure.subfigures(2, 1, squeeze=False)[:, 0] if varied else [figure]
    colours = dict(zip(brackets, FACES, strict=False))
    best = trials.loc[trials["val_loss"].idxmin()]
    panels = halves[0].subplots(1, len(brackets), sharey=True, squeeze=False)[0]
    for axes, bracket in zip(panels, brackets, strict=True):
        _bracket(axes, trials, epochs[epochs["bracket"] == bracket], colours[bracket])
        count = (trials["bracket"] == bracket).sum()
        axes.set(title=f"Bracket {bracket}: {count} trials", xlabel="epoch")
    panels[0].set_ylabel("validation loss")
    if varied:
        panels = halves[1].subplots(1, len(varied), sharey=True, squeeze=False)[0]
        for axes, name in zip(panels, varied, strict=True):
            _effect(axes, trials, name, trials["bracket"].map(colours), best)
        panels[0].set_ylabel("least validation loss")
    _limit(figure, trials)
    save(figure, path)


def _bracket(axes: Axes, trials: pd.DataFrame, epochs: pd.DataFrame, colour: str) -> None:
    """The curves of a bracket's trials; one that goes on starts at its parent's last point."""
    parents = trials.set_index("trial")["continues"]
    curves = dict(iter(epochs.groupby("trial")))
    best = trials.loc[trials["val_loss"].idxmin(), "trial"]
    for trial, curve in curves.items():
        parent = parents[trial]
        if pd.notna(parent):
            curve = pd.concat([curves[int(parent)].tail(1), curve])
        axes.plot(curve["epoch"], curve["val_loss"], color=colour, lw=1, marker=".", ms=4)
        if trial == best:
            point = curve.loc[curve["val_loss"].idxmin()]
            _ring(axes, point["epoch"], point["val_loss"])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _effect(
    axes: Axes, trials: pd.DataFrame, name: str, colours: pd.Series, best: pd.Series
) -> None:
    values = sorted(trials[name].unique())
    # Places, not values: 1e-5 and 0.01, or 128 and 2048, would else crowd at one side.
    places = trials[name].map(values.index)
    axes.scatter(places, trials["val_loss"], c=colours, s=18, alpha=0.8, zorder=3)
    median = trials.groupby(name)["val_loss"].median()
    axes.plot(range(len(values)), median, color=GREY, lw=1.2)
    _ring(axes, values.index(best[name]), best["val_loss"])
    step = -(-len(values) // 6)
    axes.set_xticks(range(0, len(values), step), [f"{value:g}" for value in values[::step]])
    axes.set_xlabel(Space.model_fields[name].title or name)


def _ring(axes: Axes, x: float, y: float) -> None:
    axes.scatter([x], [y], s=90, fc="none", ec=WRONG, lw=1.6, zorder=4)


def _limit(figure: Figure, trials: pd.DataFrame) -> None:
    """One logarithmic scale from the best to the bulk: a diverged trial must not hide the rest."""
    low, high = trials["val_loss"].min(), trials["val_loss"].quantile(0.9)
    for axes in figure.axes:
        axes.set_yscale("log")
        axes.set_ylim(low * 0.97, high * 1.2)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter("{x:.3g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    keys = [key("best trial", WRONG, "-", 1.6), key("median of a value", GREY, "-", 1.2)]
    figure.legend(handles=keys, loc="outside lower center", ncols=2)


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
