"""All that a detector is measured by, of one set of images or of folds together."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from facemask.columns import WITH, WITHOUT
from facemask.evaluation import bootstrap, precision_bootstrap
from facemask.evaluation.detection import (
    LEGIBLE,
    SCORE,
    at_threshold,
    average_precision,
    evaluate,
    groupings,
    matches,
)

LEAST_KEPT = 0.01
RATIOS = ("recall_face", "recall_with_mask", "recall_without_mask", "recall_without_mask_16px")


def measure(
    faces: pd.DataFrame, detections: pd.DataFrame, images: Sequence[str], classes: Mapping[str, str]
) -> dict[str, Any]:
    """Return the metrics of detections.

    Args:
        faces, detections: as `detection.evaluate` takes them, with a column threshold: the
            confidence from which on a detection is shown.
        images: all that were looked at.
        classes: those of the annotations and what they mean.

    Returns:
        images and faces, how many; of two_classes, classes (as annotated) and face what
        `detection.average_precision` returns; of two classes calibration (the expected error of
        scores) and errors: how much AP@.5 would gain, if one kind of error were mended (Bolya et
        al. 2020, TIDE); and threshold, what `detection.at_threshold` returns.
    """
    measured: dict[str, Any] = {"images": len(images), "faces": len(faces)}
    for name, groups in groupings(classes).items():
        result = evaluate(faces, detections, images, groups)
        measured[name] = average_precision(result)
        if name == "two_classes":
            measured["calibration"] = float(result.calibration()["ece"])
            errors = result.tide_errors()["delta_ap"]
            measured["errors"] = {kind.lower(): float(gain) for kind, gain in errors.items()}
    both = matches(faces, detections, classes)
    measured["threshold"] = at_threshold(*both, len(images))
    return measured


def intervals(
    faces: pd.DataFrame,
    detections: pd.DataFrame,
    images: Sequence[str],
    classes: Mapping[str, str],
    draws: int = 500,
    seed: int = 0,
) -> dict[str, Any]:
    """Return 95 % intervals over images of what `measure` returns.

    Returns:
        two_classes, classes, face: what `precision_bootstrap.intervals` returns; threshold: of
        RATIOS and false_alarms value, low and high.
    """
    found: dict[str, Any] = {}
    for name, groups in groupings(classes).items():
        result = evaluate(faces, detections, images, groups)
        found[name] = precision_bootstrap.intervals(result, draws, seed)
    seen, shown = matches(faces, detections, classes)
    parts, wholes = _sums(seen, shown, images)
    drawn = bootstrap.resampled([parts, wholes], draws, seed)
    with np.errstate(invalid="ignore"):
        value, every = parts.sum(0) / wholes.sum(0), drawn[0] / drawn[1]
    low, high = bootstrap.percentiles(every)
    found["threshold"] = {
        name: {"value": float(value[k]), "low": float(low[k]), "high": float(high[k])}
        for k, name in enumerate((*RATIOS, "false_alarms"))
    }
    return found


def _sums(
    faces: pd.DataFrame, detections: pd.DataFrame, images: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Numerators and denominators of RATIOS and of false alarms an image: (images, 5) each."""
    found = faces["confidence"] >= faces["threshold"]
    right = found & (faces["predicted"] == faces["actual"])
    without = faces["actual"] == WITHOUT
    legible = without & (faces["side"] >= LEGIBLE)
    whole = pd.DataFrame({0: True, 1: faces["actual"] == WITH, 2: without, 3: legible}, faces.index)
    part = pd.DataFrame({0: found, 1: right, 2: right, 3: right}, faces.index) & whole
    parts, wholes = (
        table.groupby(faces["image"]).sum().reindex(images, fill_value=0).to_numpy(float)
        for table in (part, whole)
    )
    shown = detections["confidence"] >= detections["threshold"]
    alarms = detections[shown & (detections["face"] < 0)].groupby("image").size()
    alarms = alarms.reindex(images, fill_value=0).to_numpy(float)
    return np.column_stack([parts, alarms]), np.column_stack([wholes, np.ones(len(images))])


def kept(detections: pd.DataFrame) -> pd.DataFrame:
    """Return the detections that folds are pooled by: without the least, which change no figure."""
    scores = detections.filter(like=SCORE)
    return detections[scores.sum(axis=1) >= LEAST_KEPT]


def headline(measured: Mapping[str, Any]) -> dict[str, float]:
    """Return what `dvc metrics` shows of a detector: few scalars, so that tables stay narrow.

    Args:
        measured: val and test, what `measure` returns of each, and crops, the metrics of crops.
    """
    test, val = measured["test"], measured["val"]
    return {
        "ap50": test["two_classes"]["ap50"],
        "ap": test["two_classes"]["ap"],
        "ap50_classes": test["classes"]["ap50"],
        "ap50_face": test["face"]["ap50"],
        "recall_with": test["threshold"]["recall_with_mask"],
        "recall_without": test["threshold"]["recall_without_mask"],
        "false_alarms": test["threshold"]["false_alarms"],
        "crops_recall_without": measured["crops"]["recall_without_mask"],
        "val_ap50": val["two_classes"]["ap50"],
        "val_ap": val["two_classes"]["ap"],
    }
