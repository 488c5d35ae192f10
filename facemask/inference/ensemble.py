"""Merge the predictions of several networks into one."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from facemask.columns import CLASSES, PREDICTED, TRUE
from facemask.errors import InputError
from facemask.inference.merge import iou, merged

SAMPLE = ["sample", "image", "face", "flip", "split"]


def fuse(predictions: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the merged predictions of networks.

    The probability is the mean of theirs, which should be calibrated. The box is the mean of
    theirs, weighted by the quality that each expects of its own: the flip-TTA IoU of a localizer;
    networks without one count as 1. A box with an IoU below 0.5 with that of the highest quality is
    of another face and does not count.

    Args:
        predictions: of each network the table of `predict.predict` or `localizer.predict`, with
            probabilities as `calibration.calibrated` returns them.

    Returns:
        A table of `predict.predict`.

    Raises:
        InputError: the networks were not run on the same samples.
    """
    first = predictions[0]
    if any(not first[SAMPLE].equals(other[SAMPLE]) for other in predictions):
        raise InputError(
            "the members of an ensemble did not predict on the same samples: train them again"
        )
    boxes = np.stack([table[PREDICTED].to_numpy() for table in predictions])
    quality = _quality(predictions)
    box = merged(boxes, boxes, quality, quality)
    probability = np.mean([table["probability"] for table in predictions], axis=0)
    true = first[TRUE].to_numpy(np.float32)
    table = first[[*SAMPLE, "actual"]].copy()
    table["predicted"] = np.array(CLASSES)[(probability > 0.5).astype(int)]
    table["probability"] = probability
    table["iou"] = iou(true, box.astype(np.float32))
    table[TRUE] = true
    table[PREDICTED] = box
    return table


def _quality(predictions: Sequence[pd.DataFrame]) -> np.ndarray:
    """Of each network and sample, (m, N); a box that agrees with nothing still counts a bit."""
    ious = [table.get("flip_iou", pd.Series(1.0, table.index)) for table in predictions]
    return np.maximum(np.stack(ious), 1e-3)
