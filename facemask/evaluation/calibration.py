"""How far probabilities are to be believed, and how to make them so: temperature scaling.

A network that says 0.9 should be right nine times of ten. One that is surer than it should be is
mended with a single number, its temperature, by which its logits are divided; the classes that it
answers stay as they are (Guo et al., On Calibration of Modern Neural Networks, 2017).
"""

import numpy as np
import pandas as pd

from facemask.schema import WITH

BINS = 10
# Nearer to 0 and 1 a probability is not told from them: its logit would be infinite.
NEAREST = 1e-6
# Validation samples without a mistake would have it be 0.
TEMPERATURES = (0.1, 10.0)


def temperature(predictions: pd.DataFrame) -> float:
    """Return the temperature with which what was answered has the least log loss.

    Args:
        predictions: with actual and probability (of with_mask), samples that no weight has seen.
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


def scaled(probability: pd.Series, divisor: float) -> pd.Series:
    """Return probabilities whose logits are divided by a temperature."""
    return pd.Series(1 / (1 + np.exp(-_logits(probability) / divisor)), index=probability.index)


def reliability(predictions: pd.DataFrame) -> pd.DataFrame:
    """Compare how sure answers are with how often they are right, in bins of equal width.

    Returns:
        One row a bin of the confidence, which for two classes begins at a half: low, high, count,
        confidence (mean of the answered class's probability) and accuracy; of an empty bin both
        are NaN.
    """
    probability = predictions["probability"]
    sure = np.maximum(probability, 1 - probability)
    right = predictions["actual"] == predictions["predicted"]
    edges = np.linspace(0.5, 1, BINS + 1)
    number = np.clip(np.digitize(sure, edges) - 1, 0, BINS - 1)
    table = pd.DataFrame({"count": 1, "confidence": sure, "accuracy": right.astype(float)})
    means = table.groupby(number)[["confidence", "accuracy"]].mean().reindex(range(BINS))
    counts = np.bincount(number, minlength=BINS)
    return means.assign(low=edges[:-1], high=edges[1:], count=counts)[
        ["low", "high", "count", "confidence", "accuracy"]
    ]


def expected_error(predictions: pd.DataFrame) -> float:
    """Return the expected calibration error: over bins, the mean of |accuracy - confidence|.

    Guo et al. 2017, eq. 5; bins weigh as many samples as they hold.
    """
    bins = reliability(predictions).dropna()
    gap = (bins["accuracy"] - bins["confidence"]).abs()
    return float(np.average(gap, weights=bins["count"]))


def summary(predictions: pd.DataFrame) -> dict[str, float]:
    """Return the temperature found on validation samples, and the test's errors without and with.

    Args:
        predictions: the table of `predict.predict`, with validation and test samples.

    Returns:
        temperature; ece and ece_scaled, shares in [0, 1].
    """
    parts = dict(iter(predictions.groupby("split")))
    divisor, test = temperature(parts["val"]), parts["test"]
    mended = test.assign(probability=scaled(test["probability"], divisor))
    return {
        "temperature": divisor,
        "ece": expected_error(test),
        "ece_scaled": expected_error(mended),
    }


def _logits(probability: pd.Series) -> np.ndarray:
    clipped = np.clip(probability.to_numpy(float), NEAREST, 1 - NEAREST)
    return np.log(clipped / (1 - clipped))
