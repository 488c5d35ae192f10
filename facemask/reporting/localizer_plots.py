"""Pictures of localizers: what they are shown, how sure they are, where they fail."""

import os
from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from facemask.config import Localizer
from facemask.data import geometry
from facemask.data.arrays import Crops
from facemask.evaluation import calibration, error_analysis
from facemask.reporting import plots
from facemask.reporting.plots import FACES, GREY, MEASURED, STYLE, VAL
from facemask.schema import PREDICTED, TRUE, true_boxes
from facemask.training import localizer

CELL = 256  # px, the side of the square on which a crop is drawn for a sheet
EPOCHS = 7  # drawn beside a crop as it is
SHOWN = 6  # crops of each
WORST = 24
COMPARED = {  # of the rows of an ablation
    "accuracy": "accuracy",
    "recall_without_mask": "recall without mask",
    "mean_iou": "mean IoU",
    "iou_50": "IoU ≥ 0.5",
}


def draw(
    folder: Path,
    *,
    crops: Crops,
    samples: pd.DataFrame,
    settings: Localizer,
    seed: int,
    answers: pd.DataFrame,
    tested: Mapping[str, pd.DataFrame],
    groups: Mapping[str, pd.DataFrame],
    ablation: Mapping[str, Mapping[str, Any]],
) -> dict[str, str]:
    """Draw the pictures of `beyond.render`.

    Args:
        folder: where to.
        crops: in their own proportions.
        samples: the table of `split`.
        settings, seed: of the localizer whose augmentation is shown.
        answers: its answers on validation samples.
        tested: of each network, answers on the validation and test samples.
        groups: what `error_analysis.by_group` returns.
        ablation: of each row that was run, what `metrics.validated` returns; drawn if any was.

    Returns:
        What each picture shows and its name in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {
        "augmentation": folder / "augmentation.jpg",
        "reliability": folder / "reliability.png",
        "groups": folder / "groups.png",
        "worst": folder / "worst.jpg",
    }
    augmentation_sheet(crops, samples, settings, seed, drawn["augmentation"])
    reliability_picture(tested, drawn["reliability"])
    groups_picture(groups, drawn["groups"])
    answer_sheet(crops, error_analysis.worst_boxes(answers, WORST), drawn["worst"])
    if ablation:
        drawn["ablation"] = folder / "ablation.png"
        ablation_picture(ablation, drawn["ablation"])
    wrong = error_analysis.misclassified(answers)
    if len(wrong):
        drawn["misclassified"] = folder / "misclassified.jpg"
        answer_sheet(crops, wrong, drawn["misclassified"])
    return {name: path.name for name, path in drawn.items()}


def augmentation_sheet(
    crops: Crops,
    samples: pd.DataFrame,
    settings: Localizer,
    seed: int,
    path: str | os.PathLike[str],
) -> None:
    """Draw training samples as they are, and what `localizer.view` shows of them in epochs."""
    rows = samples[samples["split"] == "train"]
    rows = rows.iloc[np.linspace(0, len(rows) - 1, min(SHOWN, len(rows))).astype(int)]
    images, seen = [], []
    for number, true in zip(rows["sample"], true_boxes(rows), strict=True):
        views = [localizer.view(settings, crops[number], true, False, None)]
        for epoch in range(EPOCHS):
            rng = np.random.default_rng([seed, epoch, number])
            closer = settings.canvas.looks > 1 and bool(rng.integers(2))
            views.append(localizer.view(settings, crops[number], true, closer, rng))
        for image, box in views:
            images.append(image)
            seen.append(box)
    labels = np.repeat(rows["label"].to_numpy(), EPOCHS + 1)
    plots.contact_sheet(images, np.array(seen), labels, path, columns=EPOCHS + 1)


def answer_sheet(crops: Crops, answers: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Draw answers beside what was annotated, each crop in its own proportions."""
    seen = [crops[number] for number in answers["sample"]]
    sides = np.array([crop.shape[1::-1] for crop in seen])
    transforms = np.stack([geometry.fitting(w, h, CELL, "letterbox") for w, h in sides])
    images = [geometry.draw(*pair, CELL) for pair in zip(seen, transforms, strict=True)]
    shown = answers.copy()
    for columns in (TRUE, PREDICTED):
        corners = answers[columns].to_numpy(float) * np.tile(sides, 2)
        shown[columns] = geometry.transformed(corners, transforms) / CELL
    plots.prediction_sheet(images, shown, path)


