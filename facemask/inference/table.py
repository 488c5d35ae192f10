"""The table of predictions: one row per sample, with the IoU of its boxes."""

import numpy as np
import pandas as pd

from facemask.columns import CLASSES, PREDICTED, TRUE, iou

SAMPLE = ["sample", "image", "face", "flip", "split"]


def table_of(
    samples: pd.DataFrame,
    actual: np.ndarray,
    true: np.ndarray,
    probability: np.ndarray,
    predicted: np.ndarray,
) -> pd.DataFrame:
    """Return the table of `predict.predict`.

    Args:
        samples: rows with the columns SAMPLE.
        actual: classes by name, (N,).
        true: annotated boxes, float32 (N, 4), in rel_xyxy.
        probability: of with_mask, (N,).
        predicted: boxes as `true`.
    """
    table = samples[SAMPLE].reset_index(drop=True)
    table["actual"] = actual
    table["predicted"] = np.array(CLASSES)[(probability > 0.5).astype(int)]
    table["probability"] = probability
    table["iou"] = iou(true, predicted.astype(np.float32))
    table[TRUE] = true
    table[PREDICTED] = predicted
    return table
