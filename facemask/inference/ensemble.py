"""Several networks that answer as one."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from facemask.errors import InputError
from facemask.evaluation import calibration
from facemask.models import boxes
from facemask.schema import CLASSES, PREDICTED, TRUE

SAMPLE = ["sample", "image", "face", "flip", "split"]


def fuse(answers: Sequence[pd.DataFrame], temperatures: Sequence[float]) -> pd.DataFrame:
    """Return what networks answer together.

    The probability is the mean of theirs, each calibrated by its own temperature, so that none
    speaks louder for being surer. The box is the mean of theirs, side by side, weighed by the
    quality that each expects of its own: the agreement of a localizer's boxes in the crop and in
    its mirror image. Networks that tell none count as 1. A box with an IoU below 0.5 with that of
    the highest quality is of another face and does not count.

    Args:
        answers: of each network the table of `predict.predict` or `localizer.predict`.
        temperatures: of each network what `calibration.temperature` finds on validation samples.

    Returns:
        A table of `predict.predict`.

    Raises:
        InputError: the networks did not answer on the same samples.
    """
    first = answers[0][SAMPLE]
    if any(not first.equals(other[SAMPLE]) for other in answers):
        raise InputError(
            "the members of an ensemble did not answer on the same samples: train them again"
        )
    calibrated = [
        calibration.scaled(table["probability"], divisor)
        for table, divisor in zip(answers, temperatures, strict=True)
    ]
    probability = np.mean(calibrated, axis=0)
    told = np.stack([table[PREDICTED].to_numpy() for table in answers])
    qualities = _qualities(answers)
    weights = qualities * boxes.of_one_face(told, qualities)
    box = np.average(told, axis=0, weights=np.broadcast_to(weights[:, :, None], told.shape))
    true = answers[0][TRUE].to_numpy(np.float32)
    table = answers[0][[*SAMPLE, "actual"]].copy()
    table["predicted"] = np.array(CLASSES)[(probability > 0.5).astype(int)]
    table["probability"] = probability
    table["iou"] = np.asarray(boxes.iou(true, box.astype(np.float32)))
    table[TRUE] = true
    table[PREDICTED] = box
    return table


def _qualities(answers: Sequence[pd.DataFrame]) -> np.ndarray:
    """Of each network and sample, (m, N); a box that agrees with nothing still counts a bit."""
    told = [table.get("agreement", pd.Series(1.0, table.index)) for table in answers]
    return np.maximum(np.stack(told), 1e-3)
