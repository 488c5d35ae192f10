"""Metrics of samples, and their 95 % intervals by a bootstrap over images.

Samples of one image are alike (its faces share light and camera, a flip shows the same face), so
images are resampled, each with all its samples. This measures the uncertainty from the choice of
test images, not that from the seed of a training: see `significance.over_repeats`.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from facemask.columns import WITH

# Of draws times images held at a time: memory does not grow with the images.
BLOCK = 4_000_000
# Those of `metrics.measure`; the last is the mean of the two before it.
METRICS = [
    "accuracy",
    "mean_iou",
    "iou_50",
    "recall_with_mask",
    "recall_without_mask",
    "balanced_accuracy",
]


def metrics_of(predictions: pd.DataFrame) -> dict[str, float]:
    """Return every metric of some samples, in [0, 1].

    Args:
        predictions: rows of the table of `predict.predict`.

    Returns:
        METRICS → value. The recall of a class that no sample is of is NaN, and so is
        balanced_accuracy then.
    """
    parts, wholes = _terms(predictions).sum(axis=1)
    return dict(zip(METRICS, ratios(parts, wholes).tolist(), strict=True))


def intervals(
    predictions: pd.DataFrame, draws: int = 2000, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Return every test metric with its 95 % interval.

    Percentile bootstrap (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13) of
    clusters (Davison & Hinkley, Bootstrap Methods and their Application, 1997, sec. 3.8): as many
    images as there are, drawn with replacement, the metrics of their samples, and of those the
    2.5th and 97.5th percentile over all draws.

    Draws without a sample of a class have no recall of it and are left out of that recall and of
    balanced_accuracy. A metric of 0 or 1 has an interval without width: no draw can show errors
    that the samples do not.

    Args:
        predictions: the test samples of the table of `predict.predict`.
        draws: number of bootstrap draws.
        seed: of the draws.

    Returns:
        Metric → value, low, high; shares in [0, 1]. The recall of a class that no sample is of is
        NaN, and so is balanced_accuracy then.
    """
    parts, wholes = sums(predictions)
    low, high = percentiles(ratios(*resampled([parts, wholes], draws, seed)))
    value = ratios(parts.sum(0), wholes.sum(0))
    table = pd.DataFrame({"value": value, "low": low, "high": high}, index=METRICS)
    return table.to_dict("index")


def sums(predictions: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return numerators and denominators of the metrics but the last: (images, 5) each."""
    terms = _terms(predictions)
    image, names = pd.factorize(predictions["image"], sort=True)
    totals = np.zeros((2, len(names), terms.shape[-1]))
    for total, columns in zip(totals, terms, strict=True):
        np.add.at(total, image, columns)
    return totals[0], totals[1]


def _terms(predictions: pd.DataFrame) -> np.ndarray:
    """Of each sample, what it adds to numerators and denominators: (2, samples, 5)."""
    masked = (predictions["actual"] == WITH).to_numpy()
    right = (predictions["actual"] == predictions["predicted"]).to_numpy()
    iou = predictions["iou"].to_numpy()
    every = np.ones(len(predictions))
    parts = [right, iou, iou >= 0.5, right & masked, right & ~masked]
    wholes = [every, every, every, masked, ~masked]
    return np.stack([np.stack(columns, axis=-1) for columns in (parts, wholes)]).astype(float)


def ratios(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    """Return metrics (…, 6) of numerators and denominators (…, 5)."""
    with np.errstate(invalid="ignore"):  # 0 / 0 is the recall of a class without samples
        values = parts / wholes
    return np.concatenate([values, values[..., 3:].mean(-1, keepdims=True)], axis=-1)


def resampled(tables: Sequence[np.ndarray], draws: int, seed: int) -> list[np.ndarray]:
    """Return the sums of each table, a row per image, over randomly drawn images: (draws, …)."""
    images = len(tables[0])
    rng, chances = np.random.default_rng(seed), np.full(images, 1 / images)
    blocks = []
    for start in range(0, draws, block := block_size(images)):
        counts = rng.multinomial(images, chances, min(block, draws - start))
        # In floats, for only their matrix products are fast.
        blocks.append([counts.astype(float) @ table for table in tables])
    return [np.concatenate(parts) for parts in zip(*blocks, strict=True)]


def block_size(images: int) -> int:
    """Return how many draws at a time fit into BLOCK numbers."""
    return max(1, BLOCK // images)


def percentiles(drawn: np.ndarray) -> np.ndarray:
    """Return the ends of the 95 % interval, (2, metrics), of drawn metrics (draws, metrics)."""
    with warnings.catch_warnings():
        # A metric that no draw has is NaN, and no warning is wanted.
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        return np.nanpercentile(drawn, [2.5, 97.5], axis=0)
