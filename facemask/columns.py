"""Names of columns and classes that several tables and packages share, and boxes from them."""

import numpy as np
import pandas as pd

WITHOUT, WITH = "without_mask", "with_mask"
CLASSES = (WITHOUT, WITH)  # by label: 0 and 1

BOX = ["xmin", "ymin", "xmax", "ymax"]  # of a face in its image, inclusive px
CROP_REGION = ["x0", "y0", "x1", "y1"]  # of a crop in its image, half-open px
CROP_BOX = ["box_x0", "box_y0", "box_x1", "box_y1"]  # of a face in its crop, half-open px
TRUE = ["true_x0", "true_y0", "true_x1", "true_y1"]  # divided by the crop's width and height
PREDICTED = ["pred_x0", "pred_y0", "pred_x1", "pred_y1"]  # likewise


def true_boxes(samples: pd.DataFrame) -> np.ndarray:
    """Return the annotated boxes of samples, divided by their crops' width and height.

    Args:
        samples: rows with the crop region x0 … y1 and the box in it, box_x0 … box_y1 (px).

    Returns:
        float32 (N, 4) in `rel_xyxy`.
    """
    sides = (samples[["x1", "y1"]].to_numpy() - samples[["x0", "y0"]].to_numpy()).astype(float)
    return (samples[CROP_BOX].to_numpy() / np.tile(sides, 2)).astype(np.float32)
