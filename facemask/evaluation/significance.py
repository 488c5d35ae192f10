"""Figures of the test samples with their uncertainty: intervals, paired tests, spread, curves.

Samples of one photograph are alike (its faces share light and camera, a flip shows the same face),
so photographs are what is drawn at random everywhere here, each with all its samples. What the
choice of test photographs leaves open is measured; what the seed of a training leaves open is not:
that is `spread`.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from facemask.errors import InputError
from facemask.schema import TRUE, WITH, WITHOUT

# Of draws times photographs held at a time: memory does not grow with the photographs.
BLOCK = 4_000_000
# Those of `metrics.measure`; the last is the mean of the two before it.
FIGURES = [
    "accuracy",
    "mean_iou",
    "iou_50",
    "recall_with_mask",
    "recall_without_mask",
    "balanced_accuracy",
]
# What says which sample it is; its number is not, for it changes with the number of crops.
SAMPLE = ["image", "face", "flip"]
COLUMNS = [*SAMPLE, "actual", "predicted", "probability", "iou", *TRUE]


def intervals(
    predictions: pd.DataFrame, draws: int = 2000, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Return every test figure with its 95 % interval.

    Percentile bootstrap (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13) of
    clusters (Davison & Hinkley, Bootstrap Methods and their Application, 1997, sec. 3.8): as many
    photographs as there are, drawn with replacement, the figures of their samples, and of those
    the 2.5th and 97.5th percentile over all draws.

    Draws without a sample of a class have no recall of it and are left out of that recall and of
    balanced_accuracy. A figure of 0 or 1 has an interval without width: no draw can show errors
    that the samples do not.

    Args:
        predictions: the test samples of the table of `predict.predict`.
        draws: number of bootstrap draws.
        seed: of the draws.

    Returns:
        Figure → value, low, high; shares in [0, 1]. The recall of a class that no sample is of is
        NaN, and so is balanced_accuracy then.
    """
    parts, wholes = _sums(predictions)
    low, high = _percentiles(_figures(*_redrawn([parts, wholes], draws, seed)))
    value = _figures(parts.sum(0), wholes.sum(0))
    table = pd.DataFrame({"value": value, "low": low, "high": high}, index=FIGURES)
    return table.to_dict("index")


def figures(predictions: pd.DataFrame) -> dict[str, float]:
    """Return every figure of some samples, in [0, 1].

    Args:
        predictions: rows of the table of `predict.predict`.

    Returns:
        FIGURES → value. The recall of a class that no sample is of is NaN, and so is
        balanced_accuracy then.
    """
    parts, wholes = _terms(predictions).sum(axis=1)
    return dict(zip(FIGURES, _figures(parts, wholes).tolist(), strict=True))


