"""Comparisons of test metrics: paired permutation tests, repeats, pooled folds, curves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from facemask.columns import TRUE, WITHOUT
from facemask.errors import InputError
from facemask.evaluation.bootstrap import (
    METRICS,
    block_size,
    intervals,
    percentiles,
    ratios,
    resampled,
    sums,
)

# What identifies a sample; its number does not, for it changes with the number of crops.
SAMPLE = ["image", "face", "flip"]
COLUMNS = [*SAMPLE, "actual", "predicted", "probability", "iou", *TRUE]


def compare(
    first: pd.DataFrame, second: pd.DataFrame, draws: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Compare two experiments on the same test samples, metric by metric.

    The interval is that of `bootstrap.intervals`, of the difference: both experiments are measured
    on the same randomly drawn images. The p-value is that of a two-sided paired permutation test:
    the two experiments' predictions are swapped on random images, and p = (1 + c) / (1 + draws), c
    the number of draws whose difference is at least as large, either way (Phipson & Smyth,
    Permutation P-values Should Never Be Zero, 2010). With so few images that there are no more ways
    to swap than draws, every way is counted once and p is exact. The interval of a
    difference that hangs on a handful of images is too narrow: trust p there.

    Args:
        first, second: the tables of two experiments, as for `intervals`; rows in any order.
        draws: number of bootstrap draws, and of permutations.
        seed: of both.

    Returns:
        One row per metric: metric, first, second, difference (second - first), low, high, p.
        Shares; NaN as in `intervals`.

    Raises:
        InputError: the two do not hold the same test samples, or only one image's.
    """
    # Imported here: it takes a second that others need not wait for; so does scikit-learn below.
    from scipy.stats import permutation_test

    _check_same_samples(first, second)
    (first_parts, wholes), (second_parts, _) = sums(first), sums(second)
    if len(wholes) < 2:
        raise InputError(f"the test samples are of {len(wholes)} images: too few to compare")
    totals = wholes.sum(0)
    before, after = (ratios(parts.sum(0), totals) for parts in (first_parts, second_parts))
    *drawn, drawn_totals = resampled([first_parts, second_parts, wholes], draws, seed)
    one, other = (ratios(parts, drawn_totals) for parts in drawn)
    low, high = percentiles(other - one)
    # Every metric is a sum over images, and a swap turns the sign of a summand.
    swapped = permutation_test(
        (ratios(second_parts - first_parts, totals),),
        lambda summands, axis: np.abs(summands.sum(axis)),
        permutation_type="samples",
        alternative="greater",
        n_resamples=draws,
        batch=block_size(len(wholes)),
        axis=0,
        rng=seed,
    )
    return pd.DataFrame(
        {
            "metric": METRICS,
            "first": before,
            "second": after,
            "difference": after - before,
            "low": low,
            "high": high,
            "p": np.where(np.isnan(after - before), np.nan, swapped.pvalue),
        }
    )


def over_repeats(runs: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return mean and sample standard deviation (n - 1) of every metric over several repeats.

    Args:
        runs: the test metrics of each repeat, as `metrics.measure` returns them.

    Returns:
        Metric → mean, std; NaN where a run's metric is.

    Raises:
        InputError: fewer than two runs.
    """
    if len(runs) < 2:
        raise InputError(f"mean and std over repeats need two runs, and there is {len(runs)}")
    table = pd.DataFrame(runs)
    both = {"mean": table.mean(skipna=False), "std": table.std(skipna=False)}
    return pd.DataFrame(both).to_dict("index")


def pooled(folds: Sequence[pd.DataFrame]) -> dict[str, Any]:
    """Return the metrics of folds that were tested one after the other, as of one test set.

    Args:
        folds: the test samples of each, as for `intervals`.

    Returns:
        samples and images, how many; metrics: of each value, low and high, as `intervals`, and
        folds, the values of each.

    Raises:
        InputError: two folds test the same image.
    """
    together = pd.concat(folds, ignore_index=True)
    seen = pd.concat([pd.Series(fold["image"].unique()) for fold in folds])
    if seen.duplicated().any():
        raise InputError(
            f"{seen.duplicated().sum()} images are tested in several folds, as "
            f"{seen[seen.duplicated()].iloc[0]}: give each grouped fold once"
        )
    pooled: dict[str, dict[str, Any]] = {**intervals(together)}
    totals = [sums(fold) for fold in folds]
    each = np.array([ratios(parts.sum(0), wholes.sum(0)) for parts, wholes in totals])
    for name, values in zip(METRICS, each.T, strict=True):
        pooled[name]["folds"] = values.tolist()
    return {"samples": len(together), "images": len(seen), "metrics": pooled}


def precision_recall(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the precision-recall curve of the class without_mask.

    Args:
        predictions: as for `intervals`.

    Returns:
        One row per point, thresholds rising: threshold (of the predicted probability of
        without_mask), precision, recall. Points on a line between their neighbours are left out.
        The last is the curve's end by definition, precision 1 at recall 0, with threshold NaN.
        Without a sample of the class there is no curve: no row.
    """
    from sklearn.metrics import precision_recall_curve

    without = predictions["actual"] == WITHOUT
    if not without.any():
        return pd.DataFrame({"threshold": [], "precision": [], "recall": []})
    precision, recall, threshold = precision_recall_curve(
        without, 1 - predictions["probability"], drop_intermediate=True
    )
    return pd.DataFrame(
        {"threshold": np.append(threshold, np.nan), "precision": precision, "recall": recall}
    )


def iou_histogram(predictions: pd.DataFrame, bins: int = 20) -> pd.DataFrame:
    """Return how the IoU of the test samples is distributed.

    Returns:
        One row per bin of width 1 / bins: iou (its lower edge; 1 belongs to the last bin), share
        (of all samples, in [0, 1]).
    """
    counts, edges = np.histogram(predictions["iou"], bins, range=(0, 1))
    return pd.DataFrame({"iou": edges[:-1], "share": counts / len(predictions)})


def _check_same_samples(first: pd.DataFrame, second: pd.DataFrame) -> None:
    first, second = (table.set_index(SAMPLE).sort_index() for table in (first, second))
    remedy = "both must come of the same dataset, crop, balance and split parameters"
    if not first.index.equals(second.index):
        shared = len(first.index.intersection(second.index))
        raise InputError(
            f"the test samples differ: {len(first)} in the first, {len(second)} in the second, "
            f"{shared} in both; {remedy}"
        )
    classes = (first["actual"] != second["actual"]).sum()
    # Boxes are divided by the sides of the crop, and written with six digits.
    boxes = (~np.isclose(first[TRUE], second[TRUE], atol=1e-5)).any(axis=1).sum()
    if classes or boxes:
        raise InputError(
            f"the test samples differ: of {len(first)}, {classes} in their class and {boxes} in "
            f"their true box; {remedy}"
        )
