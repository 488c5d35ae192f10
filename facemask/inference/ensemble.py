"""Merge several predictions of one face: of a crop and its mirror image, of several networks."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from facemask.columns import PREDICTED, TRUE, iou
from facemask.errors import InputError
from facemask.inference.table import SAMPLE, table_of

SAME_FACE = 0.5  # IoU from which on two boxes are taken to be of one face


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
    return table_of(first, first["actual"].to_numpy(), true, probability, box)


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


def same_face(boxes: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Mark the boxes of a sample that are of the same face as the most confident one.

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


def _quality(predictions: Sequence[pd.DataFrame]) -> np.ndarray:
    """Of each network and sample, (m, N); a box that agrees with nothing still counts a bit."""
    ious = [table.get("flip_iou", pd.Series(1.0, table.index)) for table in predictions]
    return np.maximum(np.stack(ious), 1e-3)
