"""The table of predictions: one row per sample, with the IoU of its boxes."""

import numpy as np
import pandas as pd

from facemask.columns import CLASSES, PREDICTED, TRUE

SAMPLE = ["sample", "image", "face", "flip", "split"]
UNION_FLOOR = 1e-8


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
