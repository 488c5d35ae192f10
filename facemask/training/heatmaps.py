"""What a detector learns in each cell: a heatmap of centres, boxes, classes and their weights."""

from collections.abc import Sequence

import numpy as np

# TTFNet's share of a box (Liu et al. 2020): of it the normal distribution around the centre has six
# standard deviations, and in it cells learn the box.
SHARE = 0.54
IGNORED = -1.0
LEAST_SIGMA = 0.5  # cells
BELOW_1 = np.nextafter(np.float32(1), np.float32(0))


def targets(
    boxes: np.ndarray,
    labels: np.ndarray,
    ignored: np.ndarray,
    size: int,
    stride: int,
    class_weights: Sequence[float],
) -> dict[str, np.ndarray]:
    """Return the targets of one sample.

    Args:
        boxes: of the faces, (n, 4), corners in px of the sample.
        labels: of the faces, (n,), numbers of classes.
        ignored: boxes (m, 4) in which the heatmap does not count: of faces cut off.
        size: side of the sample, px.
        stride: px per cell.
        class_weights: what the class of a face counts, by its number.

    Returns:
        float32 maps, as `detector_losses` takes them: heatmap (s, s, 1), 1 at the cell of each
        centre; box (s, s, 5), label (s, s, classes + 1) and quality (s, s, 5), each with a weight
        as its last channel: 0 away from faces, and over the cells of a face that are no other's
        1 in sum, or what its class counts.
    """
    side = size // stride
    heatmap = np.zeros((side, side), np.float32)
    box = np.zeros((side, side, 5), np.float32)
    label = np.zeros((side, side, len(class_weights) + 1), np.float32)
    low, high = np.floor(ignored[:, :2] / stride), np.ceil(ignored[:, 2:] / stride)
    for x0, y0, x1, y1 in np.clip(np.hstack([low, high]), 0, side).astype(int):
        heatmap[y0:y1, x0:x1] = IGNORED
    for face, (rows, columns, value) in enumerate(
        _around_centre(box, side) for box in boxes / stride
    ):
        # A cell of two faces belongs to the one whose centre is nearer, in parts of its size.
        own = value > np.maximum(heatmap[rows, columns], 0)
        heatmap[rows, columns][own] = value[own]
        share = value[own] / value.sum()
        one_hot = np.eye(len(class_weights), dtype=np.float32)[labels[face]]
        boxes_here, labels_here = box[rows, columns], label[rows, columns]
        boxes_here[own] = np.column_stack([np.tile(boxes[face], (own.sum(), 1)), share])
        share = share * class_weights[labels[face]]
        labels_here[own] = np.column_stack([np.tile(one_hot, (own.sum(), 1)), share])
    return {"heatmap": heatmap[..., None], "box": box, "label": label, "quality": box}


def _around_centre(box: np.ndarray, side: int) -> tuple[slice, slice, np.ndarray]:
    """Rows and columns of the cells around a centre, and there the normal distribution.

    Args:
        box: in cells.
        side: of the grid.
    """
    along = []
    for low, high in (box[1::2], box[::2]):
        centre = (low + high) / 2
        cell = min(int(centre), side - 1)
        # At least the cells beside it: the centre of a small face may be near their edge.
        reach = max(int(SHARE * (high - low) / 2), 1)
        first, last = max(cell - reach, 0), min(cell + reach, side - 1)
        sigma = max(SHARE * (high - low) / 6, LEAST_SIGMA)
        value = np.exp(-0.5 * ((np.arange(first, last + 1) + 0.5 - centre) / sigma) ** 2)
        # A centre between two cells is as near to both, but is in one.
        value = np.minimum(value / value[cell - first], BELOW_1)
        value[cell - first] = 1
        along.append((slice(first, last + 1), value))
    (rows, down), (columns, across) = along
    return rows, columns, np.outer(down, across).astype(np.float32)
