"""Losses: against plain NumPy, their slopes, and what they are on [0, 1]."""

import math
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from facemask.config.training import BoxLoss, LabelLoss
from facemask.models.boxes import iou
from facemask.models.losses import HeatmapCrossEntropy, IoULoss, StudySmoothL1, box_loss, label_loss

THRESHOLDS = [0.1, 0.5, 1.0, 2.0]


def first_formula(error: np.ndarray, threshold: float) -> np.ndarray:
    error = np.abs(error)
    return np.where(error < threshold, error**2 / threshold, error)


def huber_formula(error: np.ndarray, threshold: float) -> np.ndarray:
    error = np.abs(error)
    return np.where(error <= threshold, error**2 / 2, threshold * error - threshold**2 / 2)


FORMULAS = {"study_smooth_l1": first_formula, "huber": huber_formula}


def made(name: str, threshold: float = 1.0, box_format: str = "rel_xyxy") -> keras.losses.Loss:
    return box_loss(BoxLoss(name=name, threshold=threshold), box_format)


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
    loss = made(name, threshold)
    assert float(loss(true, predicted)) == pytest.approx(expected, rel=1e-5)


def test_mse_is_the_mean_of_squares() -> None:
    true, predicted = some_pairs(128.0)
    loss = made("mse", 1.0)
    assert float(loss(true, predicted)) == pytest.approx(((predicted - true) ** 2).mean(), rel=1e-5)


def test_study_smooth_l1_gives_one_number_a_sample() -> None:
    true, predicted = some_pairs(3.0)
    expected = first_formula(predicted - true, 1.0).mean(axis=1)
    np.testing.assert_allclose(StudySmoothL1().call(true, predicted), expected, rtol=1e-5)


@pytest.mark.parametrize("name", FORMULAS)
def test_gradient_is_the_numerical_one(name: str) -> None:
    formula: Callable[[np.ndarray, float], np.ndarray] = FORMULAS[name]
    step = 1e-6
    for threshold in THRESHOLDS:
        loss = made(name, threshold)
        for error in (-2.7, -0.3, -0.05, 0.0, 0.07, 0.3, 0.8, 1.6, 5.0):
            beside = formula(np.array([error - step, error + step]), threshold)
            numerical = (beside[1] - beside[0]) / (2 * step)
            assert slope(loss, error) == pytest.approx(numerical, abs=1e-4)


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_first_formula_jumps_in_slope_and_huber_does_not(threshold: float) -> None:
    below, above = threshold * 0.9999, threshold * 1.0001
    first = StudySmoothL1(threshold)
    assert slope(first, below) == pytest.approx(2.0, rel=1e-3)
    assert slope(first, above) == pytest.approx(1.0, rel=1e-3)
    huber = made("huber", threshold)
    assert slope(huber, below) == pytest.approx(threshold, rel=1e-3)
    assert slope(huber, above) == pytest.approx(threshold, rel=1e-3)


def test_on_unit_boxes_huber_is_half_the_mse_and_the_first_formula_is_the_mse() -> None:
    true, predicted = some_pairs(1.0)
    true[0], predicted[0] = 0.0, 1.0  # the greatest error there is
    mse = float(keras.losses.MeanSquaredError()(true, predicted))
    huber = made("huber", 1.0)
    first = made("study_smooth_l1", 1.0)
    assert float(huber(true, predicted)) == pytest.approx(mse / 2, rel=1e-6)
    assert float(first(true, predicted)) == pytest.approx(mse, rel=1e-6)


def test_study_smooth_l1_survives_being_written_and_read() -> None:
    true, predicted = some_pairs(3.0)
    loss = StudySmoothL1(0.3, name="mine", reduction="sum")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert isinstance(again, StudySmoothL1)
    assert (again.threshold, again.name, again.reduction) == (0.3, "mine", "sum")
    assert float(again(true, predicted)) == float(loss(true, predicted))


