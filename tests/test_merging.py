"""Several predictions of one face: which count, against areas by hand, and their means."""

import numpy as np
import pytest

from facemask.inference.ensemble import merged, same_face


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
