"""All that a detector is measured by, of one set of images or of folds together."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from facemask.columns import SCORE, WITH, WITHOUT
from facemask.errors import InputError
from facemask.evaluation import bootstrap, calibration, precision_bootstrap
from facemask.evaluation.detection import (
    LEGIBLE,
    at_threshold,
    average_precision,
    best_threshold,
    evaluate,
    groupings,
    is_found,
    matches,
)
from facemask.evaluation.precision_bootstrap import RECALLS

LEAST_KEPT = 0.05
# A detector's records of images that it saw at two sizes, by its name.
MULTI_SCALE = "{}_multi_scale"
# Groupings by the names they are published under.
PUBLISHED = {"two_classes": "two_classes", "three_classes": "classes", "face": "face"}
POOLED = ("recall_without_mask", "recall_without_mask_16px", "false_alarms")
RATIOS = ("recall_face", "recall_with_mask", "recall_without_mask", "recall_without_mask_16px")


class Tables(NamedTuple):
    """Faces and detections, as `measure` takes them, and the names of all images."""

    faces: pd.DataFrame
    detections: pd.DataFrame
    images: list[str]


def at_best_threshold(
    faces: pd.DataFrame,
    detections: pd.DataFrame,
    split: pd.Series,
    classes: Mapping[str, str],
    *parts: str,
) -> tuple[float, list[Tables]]:
    """Return the confidence that is best on validation images, and the tables of each part.

    Args:
        faces, detections: of all images.
        split: of each image, indexed by its name: train, val or test.
        classes: those of the annotations and what they mean.
        parts: val, test.
    """
    threshold = best_threshold(*matches(*_of_part(faces, detections, split, "val")[:2], classes))
    every = [_of_part(faces, detections, split, part) for part in parts]
    return threshold, [
        Tables(one.assign(threshold=threshold), other.assign(threshold=threshold), images)
        for one, other, images in every
    ]


def _of_part(faces: pd.DataFrame, detections: pd.DataFrame, split: pd.Series, part: str) -> Tables:
    images = list(split.index[split == part])
    both = (table[table["image"].isin(images)] for table in (faces, detections))
    one, other = (table.reset_index(drop=True) for table in both)
    return Tables(one, other, images)


class Matched(NamedTuple):
    """Detections beside faces: `detection.evaluate` of each grouping, `detection.matches`.

    single: `detection.evaluate` of two classes, a detection being of the more probable one alone.
    """

    results: dict[str, Any]
    single: Any
    faces: pd.DataFrame
    detections: pd.DataFrame
    images: Sequence[str]


def match(tables: Tables, classes: Mapping[str, str]) -> Matched:
    """Match detections with faces, for all that is measured.

    Args:
        tables: as `detection.evaluate` takes them, with a column threshold: the confidence from
            which on a detection is shown.
        classes: those of the annotations and what they mean.
    """
    groups = groupings(classes)
    results = {name: evaluate(*tables, each) for name, each in groups.items()}
    single = evaluate(*tables, groups["two_classes"], one_each=True)
    faces, detections = matches(tables.faces, tables.detections, classes)
    return Matched(results, single, faces, detections, tables.images)


def measure(matched: Matched) -> dict[str, Any]:
    """Return the metrics of detections.

    Returns:
        images and faces, how many; of two_classes, classes (as annotated) and face what
        `detection.average_precision` returns; calibration: how far the confidence of what is shown
        is from the share that is right; errors: how much AP@.5 of two classes would gain, if one
        kind of error were mended (Bolya et al. 2020, TIDE); and threshold, what
        `detection.at_threshold` returns.
    """
    errors = matched.single.tide_errors()["delta_ap"]
    return {
        "images": len(matched.images),
        "faces": len(matched.faces),
        **{name: average_precision(result) for name, result in matched.results.items()},
        "calibration": _calibration(matched),
        "errors": {kind.lower(): float(gain) for kind, gain in errors.items()},
        "threshold": at_threshold(matched.faces, matched.detections, len(matched.images)),
    }


def _calibration(matched: Matched) -> float:
    """Expected calibration error of the detections that are shown; NaN if none is."""
    found = matched.detections
    shown = found[found["confidence"] >= found["threshold"]]
    # A row of -1 takes the last, which stands for no face.
    actual = np.array([*matched.faces["actual"], None], object)[shown["face"]]
    right = actual == shown["predicted"].to_numpy()
    return calibration.expected_gap(shown["confidence"].to_numpy(), right, 0.0)


def intervals(matched: Matched, draws: int = 500, seed: int = 0) -> dict[str, Any]:
    """Return 95 % intervals over images of what `measure` returns.

    Returns:
        two_classes, classes, face: what `precision_bootstrap.intervals` returns; threshold: of
        RATIOS and false_alarms value, low and high.
    """
    found: dict[str, Any] = {
        name: precision_bootstrap.intervals(result, draws, seed)
        for name, result in matched.results.items()
    }
    parts, wholes = _sums(matched.faces, matched.detections, matched.images)
    drawn = bootstrap.resampled([parts, wholes], draws, seed)
    with np.errstate(invalid="ignore"):
        value, every = parts.sum(0) / wholes.sum(0), drawn[0] / drawn[1]
    low, high = bootstrap.percentiles(every)
    found["threshold"] = {
        name: {"value": float(value[k]), "low": float(low[k]), "high": float(high[k])}
        for k, name in enumerate((*RATIOS, "false_alarms"))
    }
    return found


def curves(matched: Matched, name: str) -> pd.DataFrame:
    """Return precision over recall at an IoU of .5: of both classes, and of any face.

    Args:
        name: of the detector.

    Returns:
        Rows with experiment (the name and the class, by which DVC draws a chart each), recall and
        precision, at COCO's recalls; of a class without a face none.
    """
    rows = []
    for grouping in ("two_classes", "face"):
        result = matched.results[grouping]
        precision = np.array(result.eval["precision"])[0, :, :, 0, -1]
        for each, values in zip(result.coco_gt.dataset["categories"], precision.T, strict=True):
            title = f"{name}, {each['name'].replace('_', ' ')}"
            curve = {"experiment": title, "recall": RECALLS, "precision": values}
            rows.append(pd.DataFrame(curve))
    every = pd.concat(rows, ignore_index=True)
    return every[every["precision"] >= 0]


def _sums(
    faces: pd.DataFrame, detections: pd.DataFrame, images: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Numerators and denominators of RATIOS and of false alarms an image: (images, 5) each."""
    found = is_found(faces)
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


