"""The trials of a search, drawn."""

import os

import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from facemask.config.training import Space
from facemask.reporting.plots import FACES, GREY, STYLE, WRONG, key, save


@style.context(STYLE)
def search_plot(trials: pd.DataFrame, epochs: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Draw the validation loss of all trials by bracket and epoch, and by each hyperparameter.

    A trial that goes on where another stopped is joined to it. Only hyperparameters with more than
    one value are drawn; the line is the median of the trials of a value. The best trial is ringed
    everywhere.

    Args:
        trials, epochs: the tables of `hyperband.search`.
        path: where to.
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
