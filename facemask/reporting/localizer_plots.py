"""Plots of localizers: calibration of their probabilities, errors, the ablation."""

import os
from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from facemask.columns import PREDICTED, TRUE
from facemask.data import affine
from facemask.evaluation import calibration, error_analysis
from facemask.reporting import plots
from facemask.reporting.plots import FACES, GREY, MEASURED, STYLE, VAL
from facemask.reporting.tables import METRICS
from facemask.shards import Crops

CELL = 256  # px, the side of the square on which a crop is drawn for a sheet
WORST = 24
GROUPED = ("accuracy", "mean_iou", "iou_50")  # metrics of a group of faces
# Metrics of a variant of the ablation.
COMPARED = ("accuracy", "recall_without_mask", "mean_iou", "iou_50")


def draw(
    folder: Path,
    *,
    crops: Crops,
    validated: pd.DataFrame,
    predictions: Mapping[str, pd.DataFrame],
    groups: Mapping[str, pd.DataFrame],
    ablation: Mapping[str, Mapping[str, Any]],
) -> dict[str, str]:
    """Draw the plots of `extensions.render`, but for the augmentation.

    Args:
        folder: where to; it is there.
        crops: in their native aspect.
        validated: the validation samples' predictions of the localizer whose errors are shown.
        predictions: of each network, those of the validation and test samples.
        groups: what `error_analysis.by_group` returns.
        ablation: of each variant, what `metrics.validated` returns.

    Returns:
        What each plot shows and its name in the folder.
    """
    drawn = {
        "reliability": "reliability.png",
        "groups": "groups.png",
        "worst": "worst.jpg",
        "ablation": "ablation.png",
    }
    reliability_plot(predictions, folder / drawn["reliability"])
    groups_plot(groups, folder / drawn["groups"])
    prediction_sheet(crops, error_analysis.worst_boxes(validated, WORST), folder / drawn["worst"])
    ablation_plot(ablation, folder / drawn["ablation"])
    wrong = error_analysis.misclassified(validated)
    if len(wrong):
        drawn["misclassified"] = "misclassified.jpg"
        prediction_sheet(crops, wrong, folder / drawn["misclassified"])
    return drawn


def prediction_sheet(crops: Crops, predictions: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Draw predictions beside what was annotated, each crop in its native aspect."""
    images = [crops[number] for number in predictions["sample"]]
    sides = np.array([image.shape[1::-1] for image in images])
    transforms = np.stack([affine.resizing(w, h, CELL, "letterbox") for w, h in sides])
    drawn = [affine.draw(*pair, CELL) for pair in zip(images, transforms, strict=True)]
    shown = predictions.copy()
    for columns in (TRUE, PREDICTED):
        corners = predictions[columns].to_numpy(float) * np.tile(sides, 2)
        shown[columns] = affine.transformed(corners, transforms) / CELL
    plots.prediction_sheet(drawn, shown, path)


@style.context(STYLE)
def reliability_plot(predictions: Mapping[str, pd.DataFrame], path: str | os.PathLike[str]) -> None:
    """Draw accuracy over confidence of test samples, as predicted and with the temperature.

    Above stand the bins' accuracies, below how many samples they hold. The temperature is that of
    the validation samples.
    """
    figure = Figure(figsize=(3.4 * len(predictions), 4.2), layout="constrained")
    panels = figure.subplots(
        2, len(predictions), sharex=True, sharey="row", squeeze=False, height_ratios=(3, 1)
    )
    for (name, table), (above, below) in zip(predictions.items(), panels.T, strict=True):
        parts = dict(iter(table.groupby("split")))
        temperature, test = calibration.temperature(parts["val"]), parts["test"]
        above.plot([0.5, 1], [0.5, 1], color=GREY, ls=":", lw=1.2)
        _reliability(above, below, test, "as predicted", VAL, 0)
        scaled = calibration.calibrated(test, temperature)
        _reliability(above, below, scaled, f"temperature {temperature:.2f}", MEASURED, 1)
        above.set(title=name, ylim=(-0.03, 1.03))
        above.legend(loc="best", fontsize=8)
        below.set(xlabel="confidence", yscale="log")
        below.yaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
    panels[0, 0].set_ylabel("accuracy")
    panels[1, 0].set_ylabel("samples")
    plots.save(figure, path)


def _reliability(
    above: Axes, below: Axes, test: pd.DataFrame, label: str, colour: str, place: int
) -> None:
    """Dots of the bins' accuracies, and bars of their counts at one of two places."""
    bins = calibration.reliability(test)
    error = 100 * calibration.expected_error(test)
    label = f"{label}: ECE {error:.1f}"
    above.plot(bins["confidence"], bins["accuracy"], "o", color=colour, ms=5, label=label)
    width = 0.4 * (bins["high"] - bins["low"])
    left = bins["low"] + width * (0.25 + place)
    below.bar(left, bins["count"], width, align="edge", color=colour)


@style.context(STYLE)
def groups_plot(groups: Mapping[str, pd.DataFrame], path: str | os.PathLike[str]) -> None:
    """Draw accuracy, mean IoU and the share of boxes with IoU ≥ 0.5 by size, neighbours, class."""
    lengths = [len(table) for table in groups.values()]
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False, width_ratios=lengths)[0]
    for axes, (column, table) in zip(panels, groups.items(), strict=True):
        places = np.arange(len(table))
        for number, key in enumerate(GROUPED):
            left = places + 0.27 * (number - 1)
            axes.bar(left, table[key], 0.25, color=FACES[number], label=METRICS[key])
        words = [fill(group.replace("_", " "), 10) for group in table["group"]]
        names = [f"{word}\n({n})" for word, n in zip(words, table["samples"], strict=True)]
        axes.set_xticks(places, names, fontsize=7)
        axes.set(title=error_analysis.GROUPS[column].capitalize(), ylim=(0, 1.02))
        axes.grid(axis="x", visible=False)
    panels[0].set_ylabel("share")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    plots.save(figure, path)


@style.context(STYLE)
def ablation_plot(ablation: Mapping[str, Mapping[str, Any]], path: str | os.PathLike[str]) -> None:
    """Draw metrics of validation samples, one line per variant; dots are repeats, ticks means.

    The dotted line is the mean of the first variant, from which the others differ in one thing, the
    band the range of its repeats.

    Args:
        ablation: of each variant, what `metrics.validated` returns.
        path: where to.
    """
    names = list(ablation)
    figure = Figure(figsize=(11, 1.0 + 0.24 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(COMPARED), sharey=True)
    for axes, key in zip(panels, COMPARED, strict=True):
        first = 100 * np.array(ablation[names[0]]["val"][key])
        axes.axvspan(first.min(), first.max(), color=GREY, alpha=0.25, lw=0)
        axes.axvline(first.mean(), color=GREY, ls=":", lw=1.2)
        for place, name in enumerate(names):
            values = 100 * np.array(ablation[name]["val"][key])
            axes.plot(values, np.full(len(values), place), "o", color=MEASURED, ms=4, alpha=0.7)
            axes.plot([values.mean()], [place], "|", color="black", ms=9)
        axes.set(title=f"{METRICS[key]}, %")
    panels[0].set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()
    plots.save(figure, path)
