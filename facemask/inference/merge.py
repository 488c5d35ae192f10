"""Merge several predictions of one face: of a crop and its mirror image, of several networks."""

import numpy as np

UNION_FLOOR = 1e-8
SAME_FACE = 0.5  # IoU from which on two boxes are taken to be of one face


def same_face(boxes: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Say which of several boxes of a sample are of the same face as the most confident one.

    Boxes that hardly overlap are of two faces, and their mean would be of neither.

    Args:
        boxes: (m, N, 4), corners: m boxes of each of N samples.
        confidence: (m, N).

    Returns:
        bool (m, N): an IoU of at least 0.5 with the most confident box, which always counts.
    """
    best = confidence.argmax(axis=0)
    overlap = iou(np.take_along_axis(boxes, best[None, :, None], axis=0), boxes)
    return (overlap >= SAME_FACE) | (np.arange(len(boxes))[:, None] == best)


def merged(
    values: np.ndarray, boxes: np.ndarray, confidence: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Return the mean of the values whose boxes are of one face.

    Args:
        values: labels or boxes, (m, N, k).
        boxes: (m, N, 4), corners.
        confidence: (m, N).
        weights: of the values, (m, N); None: all alike.

    Returns:
        (N, k).
    """
    counts = same_face(boxes, confidence) * (1.0 if weights is None else weights)
    return np.average(values, axis=0, weights=np.broadcast_to(counts[:, :, None], values.shape))


def iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the intersection over union of corners (…, 4) and (…, 4), which are broadcast: (…).

    As `models.boxes.iou`, without Keras: the union is floored at 1e-8.
    """
    low = np.maximum(first[..., :2], second[..., :2])
    overlap = _area(np.minimum(first[..., 2:], second[..., 2:]) - low)
    areas = (_area(boxes[..., 2:] - boxes[..., :2]) for boxes in (first, second))
    return overlap / np.maximum(sum(areas) - overlap, UNION_FLOOR)


def _area(sides: np.ndarray) -> np.ndarray:
    return np.maximum(sides, 0).prod(axis=-1)
