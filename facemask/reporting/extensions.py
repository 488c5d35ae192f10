"""The page of what goes beyond the study: localizers, ensembles, what gave what, where they fail.

Figures are fractions 0..1 in tables and per cent in the rendered text.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from facemask.evaluation.error_analysis import GROUPS
from facemask.reporting.tables import NONE, markdown_table, percent

Metrics = Mapping[str, Any]

FIGURES = {
    "accuracy": "accuracy",
    "majority_accuracy": "majority class alone",
    "recall_with_mask": "recall with mask",
    "recall_without_mask": "recall without mask",
    "mean_iou": "mean IoU",
    "iou_50": "IoU ≥ 0.5",
}
SPELT = 3  # of the changes of a row of the ablation; pipelines/localizer/params.yaml has them all


def render(
    *,
    dataset: str,
    split: str,
    metrics: Mapping[str, Metrics],
    statistics: Mapping[str, Metrics],
    ablation: Mapping[str, Metrics],
    changes: Mapping[str, Mapping[str, Any]],
    common: Mapping[str, Any],
    groups: Mapping[str, pd.DataFrame],
    subject: str,
    pictures: Mapping[str, str],
) -> str:
    """Return the page.

    Args:
        dataset, split: what it is of.
        metrics: of localizers and ensembles.
        statistics: of the same, as the evaluate stage writes them.
        ablation: of each row that was run, what `metrics.validated` returns.
        changes, common: of pipelines/localizer/params.yaml, what rows change and what all do.
        groups: what `error_analysis.by_group` returns.
        subject: the localizer whose failures are shown.
        pictures: augmentation, reliability, groups, worst and, where there is one, ablation and
            misclassified: the paths from the page.
    """
    parts = [
        f"# Beyond the study: {dataset}",
        f"Made by `dvc repro pipelines/localizer/dvc.yaml`; split `{split}`. A localizer looks "
        "where a map of heat tells it to (facemask/models/localizer.py) instead of answering from "
        "a pooled vector; an ensemble is the mean of two, of calibrated probabilities and of boxes "
        "by their quality.",
        "## Figures of the test samples",
        "In %, with 95 % intervals by bootstrap over photographs; of a localizer its first repeat, "
        "of an ensemble all.",
        _tests(metrics, statistics),
        "## What training samples look like",
        "The first of each row is the crop as it is; the others are what epochs made of it, seen "
        "from afar or closer.",
        f"![Samples as augmentation changes them]({pictures['augmentation']})",
    ]
    parts += [
        "## Which step gave what",
        *([_ablation(ablation, changes, common, pictures["ablation"])] if ablation else []),
        "What two networks give over one: the same validation samples, in %, as answered by the "
        "members trained in full and by the ensemble, whose temperatures were found on them.",
        _validated(metrics),
        "## How far probabilities are to be believed",
        "ECE is the expected calibration error of the test samples, in points: how far confidence "
        "and accuracy lie apart, over ten bins. The temperature, by which logits are divided, was "
        "found on validation samples; it changes no answer.",
        _calibration(statistics),
        f"![Accuracy over confidence]({pictures['reliability']})",
        f"## Where `{subject}` fails",
        "Validation samples, in %: what is changed after a look at them is not chosen by the test.",
        *(_group(GROUPS[column], table) for column, table in groups.items()),
        f"![Accuracy and IoU by group]({pictures['groups']})",
        "### The boxes of least IoU",
        f"![The worst boxes]({pictures['worst']})",
        "### All wrong labels",
    ]
    wrong = pictures.get("misclassified")
    parts.append(f"![Faces with a wrong label]({wrong})" if wrong else "There is none.")
    return "\n\n".join(parts) + "\n"


def _tests(metrics: Mapping[str, Metrics], statistics: Mapping[str, Metrics]) -> str:
    headers = ("network", *FIGURES.values(), "parameters", "seconds of training")
    rows = []
    for name, figures in metrics.items():
        intervals = statistics[name]["intervals"]
        cells = [_with_interval(figures["test"][key], intervals.get(key)) for key in FIGURES]
        rows.append(
            (
                f"`{name}`",
                *cells,
                f"{figures['params']['total']:,}",
                f"{figures['train_seconds']:,.0f}",
            )
        )
    return markdown_table(headers, rows)


def _with_interval(value: float, interval: Mapping[str, float] | None) -> str:
    if interval is None:
        return percent(value)
    return f"{percent(value)} [{percent(interval['low'])}, {percent(interval['high'])}]"


def _ablation(
    ablation: Mapping[str, Metrics],
    changes: Mapping[str, Mapping[str, Any]],
    common: Mapping[str, Any],
    picture: str,
) -> str:
    headers = ("row", "what is changed", "repeats", *FIGURES.values(), "seconds")
    rows = []
    for name, figures in ablation.items():
        # The majority is that of the same samples with every seed.
        val = figures["val"] | {"majority_accuracy": figures["val"]["majority_accuracy"][:1]}
        cells = [_spread(val[key]) for key in FIGURES]
        repeats = len(figures["train_seconds"])
        seconds = f"{np.mean(figures['train_seconds']):,.0f}"
        rows.append((f"`{name}`", _first(flat(changes[name])), repeats, *cells, seconds))
    text = (
        "Validation samples, in %: mean and, behind ±, sample standard deviation over repeats. All "
        f"rows that do not say otherwise: {', '.join(flat(common))}. These are smaller and "
        "shorter trainings than the localizer's, alike but for what a row changes. Each row's "
        "epoch was chosen by the same samples."
    )
    drawn = (
        "A dot a repeat, means ticked; the dotted line is the mean of "
        f"`{next(iter(ablation))}`, the band what its repeats span."
    )
    return "\n\n".join(
        (text, markdown_table(headers, rows, left=2), drawn, f"![The rows' figures]({picture})")
    )


def _validated(metrics: Mapping[str, Metrics]) -> str:
    rows = [
        (f"`{name}`", *(percent(figures["val"][key]) for key in FIGURES))
        for name, figures in metrics.items()
    ]
    return markdown_table(("network", *FIGURES.values()), rows)


def flat(changes: Mapping[str, Any], above: str = "") -> list[str]:
    """Spell nested changes as `-S` would: canvas.fit=stretch and epochs=6."""
    parts = []
    for key, value in changes.items():
        name = f"{above}{key}"
        nested = isinstance(value, Mapping)
        parts += flat(value, f"{name}.") if nested else [f"{name}={_plain(value)}"]
    return parts


def _first(parts: Sequence[str]) -> str:
    more = [f"{len(parts) - SPELT} more"] if len(parts) > SPELT else []
    return ", ".join([*parts[:SPELT], *more]) or NONE


def _plain(value: Any) -> str:  # noqa: ANN401 - whatever YAML holds
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list | tuple) else str(value)


def _spread(values: Sequence[float]) -> str:
    mean = percent(float(np.mean(values)))
    return f"{mean} ± {percent(float(np.std(values, ddof=1)))}" if len(values) > 1 else mean


def _calibration(statistics: Mapping[str, Metrics]) -> str:
    headers = ("network", "temperature", "ECE as answered", "ECE with the temperature")
    rows = []
    for name, figures in statistics.items():
        found = figures["calibration"]
        errors = (percent(found["ece"]), percent(found["ece_scaled"]))
        rows.append((f"`{name}`", f"{found['temperature']:.2f}", *errors))
    return markdown_table(headers, rows)


def _group(title: str, table: pd.DataFrame) -> str:
    headers = (title, "samples", "accuracy", "mean IoU", "IoU ≥ 0.5")
    rows = [
        (row.group, row.samples, percent(row.accuracy), percent(row.mean_iou), percent(row.iou_50))
        for row in table.itertuples()
    ]
    return markdown_table(headers, rows)
