"""The study's published metrics beside the measured ones: comparison, leaderboard, shortfalls.

Metrics are fractions 0..1.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from facemask.reporting.run import Run

COMPARED = {  # column to split and metric
    "train_accuracy": ("train", "accuracy"),
    "train_iou": ("train", "mean_iou"),
    "val_accuracy": ("val", "accuracy"),
    "val_iou": ("val", "mean_iou"),
    "test_accuracy": ("test", "accuracy"),
    "test_iou": ("test", "mean_iou"),
}
CONTEXT = (
    "recall_with_mask",
    "recall_without_mask",
    "balanced_accuracy",
    "majority_accuracy",
    "iou_50",
)
PARAMETERS = ("total_params", "trainable_params")
TRAINING = ("epochs", "best_epoch", "train_seconds")
PUBLISHED_SIZES = {"train": 1370, "val": 343, "test": 428}


def weight_note(run: Run, backbone: str) -> str:
    """Return the caveats on a backbone's weights, or an empty string.

    Raises:
        KeyError: the backbone has no record.
    """
    random = run.backbones[backbone]["weights"] == "random"
    parts = [f"{backbone}: random weights, not trained on ImageNet"] if random else []
    return "; ".join([*parts, *([run.notes[backbone]] if backbone in run.notes else [])])


def experiment_notes(run: Run) -> dict[str, str]:
    """Return the note on the weights of each experiment that was run and has one."""
    notes = {
        name: weight_note(run, run.backbone_of[name])
        for name in run.metrics
        if name in run.backbone_of
    }
    return {name: note for name, note in notes.items() if note}


def ranked(run: Run) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables of `comparison` and `leaderboard`."""
    rows = comparison(run.metrics, run.published, experiment_notes(run))
    return rows, leaderboard(rows)


def comparison(
    metrics: Mapping[str, Mapping[str, Any]],
    published: pd.DataFrame,
    notes: Mapping[str, str],
) -> pd.DataFrame:
    """Put the measured metrics of each experiment beside the published ones.

    Args:
        metrics, published: see `Run`.
        notes: see `experiment_notes`.

    Returns:
        One row per experiment, the study's in its order, then others in the order of `metrics`
        (family "further"): id, family, section, title, note, run (whether it was); COMPARED as
        measured, with twins _published and _difference (measured - published); PARAMETERS with
        _published; CONTEXT of the test; TRAINING. What was not measured or not published is NaN.

    Raises:
        KeyError: a metric is missing.
    """
    study = published.set_index("id")
    rows = []
    for name in dict.fromkeys([*study.index, *metrics]):
        known = study.loc[name] if name in study.index else pd.Series(dtype=object)
        measured = _measured(metrics.get(name))
        row = {
            "id": name,
            "family": known.get("family", "further"),
            "section": str(known.get("report_section", "")),
            "title": known.get("title", ""),
            "note": notes.get(name, "") if name in metrics else "",
            "run": name in metrics,
            **measured,
        }
        for metric in (*COMPARED, *PARAMETERS):
            row[f"{metric}_published"] = float(known.get(metric, math.nan))
        for metric in COMPARED:
            row[f"{metric}_difference"] = measured[metric] - row[f"{metric}_published"]
        rows.append(row)
    return pd.DataFrame(rows)


def _measured(metrics: Mapping[str, Any] | None) -> dict[str, float]:
    """The measured columns of one row; NaN for what was not run."""
    if metrics is None:
        return dict.fromkeys((*COMPARED, *CONTEXT, *PARAMETERS, *TRAINING), math.nan)
    return {
        **{name: float(metrics[split][key]) for name, (split, key) in COMPARED.items()},
        **{name: float(metrics["test"][name]) for name in CONTEXT},
        **{name: metrics["params"][name.removesuffix("_params")] for name in PARAMETERS},
        **{name: metrics[name] for name in TRAINING},
    }


def leaderboard(comparison: pd.DataFrame) -> pd.DataFrame:
    """Rank the experiments that were run by test accuracy, then test IoU, then name.

    Args:
        comparison: what the function of that name returns.

    Returns:
        Its rows, best first, with rank (from 1) and best_of_family in front. The recalls and
        the majority baseline are among its columns: no accuracy should be shown without them.
    """
    ranking = comparison[comparison["run"]].sort_values(
        ["test_accuracy", "test_iou", "id"], ascending=[False, False, True]
    )
    ranking = ranking.reset_index(drop=True)
    ranking.insert(0, "rank", np.arange(1, len(ranking) + 1))
    ranking.insert(1, "best_of_family", ~ranking.duplicated("family"))
    return ranking


def half_width(variance: float, size: int, published_variance: float, published_size: int) -> float:
    """Return half the 95 % interval of the difference of two means over independent finite sets.

    The normal approximation; for shares the variance is p(1 - p), as in the binomial. Samples of
    one image are not independent, so the true noise is rather larger.
    """
    return 1.96 * math.sqrt(variance / size + published_variance / published_size)


def shortfalls(
    comparison: pd.DataFrame,
    run: Run,
    iou_deviation: Mapping[str, float],
    margin: float = 0.03,
) -> list[dict[str, Any]]:
    """Find the measured metrics that lie more than `margin` below the published ones.

    Args:
        comparison: what the function of that name returns.
        run: its data hold the number of train, val and test samples.
        iou_deviation: of each experiment, the standard deviation of the IoU over test samples.
        margin: a fraction.

    Returns:
        Of each: id, split, kind (accuracy or iou), measured, published; noise: half the 95 %
        interval of their difference; size, published_size: samples; cause, "" if none is known;
        capped: the epochs it should have had, if it had fewer, else None. Nothing where the
        images are not those of the published metrics.

    Raises:
        KeyError: a size or deviation is missing.
    """
    if not run.comparable:
        return []
    found = []
    for row in comparison[comparison["run"]].to_dict("records"):
        for metric in COMPARED:
            # Rounded, or 0.91 - 0.94 would count as more than 0.03.
            if round(-row[f"{metric}_difference"], 9) > margin:
                split, kind = metric.split("_")
                found.append(
                    {
                        "id": row["id"],
                        "split": split,
                        "kind": kind,
                        "measured": row[metric],
                        "published": row[f"{metric}_published"],
                        "noise": _noise(row, metric, run.data[split], iou_deviation),
                        "size": run.data[split],
                        "published_size": PUBLISHED_SIZES[split],
                        "cause": run.notes.get(row["id"], row["note"]),
                        "capped": run.capped.get(row["id"]),
                    }
                )
    return found


def _noise(
    row: Mapping[str, Any], metric: str, size: int, iou_deviation: Mapping[str, float]
) -> float:
    """What chance alone explains of the difference between two sets of samples."""
    split, kind = metric.split("_")
    variances = [share * (1 - share) for share in (row[metric], row[f"{metric}_published"])]
    if kind == "iou":
        # The study does not publish the IoU's standard deviation: the measured one stands in.
        variances = [iou_deviation[row["id"]] ** 2] * 2
    return half_width(variances[0], size, variances[1], PUBLISHED_SIZES[split])
