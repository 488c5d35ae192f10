"""Plots of the study: one experiment, the leaderboard.

Style and colours are those of `plots`.
"""

import os
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from facemask.reporting.plots import (
    GREY,
    LABEL_COLOURS,
    LABEL_NAMES,
    MEASURED,
    PUBLISHED,
    STYLE,
    TRAIN,
    VAL,
    key,
    save,
)
from facemask.reporting.tables import METRICS

CURVES = {"loss": "Total loss", "accuracy": "Accuracy", "iou": "IoU"}


@style.context(STYLE)
def experiment_plot(
    history: pd.DataFrame,
    confusion: np.ndarray,
    title: str,
    best_epoch: int,
    path: str | os.PathLike[str],
) -> None:
    """Draw one experiment in a row: loss, accuracy, IoU, learning rate if it changes, confusion.

    Args:
        history: one row per epoch (from 1) and split ("train", "val") with loss, accuracy, iou and
            learning_rate.
        confusion: (2, 2) counts of test samples, actual labels down, predicted ones across, 0
            without a mask first.
        title: may have several lines; long ones are wrapped.
        best_epoch: whose weights were kept.
        path: where to.

    Raises:
        ValueError: confusion has another shape.
    """
    confusion = np.asarray(confusion)
    if confusion.shape != (2, 2):
        raise ValueError(f"a confusion matrix of two classes is (2, 2), not {confusion.shape}")
    rates = history.groupby("epoch")["learning_rate"].first().dropna()
    changes = len(np.unique(rates)) > 1
    widths = [1, 1, 1, *([0.6] if changes else []), 0.9]
    title = "\n".join(fill(line, 75) for line in title.split("\n"))
    height = 2.7 + 0.18 * title.count("\n")
    figure = Figure(figsize=(11 if changes else 10, height), layout="constrained")
    figure.suptitle(title, size=10, weight="bold", x=0.01, ha="left")
    panels = list(figure.subplots(1, len(widths), width_ratios=widths))
    for axes, column in zip(panels, CURVES, strict=False):
        _curve(axes, history, column, best_epoch)
    figure.legend(
        handles=[
            key("train", TRAIN, "-", 1.6),
            key("validation", VAL, "-", 1.6),
            key("best epoch", GREY, ":", 1.2),
        ],
        loc="upper right",
        ncols=3,
        borderaxespad=0.2,
    )
    if changes:
        _learning_rate(panels[3], rates)
    _confusion(panels[-1], confusion)
    save(figure, path)


def _curve(axes: Axes, history: pd.DataFrame, column: str, best_epoch: int) -> None:
    axes.axvline(best_epoch, color=GREY, lw=1.2, ls=":")
    for split, colour in (("train", TRAIN), ("val", VAL)):
        line = history[history["split"] == split].sort_values("epoch")
        axes.plot(line["epoch"], line[column], color=colour, lw=1.6, marker=".", ms=4)
        best = line[line["epoch"] == best_epoch]
        axes.scatter(best["epoch"], best[column], s=36, fc="white", ec=colour, lw=1.6, zorder=3)
    axes.set(title=CURVES[column], xlabel="epoch")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    if column != "loss":
        axes.yaxis.set_major_formatter(PercentFormatter(1))


def _learning_rate(axes: Axes, rates: pd.Series) -> None:
    axes.step(rates.index, rates, color="black", lw=1.4, where="mid")
    axes.set(title="Learning rate", yscale="log", xlabel="epoch")
    values = np.unique(rates)
    shown = values[np.linspace(0, len(values) - 1, min(4, len(values))).round().astype(int)]
    axes.set_yticks(shown, [f"{value:.1e}" for value in shown])
    axes.minorticks_off()
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))


