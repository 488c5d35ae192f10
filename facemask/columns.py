"""Names of columns and classes that several tables and packages share, and boxes from them."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # predict does without it
    import pandas as pd

WITHOUT, WITH = "without_mask", "with_mask"
CLASSES = (WITHOUT, WITH)  # by label: 0 and 1

BOX = ["xmin", "ymin", "xmax", "ymax"]  # of a face in its image, inclusive px
CROP_REGION = ["x0", "y0", "x1", "y1"]  # of a crop in its image, half-open px
CORNERS = ["x0", "y0", "x1", "y1"]  # of a detection or its face in the image, half-open px
SCORE = "score_"  # before the name of a class: the column of its scores
CROP_BOX = ["box_x0", "box_y0", "box_x1", "box_y1"]  # of a face in its crop, half-open px
TRUE = ["true_x0", "true_y0", "true_x1", "true_y1"]  # divided by the crop's width and height
PREDICTED = ["pred_x0", "pred_y0", "pred_x1", "pred_y1"]  # likewise

UNION_FLOOR = 1e-8


def true_boxes(samples: "pd.DataFrame") -> np.ndarray:
    """Return the annotated boxes of samples, divided by their crops' width and height.

    Args:
        samples: rows with the crop region x0 … y1 and the box in it, box_x0 … box_y1 (px).

    Returns:
        float32 (N, 4) in `rel_xyxy`.
    """
    sides = (samples[["x1", "y1"]].to_numpy() - samples[["x0", "y0"]].to_numpy()).astype(float)
    return (samples[CROP_BOX].to_numpy() / np.tile(sides, 2)).astype(np.float32)


def iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the intersection over union of corners (…, 4) and (…, 4), which are broadcast: (…).

    As `models.boxes.iou`, without Keras: the union is floored at 1e-8.
    """
    low = np.maximum(first[..., :2], second[..., :2])
    overlap = _area(np.minimum(first[..., 2:], second[..., 2:]) - low)
    one, other = (_area(boxes[..., 2:] - boxes[..., :2]) for boxes in (first, second))
    return overlap / np.maximum(one + other - overlap, UNION_FLOOR)


def _area(sides: np.ndarray) -> np.ndarray:
    sides = np.maximum(sides, 0)
    return sides[..., 0] * sides[..., 1]
