"""Calibration: against samples drawn with known temperatures, sklearn, and bins by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from facemask.evaluation import calibration

WITH, WITHOUT = "with_mask", "without_mask"


def drawn(sharpness: float, count: int = 20_000, seed: int = 0) -> pd.DataFrame:
    """Predictions whose logits are `sharpness` times those that the labels were drawn with."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(1, 2, count)
    actual = np.where(rng.random(count) < expit(logits), WITH, WITHOUT)
    probability = expit(sharpness * logits)
    predicted = np.where(probability > 0.5, WITH, WITHOUT)
    return pd.DataFrame({"actual": actual, "probability": probability, "predicted": predicted})


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_the_temperature_takes_back_overconfidence(sharpness: float) -> None:
    predictions = drawn(sharpness)
    found = calibration.temperature(predictions)
    assert found == pytest.approx(sharpness, rel=0.05)
    mended = calibration.calibrated(predictions, found)["probability"]
    assert ((mended > 0.5) == (predictions["probability"] > 0.5)).all()
    right = predictions["actual"] == WITH
    for other in (0.9 * found, 1.1 * found):
        worse = calibration.calibrated(predictions, other)["probability"]
        assert log_loss(right, mended) < log_loss(right, worse)
    if sharpness != 1:
        before = calibration.expected_error(predictions)
        assert calibration.expected_error(predictions.assign(probability=mended)) < before / 3


def test_calibrating_divides_logits_and_keeps_all_else() -> None:
    probability = pd.Series([0.2, 0.5, 0.99, 0.0, 1.0], index=[7, 3, 1, 0, 9])
    before = pd.DataFrame({"probability": probability, "actual": WITH, "predicted": WITHOUT})
    after = calibration.calibrated(before, 2.0)
    scaled = after["probability"]
    assert list(scaled.index) == list(probability.index)
    # Nothing else of the table changes, and nothing of the one that was given.
    others = ["actual", "predicted"]
    pd.testing.assert_frame_equal(after[others], before[others])
    assert before["probability"].equals(probability)
    np.testing.assert_allclose(logit(scaled[:3]), logit(probability[:3]) / 2)
    assert scaled.between(0, 1, inclusive="neither").all()


@pytest.mark.parametrize("right", [True, False])
def test_a_temperature_of_predictions_all_right_or_all_wrong_is_a_number(right: bool) -> None:
    predictions = pd.DataFrame({"actual": [WITH if right else WITHOUT] * 4, "probability": 0.9})
    low, high = calibration.TEMPERATURES
    assert low <= calibration.temperature(predictions) <= high


def test_bins_are_those_of_sklearn_and_the_error_is_their_mean() -> None:
    predictions = drawn(2.0, 500, 1)
    probability = predictions["probability"].to_numpy()
    confident = np.maximum(probability, 1 - probability)
    right = (predictions["actual"] == predictions["predicted"]).to_numpy()
    bins = calibration.reliability(predictions)
    # sklearn's bins are of [0, 1]; what lies in [0.5, 1] fills the upper ten of twenty.
    accuracy, confidence = calibration_curve(right, confident, n_bins=20)
    held = bins[bins["count"] > 0]
    np.testing.assert_allclose(held["accuracy"], accuracy)
    np.testing.assert_allclose(held["confidence"], confidence)
    assert bins["count"].sum() == len(predictions)
    expected = 0.0
    for low in np.arange(0.5, 1, 0.05):
        inside = (confident >= low) & (confident < low + 0.05)
        if inside.any():
            gap = abs(right[inside].mean() - confident[inside].mean())
            expected += inside.mean() * gap
    assert calibration.expected_error(predictions) == pytest.approx(expected)


def test_an_empty_bin_has_no_accuracy_and_does_not_count() -> None:
    predictions = pd.DataFrame(
        {"actual": [WITH, WITHOUT], "predicted": [WITH, WITH], "probability": [1.0, 1.0]}
    )
    bins = calibration.reliability(predictions)
    assert list(bins["count"]) == [0] * 9 + [2]
    assert bins["accuracy"].isna().sum() == 9
    assert calibration.expected_error(predictions) == pytest.approx(0.5)


def test_the_summary_finds_the_temperature_without_the_test_samples() -> None:
    val, test = drawn(3.0, seed=2), drawn(0.5, seed=3)
    both = pd.concat([val.assign(split="val"), test.assign(split="test")])
    found = calibration.summary(both)
    assert found["temperature"] == pytest.approx(3, rel=0.1)
    assert found["ece"] == pytest.approx(calibration.expected_error(test))
    assert found["ece_scaled"] > found["ece"]
