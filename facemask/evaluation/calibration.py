"""Calibration of probabilities: expected calibration error and temperature scaling.

A network that reports 0.9 should be right nine times of ten. Overconfidence is corrected with a
single number, the temperature, by which logits are divided; predicted classes do not change (Guo et
al., On Calibration of Modern Neural Networks, 2017).
"""

import numpy as np
import pandas as pd

from facemask.columns import WITH

BINS = 10
# Probabilities are kept so far from 0 and 1, where logits would be infinite.
MARGIN = 1e-6
# Validation samples without a mistake would have it be 0.
TEMPERATURES = (0.1, 10.0)


def temperature(predictions: pd.DataFrame) -> float:
    """Return the temperature that gives predictions the least log loss.

    Args:
        predictions: with actual and probability (of with_mask), of samples that did not train.
    """
    # Takes half a second, which other stages need not wait for.
    from scipy.optimize import minimize_scalar

    logits, right = _logits(predictions["probability"]), predictions["actual"] == WITH
    # Of the class that it is: log(1 + exp(-x)) is the log loss of a logit x.
    signed = np.where(right, logits, -logits)
    found = minimize_scalar(
        lambda log: np.logaddexp(0, -signed / np.exp(log)).mean(),
        bounds=np.log(TEMPERATURES),
        method="bounded",
    )
    return float(np.exp(found.x))


def calibrated(predictions: pd.DataFrame, temperature: float) -> pd.DataFrame:
    """Return predictions with the logits of their probability divided by a temperature."""
    logits = _logits(predictions["probability"])
    return predictions.assign(probability=1 / (1 + np.exp(-logits / temperature)))


def reliability(predictions: pd.DataFrame) -> pd.DataFrame:
    """Compare confidence with accuracy, in bins of equal width.

    Returns:
        One row per bin of the confidence, which for two classes begins at a half: low, high, count,
        confidence (mean probability of the predicted class) and accuracy; of an empty bin both
        are NaN.
    """
    probability = predictions["probability"].to_numpy()
    right = (predictions["actual"] == predictions["predicted"]).to_numpy()
    return _bins(np.maximum(probability, 1 - probability), right, 0.5)


def _bins(confidence: np.ndarray, right: np.ndarray, low: float) -> pd.DataFrame:
    edges = np.linspace(low, 1, BINS + 1)
    number = np.clip(np.digitize(confidence, edges) - 1, 0, BINS - 1)
    table = pd.DataFrame({"confidence": confidence, "accuracy": right.astype(float)})
    means = table.groupby(number).mean().reindex(range(BINS))
    counts = np.bincount(number, minlength=BINS)
    return means.assign(low=edges[:-1], high=edges[1:], count=counts)[
        ["low", "high", "count", "confidence", "accuracy"]
    ]


def expected_error(predictions: pd.DataFrame) -> float:
    """Return the expected calibration error of predictions: see `expected_gap`."""
    return _gap(reliability(predictions))


def expected_gap(confidence: np.ndarray, right: np.ndarray, low: float) -> float:
    """Return the expected calibration error: over bins, the mean of |accuracy - confidence|.

    Guo et al. 2017, eq. 5; bins weigh as many samples as they hold.

    Args:
        confidence: (n,), from `low` to 1.
        right: (n,), whether each was right.
        low: where the first bin begins.

    Returns:
        A share in [0, 1]; NaN of none.
    """
    return _gap(_bins(confidence, right, low))


def _gap(bins: pd.DataFrame) -> float:
    known = bins.dropna()
    gap = (known["accuracy"] - known["confidence"]).abs()
    return float(np.average(gap, weights=known["count"])) if len(known) else float("nan")


def summary(predictions: pd.DataFrame) -> dict[str, float]:
    """Return the temperature found on validation samples, and the test's errors without and with.

    Args:
        predictions: the table of `predict.predict`, with validation and test samples.

    Returns:
        temperature; ece and ece_scaled, shares in [0, 1].
    """
    parts = dict(iter(predictions.groupby("split")))
    divisor, test = temperature(parts["val"]), parts["test"]
    return {
        "temperature": divisor,
        "ece": expected_error(test),
        "ece_scaled": expected_error(calibrated(test, divisor)),
    }


def _logits(probability: pd.Series) -> np.ndarray:
    clipped = np.clip(probability.to_numpy(float), MARGIN, 1 - MARGIN)
    return np.log(clipped / (1 - clipped))
