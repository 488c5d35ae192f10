"""Several predictions of one face: which count, against areas by hand, and their means."""

import numpy as np
import pytest

from facemask.inference import merge
from facemask.inference.merge import merged, same_face


def some_corners(rng: np.random.Generator, count: int, side: int) -> np.ndarray:
    """Corners of whole-pixel boxes that are at least one pixel wide and high."""
    low = rng.integers(0, side - 1, (count, 2))
    return np.concatenate([low, rng.integers(low + 1, side + 1)], axis=1)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_of_the_same_face_are_those_that_overlap_the_most_confident(count: int) -> None:
    rng = np.random.default_rng(count)
    boxes = np.stack([some_corners(rng, 200, 8) for _ in range(count)]).astype(float)
    boxes[:, 0] = 3  # boxes without area: the most confident counts nevertheless
    confidence = rng.random((count, 200))
    found = same_face(boxes, confidence)
    assert found.shape == (count, 200)
    for sample in range(200):
        best = int(np.argmax(confidence[:, sample]))
        for number in range(count):
            x0, y0, x1, y1 = zip(boxes[best, sample], boxes[number, sample], strict=True)
            common = max(0, min(x1) - max(x0)) * max(0, min(y1) - max(y0))
            areas = [(x1[i] - x0[i]) * (y1[i] - y0[i]) for i in range(2)]
            alike = number == best or 2 * common >= sum(areas) - common > 0
            assert found[number, sample] == alike
    assert found[:, 1:].mean() < 1 or count == 1


def test_boxes_of_two_faces_are_not_mixed() -> None:
    near = np.array([[0.0, 0, 10, 10], [2, 0, 12, 10]])
    far = np.array([[0.0, 0, 10, 10], [30, 0, 50, 10]])
    boxes = np.stack([near, far, far], axis=1)
    confidence = np.array([[0.9, 0.9, 0.1], [0.2, 0.2, 0.3]])
    np.testing.assert_array_equal(
        merged(boxes, boxes, confidence), [[1, 0, 11, 10], far[0], far[1]]
    )
    labels = np.array([[[0.2], [0.2], [0.2]], [[0.6], [0.6], [0.6]]])
    np.testing.assert_allclose(merged(labels, boxes, confidence)[:, 0], [0.4, 0.2, 0.6])


@pytest.mark.parametrize("seed", range(3))
def test_a_mean_is_weighted_and_of_those_that_count_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = np.stack([some_corners(rng, 60, 6) for _ in range(4)]).astype(float)
    values, confidence, weights = rng.random((4, 60, 2)), rng.random((4, 60)), rng.random((4, 60))
    counts = same_face(boxes, confidence)
    assert 0.2 < counts.mean() < 0.9
    for given in (weights, None):
        found = merged(values, boxes, confidence, given)
        for sample in range(60):
            chosen = [n for n in range(4) if counts[n, sample]]
            heavy = [1.0 if given is None else given[n, sample] for n in chosen]
            parts = [w * values[n, sample] for w, n in zip(heavy, chosen, strict=True)]
            np.testing.assert_allclose(found[sample], sum(parts) / sum(heavy))


def counted_iou(first, second, side):
    """The overlap of two boxes of whole pixels, from the pixels they cover."""
    masks = np.zeros((2, side, side), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, (first, second), strict=True):
        mask[y0:y1, x0:x1] = True
    return masks.all(axis=0).sum() / masks.any(axis=0).sum()


def test_iou_counts_pixels_and_broadcasts():
    rng = np.random.default_rng(0)
    low = rng.integers(0, 7, (2, 5, 20, 2))
    boxes = np.concatenate([low, rng.integers(low + 1, 9)], axis=-1)
    first, second = boxes[0], boxes[1, 0]  # (5, 20, 4) and (20, 4)
    found = merge.iou(first.astype(float), second.astype(float))
    assert found.shape == (5, 20)
    expected = [[counted_iou(*pair, 8) for pair in zip(row, second, strict=True)] for row in first]
    np.testing.assert_allclose(found, expected)
    assert found.max() > 0.5
    assert found.min() == 0


@pytest.mark.parametrize("box", [[5, 5, 5, 5], [8, 2, 2, 8], [2, 8, 8, 2], [8, 8, 2, 2]])
def test_a_box_without_extent_or_of_negative_sides_overlaps_nothing(box):
    whole, box = np.array([0.0, 0, 10, 10]), np.array(box, float)
    assert merge.iou(whole, box) == merge.iou(box, box) == 0


def test_iou_is_that_of_the_training():
    """Two of them, so that inference does not need Keras."""
    from facemask.models import boxes

    rng = np.random.default_rng(1)
    first, second = rng.normal(0, 1, (2, 300, 4)).astype(np.float32)
    np.testing.assert_allclose(merge.iou(first, second), boxes.iou(first, second), atol=1e-6)


def test_the_union_is_floored():
    tiny = np.array([0, 0, 1e-5, 1e-5])  # a union of 1e-10
    assert merge.iou(tiny, tiny) == pytest.approx(1e-10 / 1e-8)
