"""Losses: against plain NumPy, their slopes, and what they are on [0, 1]."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from facemask.config import BoxLoss
from facemask.losses import SmoothL1, box_loss

THRESHOLDS = [0.1, 0.5, 1.0, 2.0]


def first_formula(error: np.ndarray, threshold: float) -> np.ndarray:
    error = np.abs(error)
    return np.where(error < threshold, error**2 / threshold, error)


def huber_formula(error: np.ndarray, threshold: float) -> np.ndarray:
    error = np.abs(error)
    return np.where(error <= threshold, error**2 / 2, threshold * error - threshold**2 / 2)


FORMULAS = {"smooth_l1": first_formula, "huber": huber_formula}


def some_pairs(scale: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return tuple(rng.uniform(0, scale, (64, 4)).astype(np.float32) for _ in range(2))


def slope(loss: keras.losses.Loss, error: float) -> float:
    """Derivative by the prediction, where the truth is 0 and all four errors are equal."""
    predicted = tf.Variable(np.full((1, 4), error, np.float32))
    with tf.GradientTape() as tape:
        value = loss(np.zeros((1, 4), np.float32), predicted)
    return float(tf.reduce_sum(tape.gradient(value, predicted)))


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("name", FORMULAS)
def test_loss_is_its_formula(name: str, threshold: float) -> None:
    true, predicted = some_pairs(3.0)
    expected = FORMULAS[name](predicted.astype(float) - true, threshold).mean()
    loss = box_loss(BoxLoss(name=name, threshold=threshold))
    assert float(loss(true, predicted)) == pytest.approx(expected, rel=1e-5)


def test_mse_is_the_mean_of_squares() -> None:
    true, predicted = some_pairs(128.0)
    loss = box_loss(BoxLoss(name="mse", threshold=1.0))
    assert float(loss(true, predicted)) == pytest.approx(((predicted - true) ** 2).mean(), rel=1e-5)


def test_smooth_l1_gives_one_number_a_sample() -> None:
    true, predicted = some_pairs(3.0)
    expected = first_formula(predicted - true, 1.0).mean(axis=1)
    np.testing.assert_allclose(SmoothL1().call(true, predicted), expected, rtol=1e-5)


@pytest.mark.parametrize("name", FORMULAS)
def test_gradient_is_the_numerical_one(name: str) -> None:
    formula: Callable[[np.ndarray, float], np.ndarray] = FORMULAS[name]
    step = 1e-6
    for threshold in THRESHOLDS:
        loss = box_loss(BoxLoss(name=name, threshold=threshold))
        for error in (-2.7, -0.3, -0.05, 0.0, 0.07, 0.3, 0.8, 1.6, 5.0):
            beside = formula(np.array([error - step, error + step]), threshold)
            numerical = (beside[1] - beside[0]) / (2 * step)
            assert slope(loss, error) == pytest.approx(numerical, abs=1e-4)


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_first_formula_jumps_in_slope_and_huber_does_not(threshold: float) -> None:
    below, above = threshold * 0.9999, threshold * 1.0001
    first = SmoothL1(threshold)
    assert slope(first, below) == pytest.approx(2.0, rel=1e-3)
    assert slope(first, above) == pytest.approx(1.0, rel=1e-3)
    huber = box_loss(BoxLoss(name="huber", threshold=threshold))
    assert slope(huber, below) == pytest.approx(threshold, rel=1e-3)
    assert slope(huber, above) == pytest.approx(threshold, rel=1e-3)


def test_on_unit_boxes_huber_is_half_the_mse_and_the_first_formula_is_the_mse() -> None:
    true, predicted = some_pairs(1.0)
    true[0], predicted[0] = 0.0, 1.0  # the greatest error there is
    mse = float(keras.losses.MeanSquaredError()(true, predicted))
    huber = box_loss(BoxLoss(name="huber", threshold=1.0))
    first = box_loss(BoxLoss(name="smooth_l1", threshold=1.0))
    assert float(huber(true, predicted)) == pytest.approx(mse / 2, rel=1e-6)
    assert float(first(true, predicted)) == pytest.approx(mse, rel=1e-6)


def test_smooth_l1_survives_being_written_and_read() -> None:
    true, predicted = some_pairs(3.0)
    loss = SmoothL1(0.3, name="mine", reduction="sum")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert isinstance(again, SmoothL1)
    assert (again.threshold, again.name, again.reduction) == (0.3, "mine", "sum")
    assert float(again(true, predicted)) == float(loss(true, predicted))