@style.context(STYLE)
def reliability_picture(tested: Mapping[str, pd.DataFrame], path: str | os.PathLike[str]) -> None:
    """Draw accuracy over confidence of test samples, as answered and with the temperature.

    Above stand the bins' accuracies, below how many samples they hold. The temperature is that of
    the validation samples.
    """
    figure = Figure(figsize=(3.4 * len(tested), 4.2), layout="constrained")
    panels = figure.subplots(
        2, len(tested), sharex=True, sharey="row", squeeze=False, height_ratios=(3, 1)
    )
    for (name, answers), (above, below) in zip(tested.items(), panels.T, strict=True):
        parts = dict(iter(answers.groupby("split")))
        divisor, test = calibration.temperature(parts["val"]), parts["test"]
        mended = test.assign(probability=calibration.scaled(test["probability"], divisor))
        above.plot([0.5, 1], [0.5, 1], color=GREY, ls=":", lw=1.2)
        both = (
            ("as answered", test, VAL, 0.0),
            (f"temperature {divisor:.2f}", mended, MEASURED, 1.0),
        )
        for label, table, colour, beside in both:
            bins = calibration.reliability(table)
            held = bins.dropna()
            error = 100 * calibration.expected_error(table)
            above.plot(
                held["confidence"], held["accuracy"], "o", color=colour, ms=5,
                label=f"{label}: ECE {error:.1f}",
            )  # fmt: skip
            wide = 0.4 * (bins["high"] - bins["low"])
            left = bins["low"] + wide * (0.25 + beside)
            below.bar(left, bins["count"], wide, align="edge", color=colour)
        above.set(title=name, ylim=(-0.03, 1.03))
        above.legend(loc="best", fontsize=8)
        below.set(xlabel="confidence", yscale="log")
        below.yaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
    panels[0, 0].set_ylabel("accuracy")
    panels[1, 0].set_ylabel("samples")
    plots.save(figure, path)


@style.context(STYLE)
def groups_picture(groups: Mapping[str, pd.DataFrame], path: str | os.PathLike[str]) -> None:
    """Draw accuracy, mean IoU and the share of boxes with IoU ≥ 0.5 by size, neighbours, class."""
    lengths = [len(table) for table in groups.values()]
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False, width_ratios=lengths)[0]
    columns = {"accuracy": "accuracy", "mean_iou": "mean IoU", "iou_50": "IoU ≥ 0.5"}
    for axes, (column, table) in zip(panels, groups.items(), strict=True):
        places = np.arange(len(table))
        for number, (key, label) in enumerate(columns.items()):
            axes.bar(
                places + 0.27 * (number - 1), table[key], 0.25, color=FACES[number], label=label
            )
        words = [fill(group.replace("_", " "), 10) for group in table["group"]]
        names = [f"{word}\n({n})" for word, n in zip(words, table["samples"], strict=True)]
        axes.set_xticks(places, names, fontsize=7)
        axes.set(title=error_analysis.GROUPS[column].capitalize(), ylim=(0, 1.02))
        axes.grid(axis="x", visible=False)
    panels[0].set_ylabel("share")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    plots.save(figure, path)


@style.context(STYLE)
def ablation_picture(
    ablation: Mapping[str, Mapping[str, Any]], path: str | os.PathLike[str]
) -> None:
    """Draw figures of validation samples, a line a row and a dot a seed, means ticked.

    `ablation` maps rows to what `metrics.validated` returns. The dotted line and the band
    behind all are the mean of the first row, from which the others differ in one thing, and what
    its repeats span.
    """
    names = list(ablation)
    figure = Figure(figsize=(11, 1.0 + 0.24 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(COMPARED), sharey=True)
    for axes, (key, title) in zip(panels, COMPARED.items(), strict=True):
        first = 100 * np.array(ablation[names[0]]["val"][key])
        axes.axvspan(first.min(), first.max(), color=GREY, alpha=0.25, lw=0)
        axes.axvline(first.mean(), color=GREY, ls=":", lw=1.2)
        for place, name in enumerate(names):
            values = 100 * np.array(ablation[name]["val"][key])
            axes.plot(values, np.full(len(values), place), "o", color=MEASURED, ms=4, alpha=0.7)
            axes.plot([values.mean()], [place], "|", color="black", ms=9)
        axes.set(title=f"{title}, %")
    panels[0].set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()
    plots.save(figure, path)
