"""Detections beside annotated faces: average precision, recalls, false alarms, kinds of error.

hotcoco computes average precision as COCO defines it (Lin et al. 2014): over 101 recalls, of the
mean over classes. A face that is found counts for each class with that class' score, as common
tools have it; a recall at a threshold takes the most probable class alone.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from facemask.columns import CORNERS, SCORE, WITH, WITHOUT, iou

MAX_DETECTIONS = 300  # of an image
LEAST = 0.001  # a score below is no detection of a class
MISSED = "missed"
LEGIBLE = 16  # px: smaller faces show hardly more than that they are faces
MATCH = 0.5  # IoU from which on a box finds a face
SIZES = (12, 24, 48)  # px: bounds of the groups by size, which is the root of a box's area
THRESHOLDS = np.linspace(0.05, 0.95, 91).round(2)

Groups = Mapping[str, Sequence[str]]


def groupings(classes: Mapping[str, str]) -> dict[str, Groups]:
    """Return the groups of classes that are distinguished: two_classes, classes, face.

    Args:
        classes: those of the annotations and what they mean, with_mask or without_mask.
    """
    two = {
        label: [name for name, meaning in classes.items() if meaning == label]
        for label in (WITH, WITHOUT)
    }
    return {
        "two_classes": two,
        "classes": {name: [name] for name in classes},
        "face": {"face": list(classes)},
    }


def evaluate(
    faces: pd.DataFrame,
    detections: pd.DataFrame,
    images: Sequence[str],
    groups: Groups,
    one_each: bool = False,
) -> Any:  # noqa: ANN401 - hotcoco's own
    """Match detections with faces, class by class, and accumulate precision over recall.

    Args:
        faces: image, x0, y0, x1, y1 (half-open px), name (the class as annotated).
        detections: image, x0, y0, x1, y1, and a column score_NAME for each annotated class.
        images: all that were evaluated, those without a face and without detections too.
        groups: what is distinguished: names of classes by the name of the group.
        one_each: take a detection as of its most probable group alone, not of each with its score.

    Returns:
        hotcoco's COCOeval, evaluated and accumulated; its areas are all, then those by SIZES.
    """
    from hotcoco import COCO, COCOeval

    number = {image: row for row, image in enumerate(images, start=1)}
    truth = {
        "images": [{"id": row, "file_name": image} for image, row in number.items()],
        "categories": [{"id": k, "name": name} for k, name in enumerate(groups, start=1)],
        "annotations": _annotations(faces, number, groups),
    }
    bounds = [0, *(size**2 for size in SIZES), 1e10]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        annotated = COCO(truth)
        found = annotated.load_res(_results(detections, number, groups, one_each))
        result = COCOeval(annotated, found, "bbox")
        result.params.maxDets = [MAX_DETECTIONS]
        result.params.areaRng = [[0, 1e10], *map(list, pairwise(bounds))]
        result.params.areaRngLbl = ["all", *size_names()]
        result.evaluate()
        result.accumulate()
    return result


def _annotations(
    faces: pd.DataFrame, number: Mapping[str, int], groups: Groups
) -> list[dict[str, Any]]:
    category = {name: k for k, names in enumerate(groups.values(), start=1) for name in names}
    return [
        {
            "id": row,
            "image_id": number[image],
            "category_id": category[name],
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": (x1 - x0) * (y1 - y0),
            "iscrowd": 0,
        }
        for row, (image, x0, y0, x1, y1, name) in enumerate(
            faces[["image", *CORNERS, "name"]].itertuples(index=False), start=1
        )
    ]


def _results(
    detections: pd.DataFrame, number: Mapping[str, int], groups: Groups, one_each: bool
) -> list[dict[str, Any]]:
    image_ids = detections["image"].map(number)
    boxes = detections[CORNERS].to_numpy(float, copy=True)
    boxes[:, 2:] -= boxes[:, :2]
    scores = group_scores(detections, groups)
    if one_each:
        best = scores.argmax(axis=1)[:, None]  # of equal ones the first
        scores = np.where(np.arange(len(groups)) == best, scores, 0)
    return [
        {"image_id": image, "category_id": k, "bbox": box, "score": score}
        for k, column in enumerate(scores.T, start=1)
        for image, box, score in zip(
            image_ids.tolist(), boxes.tolist(), column.tolist(), strict=True
        )
        if score >= LEAST
    ]


def group_scores(detections: pd.DataFrame, groups: Groups) -> np.ndarray:
    """Return the score of each group: (n, groups).

    A score is that of the face times the root of the class's probability: squares add up.
    """
    columns = [
        np.sqrt((detections[[SCORE + name for name in names]] ** 2).sum(axis=1))
        for names in groups.values()
    ]
    return np.column_stack(columns) if len(detections) else np.zeros((0, len(groups)))


def size_names() -> list[str]:
    """Return the groups by size, from small to large."""
    inner = [f"{low}-{high} px" for low, high in pairwise(SIZES)]
    return [f"under {SIZES[0]} px", *inner, f"above {SIZES[-1]} px"]


def average_precision(result: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return ap50 and ap (the mean of IoU thresholds from .5 to .95), of classes and by size.

    Args:
        result: of `evaluate`.

    Returns:
        ap50 and ap, the means over groups; by_class: the same of each; by_size: ap50, the mean over
        groups, of each size. A group without a face has none and does not count: NaN if all are.
    """
    precision = np.array(result.eval["precision"])[..., -1]  # thresholds, recalls, groups, areas
    precision[precision < 0] = np.nan
    every = precision[:, :, :, 0].mean(axis=1)  # thresholds, groups
    names = [each["name"] for each in result.coco_gt.dataset["categories"]]
    of_class = {
        name: {"ap50": float(every[0, k]), "ap": float(every[:, k].mean())}
        for k, name in enumerate(names)
    }
    by_size = precision[0].mean(axis=0)[:, 1:]  # groups, sizes
    return {
        "ap50": _mean(every[0]),
        "ap": _mean(every.mean(axis=0)),
        "by_class": of_class,
        "by_size": {name: _mean(by_size[:, k]) for k, name in enumerate(size_names())},
    }


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def matches(
    faces: pd.DataFrame, detections: pd.DataFrame, classes: Mapping[str, str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Match each detection, the most confident first, with the face it overlaps most.

    Whatever the classes: a face may be found and given the wrong one. A face is found once, by an
    IoU of MATCH at least.

    Args:
        faces, detections: as for `evaluate`; their rows are numbered from 0.
        classes: those of the annotations and what they mean.

    Returns:
        The faces with actual (what their class means), side (the root of the area, px), found (the
        row of the detection, or -1), predicted, confidence and iou (of that, or NaN, 0 and 0); and
        the detections with predicted, confidence and face (the row, or -1: a false alarm).
    """
    two = groupings(classes)["two_classes"]
    scores, names = group_scores(detections, two), np.array([*two, None], object)
    confidence = scores.max(axis=1, initial=0)
    predicted = names[scores.argmax(axis=1)] if len(scores) else names[:0]
    order = np.argsort(-confidence, kind="stable")
    of_image = detections.iloc[order].groupby("image", sort=False).indices
    corners = [table[CORNERS].to_numpy(float) for table in (detections, faces)]
    face, found = np.full(len(detections), -1), np.full(len(faces), -1)
    overlap = np.zeros(len(faces))
    for image, here in faces.groupby("image").indices.items():
        rows = order[of_image.get(image, np.zeros(0, int))]
        ious = iou(corners[0][rows, None], corners[1][None, here])
        for row, chosen, value in _greedy(ious):
            face[rows[row]], found[here[chosen]] = here[chosen], rows[row]
            overlap[here[chosen]] = value
    area = np.sqrt((corners[1][:, 2:] - corners[1][:, :2]).prod(axis=1))
    seen = faces.assign(
        actual=faces["name"].map(dict(classes)),
        side=area,
        found=found,
        # A row of -1 takes the last, which stands for none.
        predicted=np.array([*predicted, None], object)[found],
        confidence=np.append(confidence, 0.0)[found],
        iou=overlap,
    )
    return seen, detections.assign(predicted=predicted, confidence=confidence, face=face)


def _greedy(ious: np.ndarray) -> Iterator[tuple[int, int, float]]:
    """Yield row and column of each match, and its IoU: a row takes the best column left."""
    left = ious.copy()
    for row in range(len(left)):
        best = int(left[row].argmax())
        if left[row, best] >= MATCH:
            yield row, best, float(left[row, best])
            left[:, best] = 0


def at_threshold(faces: pd.DataFrame, detections: pd.DataFrame, images: int) -> dict[str, Any]:
    """Return recalls, precisions and false alarms of detections from their threshold on.

    Args:
        faces, detections: of `matches`, with a column threshold: of the confidence.
        images: how many were evaluated.

    Returns:
        recall_face (found, whatever the class); of each class recall_CLASS (found with that class)
        and precision_CLASS (of detections with that class: faces of it); recall_without_mask_16px,
        of faces of LEGIBLE px and more; by_size: recall of each class by size; false_alarms: per
        image; confusion: of each class how many were predicted as what or missed, and of what the
        false alarms are. NaN where there is nothing to divide by.
    """
    found = is_found(faces).to_numpy()
    predicted = faces["predicted"].where(found, MISSED).to_numpy()
    shown = detections[detections["confidence"] >= detections["threshold"]]
    alarms = shown.loc[shown["face"] < 0, "predicted"]
    size = np.digitize(faces["side"], SIZES)
    result: dict[str, Any] = {
        "recall_face": _share(found),
        "false_alarms": len(alarms) / images,
        "by_size": {},
        "confusion": {"false_alarm": _counts(alarms, (WITH, WITHOUT))},
    }
    for label in (WITH, WITHOUT):
        actual = (faces["actual"] == label).to_numpy()
        right = predicted == label
        claimed = shown["predicted"] == label
        result[f"recall_{label}"] = _share(right[actual])
        result[f"precision_{label}"] = _ratio((actual & right).sum(), claimed.sum())
        result["by_size"][label] = {
            name: _share(right[actual & (size == k)]) for k, name in enumerate(size_names())
        }
        result["confusion"][label] = _counts(predicted[actual], (WITH, WITHOUT, MISSED))
    legible = (faces["actual"] == WITHOUT) & (faces["side"] >= LEGIBLE)
    result["recall_without_mask_16px"] = _share((predicted == WITHOUT)[legible])
    return result


def is_found(faces: pd.DataFrame) -> pd.Series:
    """Return whether each face of `matches` is found at its threshold, whatever the class."""
    return (faces["found"] >= 0) & (faces["confidence"] >= faces["threshold"])


def best_threshold(faces: pd.DataFrame, detections: pd.DataFrame) -> float:
    """Return the confidence of the highest mean F1 of both classes.

    Args:
        faces, detections: of `matches`, of validation images.
    """
    f1 = []
    for threshold in THRESHOLDS:
        one, other = (table.assign(threshold=threshold) for table in (faces, detections))
        found = at_threshold(one, other, 1)
        f1.append(np.mean([_f1(found, label) for label in (WITH, WITHOUT)]))
    return float(THRESHOLDS[int(np.argmax(f1))])


def _f1(found: Mapping[str, Any], label: str) -> float:
    precision, recall = found[f"precision_{label}"], found[f"recall_{label}"]
    return 2 * precision * recall / (precision + recall) if precision * recall > 0 else 0.0


def _share(values: np.ndarray) -> float:
    return _ratio(values.sum(), len(values))


def _ratio(part: int, whole: int) -> float:
    return float(part / whole) if whole else float("nan")


def _counts(values: Any, names: Sequence[str]) -> dict[str, int]:  # noqa: ANN401
    return {name: int((values == name).sum()) for name in names}