def compare(
    first: pd.DataFrame, second: pd.DataFrame, draws: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Compare two experiments on the same test samples, figure by figure.

    The interval is that of `intervals`, of the difference: both experiments are measured on the
    same drawn photographs. The p-value is that of a two-sided paired permutation test: the two
    experiments' answers are swapped on random photographs, and p = (1 + c) / (1 + draws), c the
    number of draws whose difference is at least as large, either way (Phipson & Smyth,
    Permutation P-values Should Never Be Zero, 2010). With so few photographs that there are no
    more ways to swap than draws, every way is counted once and p is exact. The interval of a
    difference that hangs on a handful of photographs is too narrow: trust p there.

    Args:
        first, second: the tables of two experiments, as for `intervals`; rows in any order.
        draws: number of bootstrap draws, and of permutations.
        seed: of both.

    Returns:
        One row a figure: figure, first, second, difference (second - first), low, high, p. Shares;
        NaN as in `intervals`.

    Raises:
        InputError: the two do not hold the same test samples, or only one photograph's.
    """
    # Takes a second, which intervals need not wait for; so does scikit-learn below.
    from scipy.stats import permutation_test

    _check_same_samples(first, second)
    (first_parts, wholes), (second_parts, _) = _sums(first), _sums(second)
    if len(wholes) < 2:
        raise InputError(f"the test samples are of {len(wholes)} photographs: too few to compare")
    totals = wholes.sum(0)
    before, after = (_figures(parts.sum(0), totals) for parts in (first_parts, second_parts))
    *drawn, drawn_totals = _redrawn([first_parts, second_parts, wholes], draws, seed)
    one, other = (_figures(parts, drawn_totals) for parts in drawn)
    low, high = _percentiles(other - one)
    # Every figure is a sum over photographs, and swapping answers turns a summand's sign.
    swapped = permutation_test(
        (_figures(second_parts - first_parts, totals),),
        lambda summands, axis: np.abs(summands.sum(axis)),
        permutation_type="samples",
        alternative="greater",
        n_resamples=draws,
        batch=_block(len(wholes)),
        axis=0,
        rng=seed,
    )
    return pd.DataFrame(
        {
            "figure": FIGURES,
            "first": before,
            "second": after,
            "difference": after - before,
            "low": low,
            "high": high,
            "p": np.where(np.isnan(after - before), np.nan, swapped.pvalue),
        }
    )


def spread(runs: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return mean and sample standard deviation (n - 1) of every figure over several repeats.

    Args:
        runs: the test figures of each seed, as `metrics.measure` returns them.

    Returns:
        Figure → mean, std; NaN where a run's figure is.

    Raises:
        InputError: fewer than two runs.
    """
    if len(runs) < 2:
        raise InputError(f"the spread over repeats needs two runs, and there is {len(runs)}")
    table = pd.DataFrame(runs)
    both = {"mean": table.mean(skipna=False), "std": table.std(skipna=False)}
    return pd.DataFrame(both).to_dict("index")


def pooled(folds: Sequence[pd.DataFrame]) -> dict[str, Any]:
    """Return the figures of folds that were tested one after the other, as of one test set.

    Args:
        folds: the test samples of each, as for `intervals`.

    Returns:
        samples and photographs, how many; figures: of each value, low and high, as `intervals`, and
        folds, the values of each.

    Raises:
        InputError: two folds test the same photograph.
    """
    together = pd.concat(folds, ignore_index=True)
    seen = pd.concat([pd.Series(fold["image"].unique()) for fold in folds])
    if seen.duplicated().any():
        raise InputError(
            f"{seen.duplicated().sum()} photographs are tested in several folds, as "
            f"{seen[seen.duplicated()].iloc[0]}: give each grouped fold once"
        )
    figures: dict[str, dict[str, Any]] = {**intervals(together)}
    sums = [_sums(fold) for fold in folds]
    each = np.array([_figures(parts.sum(0), wholes.sum(0)) for parts, wholes in sums])
    for name, values in zip(FIGURES, each.T, strict=True):
        figures[name]["folds"] = values.tolist()
    return {"samples": len(together), "photographs": len(seen), "figures": figures}


def precision_recall(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the curve of precision over recall of the rare class, without_mask.

    Args:
        predictions: as for `intervals`.

    Returns:
        One row a point, thresholds rising: threshold (of the score 1 - probability), precision,
        recall. Points on a line between their neighbours are left out. The last is the curve's
        end by definition, precision 1 at recall 0, with threshold NaN. Without a sample of the
        class there is no curve: no row.
    """
    from sklearn.metrics import precision_recall_curve

    rare = predictions["actual"] == WITHOUT
    if not rare.any():
        return pd.DataFrame({"threshold": [], "precision": [], "recall": []})
    precision, recall, threshold = precision_recall_curve(
        rare, 1 - predictions["probability"], drop_intermediate=True
    )
    return pd.DataFrame(
        {"threshold": np.append(threshold, np.nan), "precision": precision, "recall": recall}
    )


def iou_histogram(predictions: pd.DataFrame, bins: int = 20) -> pd.DataFrame:
    """Return how the IoU of the test samples is distributed.

    Returns:
        One row a bin of width 1 / bins: iou (its lower edge; 1 belongs to the last bin), share
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


def _terms(predictions: pd.DataFrame) -> np.ndarray:
    """Of each sample, what it adds to numerators and denominators: (2, samples, 5)."""
    masked = (predictions["actual"] == WITH).to_numpy()
    right = (predictions["actual"] == predictions["predicted"]).to_numpy()
    iou = predictions["iou"].to_numpy()
    every = np.ones(len(predictions))
    parts = [right, iou, iou >= 0.5, right & masked, right & ~masked]
    wholes = [every, every, every, masked, ~masked]
    return np.stack([np.stack(columns, axis=-1) for columns in (parts, wholes)]).astype(float)


def _sums(predictions: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Numerators and denominators of the figures but the last: (photographs, 5) each."""
    terms = _terms(predictions)
    photograph, names = pd.factorize(predictions["image"], sort=True)
    sums = np.zeros((2, len(names), terms.shape[-1]))
    for total, columns in zip(sums, terms, strict=True):
        np.add.at(total, photograph, columns)
    return sums[0], sums[1]


def _figures(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    """(…, 5) sums to (…, 6) figures."""
    with np.errstate(invalid="ignore"):  # 0 / 0 is the recall of a class without samples
        ratios = parts / wholes
    return np.concatenate([ratios, ratios[..., 3:].mean(-1, keepdims=True)], axis=-1)


def _redrawn(tables: Sequence[np.ndarray], draws: int, seed: int) -> list[np.ndarray]:
    """Return the sums of each table, a row a photograph, over drawn photographs: (draws, …)."""
    photographs = len(tables[0])
    rng, chances = np.random.default_rng(seed), np.full(photographs, 1 / photographs)
    blocks = []
    for start in range(0, draws, block := _block(photographs)):
        counts = rng.multinomial(photographs, chances, min(block, draws - start))
        # In floats, for only their matrix products are fast.
        blocks.append([counts.astype(float) @ table for table in tables])
    return [np.concatenate(parts) for parts in zip(*blocks, strict=True)]


def _block(photographs: int) -> int:
    """How many draws at a time fit into BLOCK numbers."""
    return max(1, BLOCK // photographs)


def _percentiles(drawn: np.ndarray) -> np.ndarray:
    """(draws, figures) to (2, figures): the ends of the 95 % interval."""
    with warnings.catch_warnings():
        # A figure that no draw has is NaN, and that is no news.
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        return np.nanpercentile(drawn, [2.5, 97.5], axis=0)