KINDS = ["giou", "diou", "ciou"]
FORMATS = ["xyxy", "center_xywh", "rel_xyxy", "rel_center_xywh"]
SIDE = 128


def by_hand(kind: str, true: list[float], box: list[float], weight: float | None = None) -> float:
    """The papers' formulas for one pair of corners, in floats; weight: ciou's, if fixed."""
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = true, box
    shared = max(0.0, min(ax1, bx1) - max(ax0, bx0)) * max(0.0, min(ay1, by1) - max(ay0, by0))
    together = (ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - shared
    overlap = shared / together
    wide, high = max(ax1, bx1) - min(ax0, bx0), max(ay1, by1) - min(ay0, by0)
    if kind == "giou":
        return 1 - (overlap - (wide * high - together) / (wide * high))
    centres = math.dist([(ax0 + ax1) / 2, (ay0 + ay1) / 2], [(bx0 + bx1) / 2, (by0 + by1) / 2])
    loss = 1 - overlap + centres**2 / (wide**2 + high**2)
    if kind == "ciou":
        v = aspect(true, box)
        loss += v * (ciou_weight(overlap, v) if weight is None else weight)
    return loss


def aspect(true: list[float], box: list[float]) -> float:
    angles = [math.atan2(x1 - x0, y1 - y0) for x0, y0, x1, y1 in (true, box)]
    return 4 / math.pi**2 * (angles[0] - angles[1]) ** 2


def ciou_weight(overlap: float, v: float) -> float:
    return v / (1 - overlap + v)


def corner_pairs(count: int = 60) -> np.ndarray:
    """(2, count, 4): boxes of 0.05 to 0.5 of a unit square; some pairs overlap, others do not."""
    rng = np.random.default_rng(4)
    low = rng.uniform(0, 0.5, (2, count, 2))
    return np.concatenate([low, low + rng.uniform(0.05, 0.5, (2, count, 2))], axis=2)


def as_format(corners: np.ndarray, box_format: str) -> np.ndarray:
    low, high = corners[:, :2], corners[:, 2:]
    if "center" in box_format:
        corners = np.concatenate([(low + high) / 2, high - low], axis=1)
    return (corners * (1 if "rel_" in box_format else SIDE)).astype(np.float32)


@pytest.mark.parametrize("box_format", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_iou_loss_is_the_papers_formula_in_every_format(kind: str, box_format: str) -> None:
    true, box = corner_pairs()
    expected = [by_hand(kind, *pair) for pair in zip(true.tolist(), box.tolist(), strict=True)]
    pair = as_format(true, box_format), as_format(box, box_format)
    found = keras.ops.convert_to_numpy(made(kind, box_format=box_format).call(*pair))
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert max(expected) > 1 > min(expected)


def test_ciou_is_keras_ciou() -> None:
    true, box = (corners.astype(np.float32) for corners in corner_pairs())
    found = keras.ops.convert_to_numpy(made("ciou").call(true, box))
    theirs = keras.utils.bounding_boxes.compute_ciou(true, box, "xyxy")
    np.testing.assert_allclose(1 - found, theirs, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_of_iou_loss_is_the_numerical_one(kind: str) -> None:
    """Central differences of the formula above; ciou's weight is a constant, as in its paper."""
    true, box = corner_pairs()
    predicted = tf.Variable(box.astype(np.float32))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(made(kind).call(true.astype(np.float32), predicted))
    found = tape.gradient(total, predicted).numpy()
    step, expected = 1e-6, np.zeros_like(box)
    for row, column in np.ndindex(box.shape):
        one, other = true[row].tolist(), box[row]
        weight = ciou_weight(iou_of(one, other.tolist()), aspect(one, other.tolist()))
        low, high = other.copy(), other.copy()
        low[column] -= step
        high[column] += step
        expected[row, column] = (
            by_hand(kind, one, high.tolist(), weight) - by_hand(kind, one, low.tolist(), weight)
        ) / (2 * step)
    np.testing.assert_allclose(found, expected, atol=2e-3, rtol=1e-3)


def iou_of(true: list[float], box: list[float]) -> float:
    shared = 1.0
    for i in (0, 1):
        shared *= max(0.0, min(true[i + 2], box[i + 2]) - max(true[i], box[i]))
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (true, box)]
    return shared / (sum(areas) - shared)


@pytest.mark.parametrize("kind", KINDS)
def test_iou_loss_is_nothing_for_the_box_itself(kind: str) -> None:
    true = corner_pairs()[0].astype(np.float32)
    assert np.abs(made(kind).call(true, true)).max() < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_that_do_not_meet_are_still_pulled_together(kind: str) -> None:
    """What the IoU alone cannot do: its slope is nothing there."""
    true = np.float32([[0.0, 0.0, 0.2, 0.2]])
    losses = []
    for distance in (0.3, 0.5, 0.7):
        losses.append(float(made(kind)(true, true + distance)))
    assert losses == sorted(losses) and losses[0] > 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "box",
    [[0.5, 0.5, 0.0, 0.0], [0.5, 0.5, -0.3, 0.2], [0.5, 0.5, 0.3, 0.0]],
    ids=["empty", "negative width", "flat"],
)
def test_iou_loss_and_its_slope_stay_finite_for_boxes_without_extent(
    kind: str, box: list[float]
) -> None:
    predicted = tf.Variable([box])
    with tf.GradientTape() as tape:
        loss = made(kind, box_format="rel_center_xywh")(tf.constant([box]), predicted)
        loss += made(kind, box_format="rel_center_xywh")(
            tf.constant([[0.4, 0.4, 0.2, 0.2]]), predicted
        )
    assert np.isfinite(loss.numpy())
    assert np.isfinite(tape.gradient(loss, predicted).numpy()).all()


def test_negative_sides_count_in_parts_of_the_true_ones() -> None:
    # GIoU's loss of a box without area, and by hand what each side of it lacks.
    true, predicted = [0.2, 0.3, 0.6, 0.5], [0.9, 0.4, 0.1, 0.35]
    hull = (0.9 - 0.1) * (0.5 - 0.3)
    expected = 1 + (1 - 0.4 * 0.2 / hull) + (0.9 - 0.1) / 0.4 + (0.4 - 0.35) / 0.2
    loss = made("giou", box_format="rel_xyxy")
    found = float(loss(np.float32([true]), np.float32([predicted])))
    assert found == pytest.approx(expected, rel=1e-5)
    # A side that is as it should be lacks nothing.
    upright = [*predicted[:1], 0.35, *predicted[2:3], 0.4]
    found = float(loss(np.float32([true]), np.float32([upright])))
    assert found == pytest.approx(expected - (0.4 - 0.35) / 0.2, rel=1e-5)


@pytest.mark.parametrize("box_format", ["xyxy", "center_xywh"])
@pytest.mark.parametrize("kind", KINDS)
def test_boxes_turned_inside_out_find_back(kind: str, box_format: str) -> None:
    """Corners in the wrong order mean the loss of the IoU alone is flat: steps downhill must end
    in the box all the same, wherever they start."""
    true, start = corner_pairs()
    start = start[:, [2, 3, 0, 1]]
    start[::2] = start[::2][:, [0, 3, 2, 1]]  # of every other box the width alone
    true = tf.constant(as_format(true, box_format) / SIDE)
    predicted = tf.Variable(as_format(start, box_format) / SIDE)
    loss, optimizer = made(kind, box_format=box_format), keras.optimizers.Adam(0.01)
    assert np.asarray(loss.call(true, predicted)).min() > 1

    @tf.function
    def descend() -> None:
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(loss.call(true, predicted))
        optimizer.apply_gradients([(tape.gradient(total, predicted), predicted)])

    optimizer.build([predicted])
    for _ in range(1000):
        descend()
    assert np.asarray(iou(true, predicted, box_format)).min() > 0.8


def test_iou_loss_survives_being_written_and_read() -> None:
    loss = IoULoss("diou", "center_xywh", name="mine")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert (again.kind, again.box_format, again.name) == ("diou", "center_xywh", "mine")


def label_outputs(categorical: bool) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predicted probabilities, one or two neurons a sample."""
    rng = np.random.default_rng(5)
    label = rng.integers(0, 2, 40)
    probability = rng.uniform(0.02, 0.98, 40)
    if not categorical:
        return label[:, None].astype(np.float32), probability[:, None].astype(np.float32)
    both = np.stack([1 - probability, probability], axis=1)
    return np.eye(2, dtype=np.float32)[label], both.astype(np.float32)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("name", ["categorical_crossentropy", "binary_crossentropy"])
def test_label_loss_is_its_formula(name: str, smoothing: float, gamma: float) -> None:
    """Both neurons' form is Σ -t·(1 - p)^gamma·log p; the one neuron's adds the other class's term.

    Lin et al. 2017 turn down by how near the prediction is: p_t = t·p + (1 - t)(1 - p).
    """
    categorical = name.startswith("categorical")
    true, p = label_outputs(categorical)
    t = true * (1 - smoothing) + smoothing / 2
    p64 = p.astype(float)
    if categorical:
        expected = (-t * (1 - p64) ** gamma * np.log(p64)).sum(axis=1).mean()
    else:
        cross = -(t * np.log(p64) + (1 - t) * np.log(1 - p64))
        expected = ((1 - (t * p64 + (1 - t) * (1 - p64))) ** gamma * cross).mean()
    loss = label_loss(LabelLoss(name=name, smoothing=smoothing, focal_gamma=gamma))
    assert float(loss(true, p)) == pytest.approx(expected, rel=1e-4)


def heatmap_by_hand(box: np.ndarray, side: int, spread: float) -> np.ndarray:
    """The target of the cells, one after another."""
    x0, y0, x1, y1 = box
    wide, high = (max(spread * (end - start), 0.5 / side) for start, end in ((x0, x1), (y0, y1)))
    target = np.empty((side, side))
    for row in range(side):
        for column in range(side):
            across = ((column + 0.5) / side - (x0 + x1) / 2) / wide
            down = ((row + 0.5) / side - (y0 + y1) / 2) / high
            target[row, column] = math.exp(-(across**2 + down**2) / 2)
    return target / target.sum()


@pytest.mark.parametrize("spread", [0.1, 0.5])
def test_heatmap_cross_entropy_is_its_formula(spread: float) -> None:
    rng = np.random.default_rng(0)
    boxes = np.float32([[0.1, 0.2, 0.3, 0.9], [0.5, 0.5, 0.52, 0.52], [0, 0, 1, 1]])
    logits = rng.normal(size=(3, 36)).astype(np.float32)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = [
        -(heatmap_by_hand(box, 6, spread).ravel() * np.log(share)).sum()
        for box, share in zip(boxes.astype(float), shares, strict=True)
    ]
    loss = HeatmapCrossEntropy(spread, reduction="none")
    np.testing.assert_allclose(loss(boxes, logits), expected, rtol=1e-5)
    rebuilt = HeatmapCrossEntropy.from_config(HeatmapCrossEntropy(spread).get_config())
    assert float(rebuilt(boxes, logits)) == pytest.approx(np.mean(expected), rel=1e-5)


def test_heatmap_cross_entropy_is_least_where_the_heatmap_is_the_target() -> None:
    box = np.float32([[0.2, 0.1, 0.6, 0.5]])
    best = np.log(heatmap_by_hand(box[0], 8, 0.1)).reshape(1, 64).astype(np.float32)
    least = float(HeatmapCrossEntropy()(box, best))
    rng = np.random.default_rng(0)
    for _ in range(20):
        other = best + rng.normal(0, 0.3, best.shape).astype(np.float32)
        assert float(HeatmapCrossEntropy()(box, other)) > least
