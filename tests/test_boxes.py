"""Boxes: against Keras' own IoU, against counted pixels, and against their definitions."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemask.models import boxes

FORMATS = ["xyxy", "center_xywh", "rel_xyxy", "rel_center_xywh"]
SIZE = 64


def some_corners(rng: np.random.Generator, count: int, side: int) -> np.ndarray:
    """Corners of whole-pixel boxes that are at least one pixel wide and high."""
    low = rng.integers(0, side - 1, (count, 2))
    return np.concatenate([low, rng.integers(low + 1, side + 1)], axis=1)


def in_format(corners: np.ndarray, box_format: str, size: int = SIZE) -> np.ndarray:
    """Write the formats' definitions down once more, in NumPy."""
    low, high = corners[:, :2], corners[:, 2:]
    if "center" in box_format:
        corners = np.concatenate([(low + high) / 2, high - low], axis=1)
    return (corners / size if box_format.startswith("rel_") else corners).astype(np.float32)


def numpy_iou(true: np.ndarray, predicted: np.ndarray, box_format: str) -> np.ndarray:
    return keras.ops.convert_to_numpy(boxes.iou(true, predicted, box_format))


@pytest.mark.parametrize("box_format", FORMATS)
def test_iou_is_keras_iou(box_format: str) -> None:
    rng = np.random.default_rng(0)
    true, predicted = (in_format(some_corners(rng, 300, SIZE), box_format) for _ in range(2))
    keras_iou = keras.utils.bounding_boxes.compute_iou(
        true, predicted, box_format, image_shape=(SIZE, SIZE, 3)
    )
    found = numpy_iou(true, predicted, box_format)
    np.testing.assert_allclose(found, np.diag(keras_iou), atol=1e-4)
    assert found.max() > 0.5 and found.min() == 0


@pytest.mark.parametrize("box_format", FORMATS)
def test_iou_counts_pixels(box_format: str) -> None:
    rng = np.random.default_rng(1)
    true, predicted = some_corners(rng, 200, 12), some_corners(rng, 200, 12)
    counted = []
    for pair in zip(true, predicted, strict=True):
        one, other = np.zeros((2, 12, 12), bool)
        for mask, (x0, y0, x1, y1) in zip((one, other), pair, strict=True):
            mask[y0:y1, x0:x1] = True
        counted.append((one & other).sum() / (one | other).sum())
    found = numpy_iou(
        in_format(true, box_format, 12), in_format(predicted, box_format, 12), box_format
    )
    np.testing.assert_allclose(found, counted, atol=1e-5)


@pytest.mark.parametrize("box_format", FORMATS)
def test_iou_of_equal_boxes_is_one_and_of_disjoint_ones_zero(box_format: str) -> None:
    one = in_format(np.array([[4, 8, 20, 40]]), box_format)
    beside = in_format(np.array([[20, 8, 30, 40]]), box_format)  # they share an edge
    assert numpy_iou(one, one, box_format) == pytest.approx([1.0])
    assert numpy_iou(one, beside, box_format) == pytest.approx([0.0], abs=1e-6)


@pytest.mark.parametrize(
    "predicted",
    [
        [5, 5, 5, 5],  # a point inside
        [0, 5, 10, 5],  # no height
        [8, 8, 2, 2],  # both sides negative: their product is positive
        [8, 2, 2, 8],  # negative width
        [2, 8, 8, 2],  # negative height
    ],
)
def test_a_box_without_extent_overlaps_nothing(predicted: list[int]) -> None:
    true = np.array([[0, 0, 10, 10]], np.float32)
    for box_format in FORMATS:
        ours, theirs = (
            in_format(np.array(box, float).reshape(1, 4), box_format) for box in (true, predicted)
        )
        assert numpy_iou(ours, theirs, box_format) == [0.0]
        assert numpy_iou(theirs, ours, box_format) == [0.0]
        assert numpy_iou(theirs, theirs, box_format) == [0.0]  # 0 / floor, not 0 / 0