def _confusion(axes: Axes, confusion: np.ndarray) -> None:
    totals = confusion.sum(axis=1, keepdims=True)
    shares = np.divide(confusion, totals, out=np.zeros((2, 2)), where=totals > 0)
    # The square is filled with the share of its row, so that the small class is seen as well.
    blues = LinearSegmentedColormap.from_list("shares", ["white", TRAIN])
    axes.imshow(shares, cmap=blues, vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        axes.text(
            column,
            row,
            f"{confusion[row, column]:,}\n{share:.1%}",
            ha="center",
            va="center",
            color="white" if share > 0.55 else "black",
        )
    names = [name.replace(" ", "\n") for name in LABEL_NAMES]
    axes.set_xticks([0, 1], names, size=8)
    axes.set_yticks([0, 1], names, size=8)
    axes.set(title="Test samples", xlabel="predicted", ylabel="actual")
    axes.grid(visible=False)
    axes.tick_params(length=0)


@style.context(STYLE)
def leaderboard_plot(leaderboard: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Draw measured and published accuracy and IoU of each experiment, and both recalls.

    Rows are grouped by family in the order families first come, best first inside. A row with a
    note is starred and the notes stand below.

    Args:
        leaderboard: the table of `leaderboard.leaderboard`.
        path: where to.

    Raises:
        ValueError: there is no row.
    """
    if leaderboard.empty:
        raise ValueError("no experiment to draw: the leaderboard has no row")
    rows, places, heads = _grouped(leaderboard)
    stars = {note: "*" * i for i, note in enumerate(filter(None, rows["note"].unique()), 1)}
    notes = [fill(f"{star} {note}", 150) for note, star in stars.items()]
    lines = sum(note.count("\n") + 1 for note in notes)
    height = 1.4 + 0.24 * (places[-1] + 1) + 0.16 * lines
    figure = Figure(figsize=(10, height), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    _against_published(panels[0], rows, places, "test_accuracy", "Test accuracy")
    _against_published(panels[1], rows, places, "test_iou", "Test IoU")
    for share in rows["majority_accuracy"].dropna().unique():
        panels[0].axvline(share, color="black", lw=1.2, ls="--", zorder=1)
    _recalls(panels[2], rows, places)
    names = [f"{row.id} {stars.get(row.note, '')}".strip() for row in rows.itertuples()]
    panels[0].set_yticks(places, names)
    panels[0].set_ylim(places[-1] + 0.7, -1.7)
    beside = {"transform": panels[0].get_yaxis_transform(), "ha": "right", "va": "center"}
    for family, place in heads.items():
        panels[0].text(-0.01, place, family, weight="bold", **beside)
    for axes in panels:
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
    figure.legend(handles=_leaderboard_keys(), loc="outside upper center", ncols=5)
    if notes:
        figure.supxlabel("\n".join(notes), size=9, x=0.01, ha="left")
    save(figure, path)


def _against_published(
    axes: Axes, rows: pd.DataFrame, places: np.ndarray, column: str, title: str
) -> None:
    published, measured = rows[f"{column}_published"], rows[column]
    axes.hlines(places, published, measured, color=GREY, lw=1.5, zorder=2)
    # The ring is wider than the dot: both are seen where they coincide.
    axes.scatter(published, places, s=70, c=PUBLISHED, ec=GREY, lw=1.4, zorder=3)
    axes.scatter(measured, places, s=30, c=MEASURED, zorder=4)
    axes.set_title(title)


def _recalls(axes: Axes, rows: pd.DataFrame, places: np.ndarray) -> None:
    recalls = rows["recall_without_mask"], rows["recall_with_mask"]
    axes.hlines(places, *recalls, color="#CCCCCC", lw=1.5, zorder=2)
    for recall, marker, colour in zip(recalls, "so", LABEL_COLOURS, strict=True):
        axes.scatter(recall, places, s=32, c=colour, marker=marker, zorder=3)
    axes.set_title("Recall of each class (test)")


def _leaderboard_keys() -> list[Line2D]:
    dots = (
        ("measured", MEASURED, MEASURED, "o"),
        ("published", PUBLISHED, GREY, "o"),
        (METRICS["recall_with_mask"], LABEL_COLOURS[1], LABEL_COLOURS[1], "o"),
        (METRICS["recall_without_mask"], LABEL_COLOURS[0], LABEL_COLOURS[0], "s"),
    )
    keys = [
        Line2D([], [], ls="", marker=marker, color=face, markeredgecolor=edge, label=name)
        for name, face, edge, marker in dots
    ]
    baseline = METRICS["majority_accuracy"]
    keys.insert(2, Line2D([], [], color="black", lw=1.2, ls="--", label=baseline))
    return keys


def _grouped(leaderboard: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray, dict[str, float]]:
    """Rows by family, the y of each row, and the y of each family's heading above its rows."""
    families = list(dict.fromkeys(leaderboard["family"]))
    order = leaderboard["family"].map(families.index)
    rows = leaderboard.assign(_family=order).sort_values(
        ["_family", "test_accuracy", "test_iou"], ascending=[True, False, False], kind="stable"
    )
    places = np.arange(len(rows)) + 1.6 * rows["_family"].to_numpy()
    heads = {name: places[rows["_family"] == i].min() - 1 for i, name in enumerate(families)}
    return rows, places, heads
