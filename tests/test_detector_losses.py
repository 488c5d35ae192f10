"""Losses of a detector's maps: against loops over cells in NumPy, and where they have no slope."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from facemask.models.detector import WithoutGradient
from facemask.models.detector_losses import CellLoss, HeatmapFocalLoss, QualityCrossEntropy
from facemask.models.losses import IoULoss, StudySmoothL1

SHAPE = 3, 4, 5  # samples, rows, columns


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def heatmaps(seed=0):
    """A target with faces, cells near them, others and some that do not count; and logits."""
    rng = np.random.default_rng(seed)
    true = rng.choice([0.0, 0.3, 0.8, 1.0, -1.0], (*SHAPE, 1), p=[0.5, 0.15, 0.15, 0.1, 0.1])
    return true.astype(np.float32), rng.normal(0, 2, (*SHAPE, 1)).astype(np.float32)


def some_boxes(rng, count):
    low = rng.uniform(0, 40, (count, 2))
    return np.concatenate([low, low + rng.uniform(4, 50, (count, 2))], axis=1)


def maps(seed=0):
    """Boxes of faces with their weights, of which many are 0; and boxes that were predicted."""
    rng = np.random.default_rng(seed)
    cells = int(np.prod(SHAPE))
    weight = rng.uniform(0.1, 1, cells) * (rng.random(cells) < 0.4)
    true = np.column_stack([some_boxes(rng, cells), weight]) * (weight > 0)[:, None]
    predicted = some_boxes(rng, cells)
    return tuple(each.reshape(*SHAPE, -1).astype(np.float32) for each in (true, predicted))


def overlap(one, other):
    """Intersection, union and hull of two boxes."""
    sides = [min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1)]
    hull = [max(one[i + 2], other[i + 2]) - min(one[i], other[i]) for i in (0, 1)]
    shared = max(sides[0], 0) * max(sides[1], 0)
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (one, other)]
    return shared, sum(areas) - shared, hull[0] * hull[1]


def giou_loss(one, other):
    shared, union, hull = overlap(one, other)
    return 1 - shared / union + (hull - union) / hull


def square_loss(one, other):
    return ((one - other) ** 2).mean()


def cross_entropy(one, other):
    return -(one * np.log(other)).sum()


def over_faces(sums, faces):
    """The loss of each sample: their mean is that over the faces of the batch."""
    return np.array(sums) / (np.sum(faces) / len(sums))


def test_the_heatmap_loss_is_that_of_a_loop():
    true, logits = heatmaps()
    sums, faces = np.zeros(SHAPE[0]), np.zeros(SHAPE[0])
    for cell in np.ndindex(true.shape):
        t, p = float(true[cell]), sigmoid(float(logits[cell]))
        if t == 1:
            faces[cell[0]] += 1
            sums[cell[0]] -= (1 - p) ** 2 * np.log(p)
        elif t >= 0:
            sums[cell[0]] -= (1 - t) ** 4 * p**2 * np.log(1 - p)
    assert faces.min() > 0
    loss = HeatmapFocalLoss()
    np.testing.assert_allclose(loss.call(true, logits), over_faces(sums, faces), rtol=1e-4)
    assert float(loss(true, logits)) == pytest.approx(sums.sum() / faces.sum(), rel=1e-4)


def test_ignored_cells_do_not_change_the_heatmap_loss():
    true, logits = heatmaps()
    other = np.where(true < 0, 50 - logits, logits)
    loss = HeatmapFocalLoss()
    assert (true < 0).sum() > 2
    assert float(loss(true, other)) == float(loss(true, logits))
    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        value = loss(true, variable)
    slope = tape.gradient(value, variable).numpy()
    assert (slope[true < 0] == 0).all()
    assert (slope[(true >= 0) & (true < 1)] > 0).all()
    assert (slope[true == 1] < 0).all()


@pytest.mark.parametrize("certain", [-300.0, 300.0])
def test_the_heatmap_loss_stays_finite_for_certain_cells(certain):
    true, logits = heatmaps()
    variable = tf.Variable(np.full_like(logits, certain))
    with tf.GradientTape() as tape:
        value = HeatmapFocalLoss()(true, variable)
    assert np.isfinite(value)
    assert np.isfinite(tape.gradient(value, variable)).all()


def test_a_batch_without_faces_has_a_loss():
    true, logits = np.zeros((*SHAPE, 1), np.float32), heatmaps()[1]
    assert 0 < float(HeatmapFocalLoss()(true, logits)) < np.inf
    boxes = np.zeros((*SHAPE, 5), np.float32)
    assert float(CellLoss(IoULoss("giou", "xyxy"))(boxes, maps()[1])) == 0
    assert float(QualityCrossEntropy()(boxes, np.concatenate([logits, maps()[1]], -1))) == 0


def labels(seed=0):
    """Classes of faces, with the weights of `maps`; and probabilities that were predicted."""
    rng = np.random.default_rng(seed)
    weight = maps()[0][..., -1:]
    one_hot = np.eye(3, dtype=np.float32)[rng.integers(0, 3, SHAPE)] * (weight > 0)
    predicted = rng.dirichlet([1, 1, 1], SHAPE).astype(np.float32)
    return np.concatenate([one_hot, weight], axis=-1), predicted


LOSSES = {
    "giou": (lambda: IoULoss("giou", "xyxy"), giou_loss, maps),
    "mse": (keras.losses.MeanSquaredError, square_loss, maps),
    "labels": (keras.losses.CategoricalCrossentropy, cross_entropy, labels),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_of_cells_is_that_of_a_loop(name):
    make, formula, data = LOSSES[name]
    true, predicted = data()
    sums, weights = np.zeros(SHAPE[0]), np.zeros(SHAPE[0])
    for cell in np.ndindex(SHAPE):
        *target, weight = true[cell].astype(float)
        if weight:
            sums[cell[0]] += weight * formula(np.array(target), predicted[cell].astype(float))
            weights[cell[0]] += weight
    loss = CellLoss(make())
    np.testing.assert_allclose(loss.call(true, predicted), over_faces(sums, weights), rtol=1e-4)
    assert float(loss(true, predicted)) == pytest.approx(sums.sum() / weights.sum(), rel=1e-4)


KINDS = {kind: IoULoss(kind, "xyxy") for kind in ("giou", "diou", "ciou")}
KINDS["mse"] = keras.losses.MeanSquaredError()
KINDS["categorical_crossentropy"] = keras.losses.CategoricalCrossentropy()


@pytest.mark.parametrize("kind", KINDS)
def test_cells_without_weight_do_not_count_and_have_no_slope(kind):
    true, predicted = (labels if kind == "categorical_crossentropy" else maps)()
    channels = predicted.shape[-1]
    empty = true[..., -1] == 0
    odd = [np.eye(channels)[0], np.eye(channels)[-1], np.full(channels, 1 / channels)]
    if channels == 4:  # a box without sides, a large one, and one that is turned inside out
        odd += [np.zeros(4), np.array([-7e3, -7e3, 9e3, 9e3]), np.array([30, 40, 10, 20])]
    found = []
    for values in [None, *odd]:
        changed = predicted.copy()
        if values is not None:
            changed[empty] = values
        variable = tf.Variable(changed)
        with tf.GradientTape() as tape:
            value = CellLoss(KINDS[kind])(true, variable)
        slope = tape.gradient(value, variable).numpy()
        assert (slope[empty] == 0).all()
        assert np.isfinite(slope).all() and (slope[~empty] != 0).any()
        found.append(float(value))
    assert found == [found[0]] * len(found)


def test_the_quality_loss_is_the_cross_entropy_of_the_overlap():
    true, boxes = maps()
    logits = np.random.default_rng(1).normal(0, 2, (*SHAPE, 1)).astype(np.float32)
    predicted = np.concatenate([logits, boxes], axis=-1)
    sums, weights = np.zeros(SHAPE[0]), np.zeros(SHAPE[0])
    for cell in np.ndindex(SHAPE):
        *target, weight = true[cell].astype(float)
        if weight:
            shared, union, _ = overlap(target, boxes[cell].astype(float))
            q, p = shared / union, sigmoid(float(logits[cell][0]))
            sums[cell[0]] -= weight * (q * np.log(p) + (1 - q) * np.log(1 - p))
            weights[cell[0]] += weight
    loss = QualityCrossEntropy()
    np.testing.assert_allclose(loss.call(true, predicted), over_faces(sums, weights), rtol=1e-4)
    assert float(loss(true, predicted)) == pytest.approx(sums.sum() / weights.sum(), rel=1e-4)


def test_the_quality_of_a_box_teaches_the_box_nothing():
    true, predicted = maps()
    logit, box = tf.Variable(heatmaps()[1]), tf.Variable(predicted)
    with tf.GradientTape() as tape:
        value = QualityCrossEntropy()(true, WithoutGradient()([logit, box]))
    to_logit, to_box = tape.gradient(value, [logit, box])
    assert to_box is None or (to_box.numpy() == 0).all()
    assert (to_logit.numpy()[true[..., -1] > 0] != 0).all()


def boxes_and_logits():
    true, predicted = maps()
    return true, np.concatenate([heatmaps()[1], predicted], axis=-1)


@pytest.mark.parametrize(
    ("loss", "data"),
    [
        (HeatmapFocalLoss(name="mine", reduction="sum"), heatmaps),
        (QualityCrossEntropy(name="mine", reduction="sum"), boxes_and_logits),
        (CellLoss(IoULoss("diou", "xyxy"), name="mine", reduction="sum"), maps),
        (CellLoss(StudySmoothL1(9.0), name="mine", reduction="sum"), maps),
        (
            CellLoss(
                keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
                name="mine",
                reduction="sum",
            ),
            labels,
        ),
    ],
    ids=["heatmap", "quality", "diou", "smooth l1", "labels"],
)
def test_a_loss_survives_being_written_and_read(loss, data):
    config = keras.saving.serialize_keras_object(loss)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(loss)
    assert (again.name, again.reduction) == ("mine", "sum")
    assert float(again(*data())) == float(loss(*data()))
    assert keras.saving.serialize_keras_object(again) == config