def test_the_union_is_floored() -> None:
    side = np.float32(1e-5)  # a union of 1e-10
    tiny = np.array([[0, 0, side, side]], np.float32)
    assert numpy_iou(tiny, tiny, "xyxy") == pytest.approx([1e-10 / 1e-8], rel=1e-4)
    larger = tiny * 100  # a union of 1e-6
    assert numpy_iou(larger, larger, "xyxy") == pytest.approx([1.0], rel=1e-4)


@pytest.mark.parametrize("box_format", FORMATS)
def test_metric_over_batches_is_the_mean_over_all(box_format: str) -> None:
    rng = np.random.default_rng(2)
    true, predicted = (in_format(some_corners(rng, 50, SIZE), box_format) for _ in range(2))
    metric = boxes.MeanIoU(box_format)
    for part in np.split(np.arange(50), [7, 8, 40]):  # batches of unequal length
        metric.update_state(true[part], predicted[part])
    pairs = np.diag(
        keras.utils.bounding_boxes.compute_iou(
            true, predicted, box_format, image_shape=(SIZE, SIZE, 3)
        )
    )
    assert float(metric.result()) == pytest.approx(pairs.mean(), abs=1e-5)
    assert metric.name == "iou"
    metric.reset_state()
    metric.update_state(true[:1], true[:1])
    assert float(metric.result()) == pytest.approx(1.0, abs=1e-5)


def test_metric_survives_being_written_and_read() -> None:
    metric = boxes.MeanIoU("center_xywh", name="overlap")
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    true, predicted = np.array([[8, 8, 4, 4]], "float32"), np.array([[9, 8, 4, 4]], "float32")
    for each in (metric, again):
        each.update_state(true, predicted)
    assert again.name == "overlap"
    assert float(again.result()) == float(metric.result()) == pytest.approx(12 / 20)


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", FORMATS)
def test_convert_follows_the_definitions_and_back(source: str, target: str) -> None:
    corners = some_corners(np.random.default_rng(3), 40, SIZE)
    given, wanted = in_format(corners, source), in_format(corners, target)
    converted = boxes.convert(given, source, target, SIZE)
    np.testing.assert_allclose(converted, wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        boxes.convert(converted, target, source, SIZE), given, rtol=1e-5, atol=1e-4
    )


finite = st.floats(-2, 3, width=32)
some_box = st.tuples(finite, finite, finite, finite)


@given(
    pairs=st.lists(st.tuples(some_box, some_box), min_size=1, max_size=8),
    box_format=st.sampled_from(FORMATS),
)
def test_iou_of_whatever_a_network_predicts(pairs, box_format) -> None:
    """A share, the same either way round; 1 only of a box with itself, 0 of one inside out."""
    one, other = np.array(pairs, np.float32).transpose(1, 0, 2)
    found = numpy_iou(one, other, box_format)
    assert np.isfinite(found).all()
    assert ((found >= 0) & (found <= 1 + 1e-5)).all()
    np.testing.assert_array_equal(found, numpy_iou(other, one, box_format))
    low, high = (in_corners(one, box_format)[:, part] for part in (slice(2), slice(2, 4)))
    assert (found[(low >= high).any(axis=1)] == 0).all()
    sides = high - low
    itself = numpy_iou(one, one, box_format)
    large = (sides > 1e-3).all(axis=1)
    np.testing.assert_allclose(itself[large], 1, atol=1e-5)


def in_corners(given: np.ndarray, box_format: str) -> np.ndarray:
    if "center" not in box_format:
        return given
    half = given[:, 2:] / 2
    return np.concatenate([given[:, :2] - half, given[:, :2] + half], axis=1)


@given(
    box=st.tuples(*[st.floats(0, 1, width=32)] * 4),
    source=st.sampled_from(FORMATS),
    target=st.sampled_from(FORMATS),
    size=st.sampled_from([32, 128, 224]),
)
def test_any_box_converted_and_back(box, source, target, size) -> None:
    there = np.array([box], np.float32) * (1 if source.startswith("rel_") else size)
    back = boxes.convert(boxes.convert(there, source, target, size), target, source, size)
    np.testing.assert_allclose(back, there, atol=1e-5 * size)
