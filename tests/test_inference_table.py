"""The IoU of tables of predictions: against counted pixels, and that of the training."""

import numpy as np
import pytest

from facemask.columns import iou


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
    found = iou(first.astype(float), second.astype(float))
    assert found.shape == (5, 20)
    expected = [[counted_iou(*pair, 8) for pair in zip(row, second, strict=True)] for row in first]
    np.testing.assert_allclose(found, expected)
    assert found.max() > 0.5
    assert found.min() == 0


@pytest.mark.parametrize("box", [[5, 5, 5, 5], [8, 2, 2, 8], [2, 8, 8, 2], [8, 8, 2, 2]])
def test_a_box_without_extent_or_of_negative_sides_overlaps_nothing(box):
    whole, box = np.array([0.0, 0, 10, 10]), np.array(box, float)
    assert iou(whole, box) == iou(box, box) == 0


def test_iou_is_that_of_the_training():
    """Two of them, so that inference does not need Keras."""
    from facemask.models import boxes

    rng = np.random.default_rng(1)
    first, second = rng.normal(0, 1, (2, 300, 4)).astype(np.float32)
    np.testing.assert_allclose(iou(first, second), boxes.iou(first, second), atol=1e-6)


def test_the_union_is_floored():
    tiny = np.array([0, 0, 1e-5, 1e-5])  # a union of 1e-10
    assert iou(tiny, tiny) == pytest.approx(1e-10 / 1e-8)
