"""The page of localizers: they and their ensemble, the ablation, where they fail.

Metrics are fractions 0..1 in tables and per cent in the rendered text, whose words are in
templates/localizer.md.j2.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from facemask.evaluation.error_analysis import GROUPS
from facemask.reporting import tables
from facemask.reporting.tables import METRICS, NONE, interval, mean_and_std, percent

Metrics = Mapping[str, Any]

SHOWN = ("accuracy", "recall_with_mask", "recall_without_mask", "mean_iou", "iou_50")
HEADERS = [METRICS[key] for key in SHOWN]
SPELT = 3  # of the changes of a variant; pipelines/localizer/params.yaml has them all


def render(
    *,
    dataset: str,
    split: str,
    ensemble: str,
    members: Sequence[str],
    measured: Mapping[str, Metrics],
    ablation: Mapping[str, Metrics],
    variants: Mapping[str, Mapping[str, Any]],
    shared: Mapping[str, Any],
    groups: Mapping[str, pd.DataFrame],
    plots: Mapping[str, str],
) -> str:
    """Return the page.

    Args:
        dataset, split: what it is of.
        ensemble: its name.
        members: its localizers; the errors shown are those of the first.
        measured: of members and ensemble, the content of their statistics files.
        ablation: of each variant, what `metrics.validated` returns.
        variants, shared: of the ablation, what each changes and what all do.
        groups: what `error_analysis.by_group` returns.
        plots: augmentation, reliability, groups, worst, ablation and, if there is one,
            misclassified: the paths from the page.
    """
    return tables.render(
        "localizer",
        dataset=dataset,
        split=split,
        ensemble=ensemble,
        members=members,
        subject=members[0],
        measured=measured,
        majority_val=measured[members[0]]["val"]["majority_accuracy"],
        tested=_tested(measured),
        validated=_validated(measured),
        calibration=_calibration(measured),
        ablation=_ablation(ablation, variants),
        first_variant=next(iter(ablation)),
        shared=flat(shared),
        groups=[_group(GROUPS[column], table) for column, table in groups.items()],
        plots=plots,
    )


def _tested(measured: Mapping[str, Metrics]) -> pd.DataFrame:
    rows = [
        (
            f"`{name}`",
            *(interval(metrics["intervals"][key]) for key in SHOWN),
            f"{metrics['params']['total']:,}",
            f"{metrics['train_seconds']:,.0f}",
        )
        for name, metrics in measured.items()
    ]
    headers = ["network", *HEADERS, "parameters", "seconds of training"]
    return pd.DataFrame(rows, columns=headers)


def _validated(measured: Mapping[str, Metrics]) -> pd.DataFrame:
    rows = [
        (f"`{name}`", *(percent(metrics["val"][key]) for key in SHOWN))
        for name, metrics in measured.items()
    ]
    return pd.DataFrame(rows, columns=["network", *HEADERS])


def _calibration(measured: Mapping[str, Metrics]) -> pd.DataFrame:
    rows = []
    for name, metrics in measured.items():
        found = metrics["calibration"]
        errors = (percent(found["ece"]), percent(found["ece_scaled"]))
        rows.append((f"`{name}`", f"{found['temperature']:.2f}", *errors))
    headers = ["network", "temperature", "ECE as predicted", "ECE with the temperature"]
    return pd.DataFrame(rows, columns=headers)


def _ablation(
    ablation: Mapping[str, Metrics], variants: Mapping[str, Mapping[str, Any]]
) -> pd.DataFrame:
    rows = []
    for name, metrics in ablation.items():
        repeats = pd.DataFrame(metrics["val"])[list(SHOWN)].agg(["mean", "std"])
        rows.append(
            (
                f"`{name}`",
                _first(flat(variants[name])),
                len(metrics["train_seconds"]),
                *(mean_and_std(repeats[key]) for key in SHOWN),
                f"{np.mean(metrics['train_seconds']):,.0f}",
            )
        )
    headers = ["variant", "what it changes", "repeats", *HEADERS, "seconds"]
    return pd.DataFrame(rows, columns=headers)


def _group(title: str, table: pd.DataFrame) -> pd.DataFrame:
    metrics = ["accuracy", "mean_iou", "iou_50"]
    shares = table[metrics].map(percent)
    cells = pd.concat([table[["group", "samples"]], shares], axis=1)
    return cells.set_axis([title, "samples", *(METRICS[key] for key in metrics)], axis=1)


def flat(changes: Mapping[str, Any], above: str = "") -> list[str]:
    """Spell nested changes as `-S` would: model_input.resize_mode=stretch and epochs=6."""
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
