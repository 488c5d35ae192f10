"""Bounding boxes: the formats of networks and the overlap of two boxes.

Formats have the names of keras.utils.bounding_boxes: `xyxy` is the two corners, `center_xywh` the
centre, width and height, both in pixels of the network's input; with `rel_` before them, divided by
the input's sides.
"""

from typing import Any

import keras
from keras import ops

UNION_FLOOR = 1e-8


def convert(boxes: Any, source: str, target: str, size: int) -> Any:  # noqa: ANN401
    """Convert boxes (N, 4) between formats for a square input of `size` pixels."""
    return keras.utils.bounding_boxes.convert_format(
        boxes, source=source, target=target, height=size, width=size, dtype="float32"
    )


def iou(true: Any, predicted: Any, box_format: str = "rel_xyxy") -> Any:  # noqa: ANN401
    """Intersection over union of each pair of boxes; the union is floored at 1e-8.

    Args:
        true, predicted: (N, 4), row i of one against row i of the other.
        box_format: xyxy or center_xywh, with or without rel_: the ratio is the same in both units.

    Returns:
        (N,) in [0, 1]; a box of negative width or height overlaps nothing.
    """
    true, predicted = corners(true, box_format), corners(predicted, box_format)
    return intersection(true, predicted) / ops.maximum(union(true, predicted), UNION_FLOOR)


def intersection(first: Any, second: Any) -> Any:  # noqa: ANN401
    """Area that each pair of boxes, (N, 4) corners, has in common: (N,)."""
    low = ops.maximum(first[:, :2], second[:, :2])
    high = ops.minimum(first[:, 2:], second[:, 2:])
    return _product(high - low)


def union(first: Any, second: Any) -> Any:  # noqa: ANN401
    """Area that each pair of boxes, (N, 4) corners, covers together: (N,)."""
    return area(first) + area(second) - intersection(first, second)


def corners(boxes: Any, box_format: str) -> Any:  # noqa: ANN401
    """Return boxes (N, 4) as corners in the unit they are in."""
    return keras.utils.bounding_boxes.convert_format(
        boxes, source=box_format.removeprefix("rel_"), target="xyxy"
    )


def area(boxes: Any) -> Any:  # noqa: ANN401
    """Area of boxes (N, 4) given as corners; nothing for a box of negative width or height."""
    return _product(boxes[:, 2:] - boxes[:, :2])


def _product(sides: Any) -> Any:  # noqa: ANN401
    sides = ops.maximum(sides, 0.0)
    return sides[:, 0] * sides[:, 1]


@keras.saving.register_keras_serializable("facemask")
class MeanIoU(keras.metrics.MeanMetricWrapper):
    """Keras metric: the mean over samples of `iou`, for boxes in one format."""

    def __init__(self, box_format: str, name: str = "iou", dtype: str | None = None) -> None:
        super().__init__(iou, name=name, dtype=dtype, box_format=box_format)
        self.box_format = box_format

    def get_config(self) -> dict[str, object]:
        """Return what rebuilds this metric."""
        return {"box_format": self.box_format, "name": self.name, "dtype": self.dtype}