class Fold(NamedTuple):
    """The records of one fold: what was annotated, found, measured, and predicted on crops."""

    faces: pd.DataFrame
    detections: pd.DataFrame
    statistics: Mapping[str, Any]
    crops: pd.DataFrame


def pooled(folds: Sequence[Fold]) -> dict[str, Any]:
    """Return the metrics of folds that were tested one after the other, as of one test set.

    Each fold's detections are shown from its own threshold on. Scores of different networks are
    ranked together.

    Args:
        folds: of a grouped split, each image in one of them.

    Returns:
        two_classes, three_classes (as annotated) and face, each ap50 and ap; recall_without_mask,
        recall_without_mask_16px and false_alarms at the thresholds; crops: metrics of the study's
        crops; parameters; training_minutes, the mean of a fold; intervals: of the same keys low and
        high; folds: ap50 of two classes of each; crops_count, how many; measured: test and
        intervals, what `measure` and `intervals` return, and crops, what `of_crops` returns.

    Raises:
        InputError: two folds test the same image.
    """
    thresholds = [fold.statistics["confidence"] for fold in folds]
    faces, detections = (
        pd.concat(
            [t.assign(threshold=least) for t, least in zip(tables, thresholds, strict=True)],
            ignore_index=True,
        )
        for tables in ([fold.faces for fold in folds], [fold.detections for fold in folds])
    )
    images = [image for fold in folds for image in fold.statistics["test_images"]]
    if len(set(images)) < len(images):
        twice = len(images) - len(set(images))
        raise InputError(f"{twice} images are tested in several folds: give each fold once")
    classes = folds[0].statistics["classes"]
    matched = match(Tables(faces, detections, images), classes)
    found = intervals(matched)
    crops = pd.concat([fold.crops[fold.crops["flip"] == 0] for fold in folds], ignore_index=True)
    every = {
        **{
            name: {key: found[group][key] for key in ("ap50", "ap")}
            for name, group in PUBLISHED.items()
        },
        **{key: found["threshold"][key] for key in POOLED},
        "crops": bootstrap.intervals(crops),
    }
    minutes = [fold.statistics["train_seconds"] / 60 for fold in folds]
    return {
        **_each(every, lambda metric: metric["value"]),
        "parameters": folds[0].statistics["params"]["total"],
        "training_minutes": float(np.mean(minutes)),
        "intervals": _each(every, lambda metric: [metric["low"], metric["high"]]),
        "folds": [fold.statistics["test"]["two_classes"]["ap50"] for fold in folds],
        "crops_count": len(crops),
        "measured": {"test": measure(matched), "intervals": found, "crops": of_crops(crops)},
    }


def _each(metrics: Mapping[str, Any], value: Callable[[Any], Any]) -> dict[str, Any]:
    """Something of each metric, in the same nested mappings."""
    return {
        key: value(metric) if "low" in metric else _each(metric, value)
        for key, metric in metrics.items()
    }


def of_crops(crops: pd.DataFrame) -> dict[str, float]:
    """Return the metrics of predictions on crops, and the accuracy of the commonest class alone."""
    majority = float(crops["actual"].value_counts(normalize=True).iloc[0])
    return bootstrap.metrics_of(crops) | {"majority_accuracy": majority}


def kept(detections: pd.DataFrame) -> pd.DataFrame:
    """Return the detections that folds are pooled by: the least hardly change a figure."""
    squares = detections.filter(like=SCORE) ** 2
    return detections[np.sqrt(squares.sum(axis=1)) >= LEAST_KEPT]


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
