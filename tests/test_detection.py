"""Detections: average precision against pycocotools, matches against loops, the rest by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from facemask.evaluation import detection, detection_metrics

WITH, WITHOUT, INCORRECT = "with_mask", "without_mask", "mask_weared_incorrect"
CLASSES = {WITH: WITH, WITHOUT: WITHOUT, INCORRECT: WITH}
CORNERS = ["x0", "y0", "x1", "y1"]
SCORES = [f"score_{name}" for name in CLASSES]
SIZES = ["under 12 px", "12-24 px", "24-48 px", "above 48 px"]
# Bounds of areas, all and of each size.
AREAS = [[0, 1e10], [0, 144], [144, 576], [576, 2304], [2304, 1e10]]


def faces_of(rows: list[tuple]) -> pd.DataFrame:
    """Faces of (image, x0, y0, x1, y1, class)."""
    return pd.DataFrame(rows, columns=["image", *CORNERS, "name"])


def detections_of(rows: list[tuple]) -> pd.DataFrame:
    """Detections of (image, x0, y0, x1, y1, score of each class)."""
    return pd.DataFrame(rows, columns=["image", *CORNERS, *SCORES])


def random_scene(seed: int, images: int = 30) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Faces of all sizes, and detections: some are missed, found twice, or elsewhere.

    The first image has no face, the second no detection.
    """
    rng = np.random.default_rng(seed)
    names = [f"{number}.png" for number in range(images)]
    faces, found = [], []
    for number, name in enumerate(names):
        boxes = []
        for _ in range(number and rng.integers(0, 21)):
            # Some are as large as the bounds of sizes.
            sides = np.exp(rng.normal(3, 0.8, 2)).round() + 2
            sides = rng.choice([12, 24, 48]) if rng.random() < 0.2 else sides
            corner = rng.integers(0, 400, 2)
            box = np.concatenate([corner, corner + sides])
            label = rng.choice(3, p=[0.6, 0.3, 0.1])
            faces.append((name, *box, list(CLASSES)[label]))
            boxes += [(box, label)] * rng.choice(3, p=[0.15, 0.7, 0.15])
        alarms = [(np.array([x, y, x + 20, y + 25]), 0) for x, y in rng.integers(0, 400, (3, 2))]
        for row, (box, label) in enumerate([*alarms, *boxes] if number != 1 else []):
            exact = rng.random() < 0.1
            jitter = 0 if exact else rng.normal(0, 0.13, 4) * np.tile(box[2:] - box[:2], 2)
            x0, y0, x1, y1 = box + jitter
            sure = rng.random() ** 2 if row < len(alarms) else 1 - rng.random() ** 2
            scores = sure * rng.dirichlet(np.ones(3) + 2 * np.eye(3)[label])
            scores[rng.random(3) < 0.05] *= 0.002 / sure  # some are too low to count
            found.append((name, x0, y0, max(x1, x0 + 1), max(y1, y0 + 1), *scores))
    tables = faces_of(faces), detections_of(found)
    one, other = (table.sample(frac=1, random_state=seed) for table in tables)
    return one.reset_index(drop=True), other.reset_index(drop=True), names


def coco_precision(
    faces: pd.DataFrame, detections: pd.DataFrame, names: list[str], groups: dict
) -> np.ndarray:
    """The precision that pycocotools finds: (thresholds, recalls, groups, areas)."""
    truth = COCO()
    truth.dataset = {
        "images": [{"id": 1 + row} for row in range(len(names))],
        "categories": [{"id": 1 + row} for row in range(len(groups))],
        "annotations": [],
    }
    members = list(groups.values())
    for number, (image, x0, y0, x1, y1, name) in enumerate(faces.to_numpy().tolist(), start=1):
        (category,) = [row for row, own in enumerate(members, start=1) if name in own]
        box = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "iscrowd": 0}
        here = {"id": number, "image_id": 1 + names.index(image), "category_id": category}
        truth.dataset["annotations"].append({**here, **box})
    truth.createIndex()
    results = []
    for each in detections.to_dict("records"):
        for category, own in enumerate(members, start=1):
            score = math.sqrt(sum(each[f"score_{name}"] ** 2 for name in own))
            box = [each["x0"], each["y0"], each["x1"] - each["x0"], each["y1"] - each["y0"]]
            here = {"image_id": 1 + names.index(each["image"]), "category_id": category}
            if score >= 0.001:
                results.append({**here, "bbox": box, "score": score})
    evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
    evaluation.params.maxDets = [300]
    evaluation.params.areaRng = AREAS
    evaluation.params.areaRngLbl = ["all", *SIZES]
    evaluation.params.iouThrs = np.linspace(0.5, 0.95, 10)
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation.eval["precision"][..., 0]


def coco_mean(precision: np.ndarray) -> float:
    """The mean as pycocotools summarizes it: without what has no face."""
    known = precision[precision > -1]
    return known.mean() if len(known) else np.nan


def flat(nested: dict) -> dict[str, float]:
    return pd.json_normalize(nested).iloc[0].to_dict()


@pytest.mark.parametrize("decimals", [1, 9])
@pytest.mark.parametrize("name", ["two_classes", "classes", "face"])
@pytest.mark.parametrize("seed", range(2))
def test_average_precision_is_that_of_pycocotools(seed: int, name: str, decimals: int) -> None:
    """With one decimal most scores are equal to others."""
    faces, detections, names = random_scene(seed)
    detections = detections.round(dict.fromkeys(SCORES, decimals))
    groups = detection.groupings(CLASSES)[name]
    precision = coco_precision(faces, detections, names, groups)
    expected = {
        "ap50": coco_mean(precision[0, ..., 0]),
        "ap": coco_mean(precision[..., 0]),
        "by_class": {
            group: {
                "ap50": coco_mean(precision[0, :, k, 0]),
                "ap": coco_mean(precision[:, :, k, 0]),
            }
            for k, group in enumerate(groups)
        },
        "by_size": {size: coco_mean(precision[0, ..., k]) for k, size in enumerate(SIZES, 1)},
    }
    assert all(0.1 < value < 0.9 for value in flat(expected).values())
    found = detection.average_precision(detection.evaluate(faces, detections, names, groups))
    assert flat(found) == pytest.approx(flat(expected), rel=0, abs=1e-9)


def test_what_is_told_apart() -> None:
    assert detection.groupings(CLASSES) == {
        "two_classes": {WITH: [WITH, INCORRECT], WITHOUT: [WITHOUT]},
        "classes": {WITH: [WITH], WITHOUT: [WITHOUT], INCORRECT: [INCORRECT]},
        "face": {"face": [WITH, WITHOUT, INCORRECT]},
    }
    assert detection.size_names() == SIZES


@pytest.mark.parametrize(
    ("scores", "expected"), [((0.0009, 0, 0), 0), ((0.001, 0, 0), 1), ((0.0008, 0, 0.0007), 1)]
)
def test_a_detection_counts_from_the_least_score_on(scores: tuple, expected: float) -> None:
    faces = faces_of([("a", 0, 0, 20, 20, WITH)])
    found = detections_of([("a", 0, 0, 20, 20, *scores)])
    groups = detection.groupings(CLASSES)["two_classes"]
    result = detection.average_precision(detection.evaluate(faces, found, ["a"], groups))
    assert result["ap50"] == pytest.approx(expected)


@pytest.mark.parametrize(("before", "expected"), [(299, 1 / 300), (300, 0)])
def test_an_image_has_three_hundred_detections(before: int, expected: float) -> None:
    faces = faces_of([("a", 0, 0, 20, 20, WITH)])
    elsewhere = [("a", 50, 50, 70, 70, 0.9, 0, 0)] * before
    found = detections_of([*elsewhere, ("a", 0, 0, 20, 20, 0.5, 0, 0)])
    groups = detection.groupings(CLASSES)["face"]
    result = detection.average_precision(detection.evaluate(faces, found, ["a"], groups))
    assert result["ap50"] == pytest.approx(expected)


def overlap(first: list[float], second: list[float]) -> float:
    """The IoU of two boxes."""
    width, height = (min(first[k + 2], second[k + 2]) - max(first[k], second[k]) for k in (0, 1))
    common = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return common / (sum(areas) - common)


def slow_matches(faces: pd.DataFrame, detections: pd.DataFrame) -> dict[int, tuple[int, float]]:
    """Face to detection and IoU: one detection after the other takes the best face left."""
    both = faces.to_dict("records"), detections.to_dict("records")
    corners = [[[each[name] for name in CORNERS] for each in rows] for rows in both]
    scores = [
        max(math.hypot(each[SCORES[0]], each[SCORES[2]]), each[SCORES[1]]) for each in both[1]
    ]
    taken = {}
    for row in sorted(range(len(scores)), key=lambda row: -scores[row]):
        best, chosen = 0.5, None
        for number, face in enumerate(both[0]):
            if face["image"] == both[1][row]["image"] and number not in taken:
                iou = overlap(corners[0][number], corners[1][row])
                if iou >= best:
                    best, chosen = iou, number
        if chosen is not None:
            taken[chosen] = (row, best)
    return taken


@pytest.mark.parametrize("seed", range(3))
def test_matches_are_those_of_a_loop(seed: int) -> None:
    faces, detections, _ = random_scene(seed, images=12)
    seen, shown = detection.matches(faces, detections, CLASSES)
    expected = slow_matches(faces, detections)
    assert 0.3 * len(faces) < len(expected) < len(faces)
    masked = np.hypot(detections[SCORES[0]], detections[SCORES[2]])
    confidence = np.maximum(masked, detections[SCORES[1]])
    predicted = np.where(masked > detections[SCORES[1]], WITH, WITHOUT)
    np.testing.assert_allclose(shown["confidence"], confidence)
    assert list(shown["predicted"]) == list(predicted)
    face_of = {row: number for number, (row, _) in expected.items()}
    assert list(shown["face"]) == [face_of.get(row, -1) for row in range(len(detections))]
    for number, face in enumerate(seen.itertuples()):
        row, iou = expected.get(number, (-1, 0))
        assert (face.found, face.iou) == (row, pytest.approx(iou))
        assert face.actual == CLASSES[face.name]
        assert face.side == pytest.approx(((face.x1 - face.x0) * (face.y1 - face.y0)) ** 0.5)
        assert face.predicted == predicted[row] if row >= 0 else pd.isna(face.predicted)
        assert face.confidence == pytest.approx(confidence[row] if row >= 0 else 0)
    pd.testing.assert_frame_equal(seen[faces.columns], faces)
    pd.testing.assert_frame_equal(shown[detections.columns], detections)


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        # A face is found once, by the most confident, even if that fits worse.
        ([(0, 0, 20, 12, 0.9), (0, -4, 20, 16, 0.8)], [0, -1]),
        ([(0, -4, 20, 16, 0.8), (0, 0, 20, 12, 0.9)], [-1, 0]),
        # What overlaps a face that is taken takes the next, if it overlaps that enough.
        ([(0, 0, 20, 20, 0.9), (0, 1, 20, 21, 0.8)], [0, 1]),
        ([(0, 5, 20, 25, 0.8), (0, 0, 20, 20, 0.9)], [1, 0]),
        ([(0, 0, 20, 20, 0.9), (-2, -2, 18, 18, 0.8)], [0, -1]),
        # An IoU of one half is enough.
        ([(0, 0, 20, 10, 0.9)], [0]),
        ([(0, 0, 20, 9.9, 0.9)], [-1]),
        ([(100, 100, 120, 120, 0.9)], [-1]),
    ],
)
def test_a_face_is_found_once(boxes: list[tuple], expected: list[int]) -> None:
    faces = faces_of([("a", 0, 0, 20, 20, WITH), ("a", 0, 5, 20, 25, WITHOUT)])
    found = detections_of([("a", *box, 0, 0) for box in boxes])
    seen, shown = detection.matches(faces, found, CLASSES)
    assert list(shown["face"]) == expected
    rows = [expected.index(face) if face in expected else -1 for face in (0, 1)]
    assert list(seen["found"]) == rows


def test_a_face_is_found_in_its_own_image_alone() -> None:
    faces = faces_of([("a", 0, 0, 20, 20, WITH), ("b", 50, 50, 70, 70, WITH)])
    found = detections_of([("b", 0, 0, 20, 20, 0.9, 0, 0), ("c", 0, 0, 20, 20, 0.9, 0, 0)])
    seen, shown = detection.matches(faces, found, CLASSES)
    assert list(seen["found"]) == list(shown["face"]) == [-1, -1]
    assert seen["predicted"].isna().all()
    assert (seen[["confidence", "iou"]] == 0).all(axis=None)


def test_the_squares_of_the_scores_of_a_meaning_add_up() -> None:
    faces = faces_of([("a", 0, 0, 20, 20, WITHOUT)])
    found = detections_of([("a", 0, 0, 20, 20, 0.3, 0.4, 0.4)])
    (face,) = detection.matches(faces, found, CLASSES)[0].itertuples()
    assert (face.predicted, face.confidence) == (WITH, pytest.approx(0.5))


def some_matches() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Of two images, with a threshold of one half."""
    faces = faces_of(
        [
            ("a", 0, 0, 10, 10, WITH),
            ("a", 20, 20, 50, 50, WITHOUT),
            ("b", 0, 0, 15, 15, WITHOUT),
            ("b", 100, 100, 160, 160, INCORRECT),
            ("b", 200, 200, 216, 216, WITHOUT),
        ]
    )
    found = detections_of(
        [
            ("a", 0, 0, 10, 10, 0.9, 0, 0),
            ("a", 20, 20, 50, 50, 0.8, 0, 0),  # the wrong class
            ("a", 200, 0, 220, 20, 0, 0.7, 0),  # a false alarm
            ("a", 250, 0, 270, 20, 0, 0.3, 0),  # another below the threshold
            ("b", 0, 0, 15, 15, 0, 0.4, 0),  # a face below the threshold
            ("b", 100, 100, 160, 160, 0.4, 0, 0.4),
            ("b", 200, 200, 216, 216, 0, 0.5, 0),  # just at the threshold
        ]
    )
    seen, shown = detection.matches(faces, found, CLASSES)
    return seen.assign(threshold=0.5), shown.assign(threshold=0.5)


def test_recalls_and_false_alarms_are_counts() -> None:
    nan = float("nan")
    expected = {
        "recall_face": 4 / 5,
        "recall_with_mask": 1,
        "recall_without_mask": 1 / 3,
        "recall_without_mask_16px": 1 / 2,
        "precision_with_mask": 2 / 3,
        "precision_without_mask": 1 / 2,
        "false_alarms": 1 / 2,
        "by_size": {
            WITH: dict(zip(SIZES, [1, nan, nan, 1], strict=True)),
            WITHOUT: dict(zip(SIZES, [nan, 1 / 2, 0, nan], strict=True)),
        },
        "confusion": {
            "false_alarm": {WITH: 0, WITHOUT: 1},
            WITH: {WITH: 2, WITHOUT: 0, "missed": 0},
            WITHOUT: {WITH: 1, WITHOUT: 1, "missed": 1},
        },
    }
    found = detection.at_threshold(*some_matches(), images=2)
    assert flat(found) == pytest.approx(flat(expected), nan_ok=True)


@pytest.mark.parametrize(
    ("side", "name"),
    [(2, 0), (11, 0), (12, 1), (23, 1), (24, 2), (47, 2), (48, 3), (500, 3)],
)
def test_a_face_is_of_one_size(side: int, name: int) -> None:
    faces = faces_of([("a", 0, 0, side, side, WITH)]).assign(threshold=0.5)
    found = detections_of([]).assign(threshold=0.5)
    by_size = detection.at_threshold(*detection.matches(faces, found, CLASSES), 1)["by_size"]
    expected = [0 if number == name else np.nan for number in range(4)]
    assert list(by_size[WITH].values()) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("seed", range(3))
def test_the_confusion_table_adds_up_to_faces_and_shown_detections(seed: int) -> None:
    faces, detections, names = random_scene(seed)
    faces, detections = (table.assign(threshold=0.2) for table in (faces, detections))
    seen, shown = detection.matches(faces, detections, CLASSES)
    found = detection.at_threshold(seen, shown, len(names))
    confusion = pd.DataFrame(found["confusion"]).fillna(0)
    meaning = faces["name"].map(CLASSES)
    assert {c: confusion[c].sum() for c in (WITH, WITHOUT)} == dict(meaning.value_counts())
    assert confusion["false_alarm"].sum() == round(found["false_alarms"] * len(names))
    claimed = shown.loc[shown["confidence"] >= 0.2, "predicted"].value_counts()
    assert confusion.loc[[WITH, WITHOUT]].sum(axis=1).to_dict() == claimed.to_dict()
    recall = 1 - confusion.loc["missed"].sum() / len(faces)
    assert found["recall_face"] == pytest.approx(recall)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_not_shown_takes_no_face(seed: int) -> None:
    faces, detections, names = random_scene(seed)
    faces, detections = (table.assign(threshold=0.1) for table in (faces, detections))
    masked = detections[SCORES[0]] + detections[SCORES[2]]
    above = detections[np.maximum(masked, detections[SCORES[1]]) >= 0.1].reset_index(drop=True)
    assert 0 < len(above) < len(detections)
    some, every = (
        detection.at_threshold(*detection.matches(faces, table, CLASSES), len(names))
        for table in (above, detections)
    )
    assert flat(some) == pytest.approx(flat(every))


def test_each_fold_has_its_own_threshold() -> None:
    seen, shown = some_matches()
    seen["threshold"] = np.where(seen["image"] == "a", 0.85, 0.4)
    shown["threshold"] = np.where(shown["image"] == "a", 0.85, 0.4)
    found = detection.at_threshold(seen, shown, images=2)
    assert found["false_alarms"] == 0
    assert found["confusion"][WITH] == {WITH: 2, WITHOUT: 0, "missed": 0}
    assert found["confusion"][WITHOUT] == {WITH: 0, WITHOUT: 2, "missed": 1}


def test_a_missed_face_is_missed_at_a_threshold_of_zero() -> None:
    faces = faces_of([("a", 0, 0, 20, 20, WITH)]).assign(threshold=0.0)
    found = detections_of([]).assign(threshold=0.0)
    result = detection.at_threshold(*detection.matches(faces, found, CLASSES), 1)
    assert result["recall_face"] == 0
    assert result["confusion"][WITH] == {WITH: 0, WITHOUT: 0, "missed": 1}


def mean_f1(faces: pd.DataFrame, detections: pd.DataFrame, threshold: float) -> float:
    """The mean F1 of both classes: the share of faces and of detections that are right."""
    values = []
    for name in (WITH, WITHOUT):
        claimed = (detections["confidence"] >= threshold) & (detections["predicted"] == name)
        actual = faces["actual"] == name
        right = actual & (faces["predicted"] == name) & (faces["confidence"] >= threshold)
        values.append(2 * right.sum() / (claimed.sum() + actual.sum()))
    return np.mean(values)


@pytest.mark.parametrize("seed", range(2))
def test_the_best_threshold_has_the_highest_f1(seed: int) -> None:
    faces, detections, _ = random_scene(seed)
    both = detection.matches(faces, detections, CLASSES)
    every = [mean_f1(*both, number / 100) for number in range(5, 96)]
    found = detection.best_threshold(*both)
    assert found == (5 + int(np.argmax(every))) / 100
    assert 0.05 < found < 0.95


@pytest.mark.parametrize(
    ("alarm", "right", "expected"), [(0.2, 0.4, 0.21), (0.01, 0.4, 0.05), (0.945, 0.96, 0.95)]
)
def test_of_equal_thresholds_the_lowest_is_the_best(
    alarm: float, right: float, expected: float
) -> None:
    """Between the score of the false alarm and the lowest of a face all is right."""
    faces = faces_of([("a", 0, 0, 20, 20, WITH), ("a", 50, 0, 70, 20, WITHOUT)])
    rows = [("a", 0, 0, 20, 20, right, 0, 0), ("a", 50, 0, 70, 20, 0, 0.97, 0)]
    rows.append(("a", 90, 0, 110, 20, alarm, 0, 0))
    both = detection.matches(faces, detections_of(rows), CLASSES)
    assert detection.best_threshold(*both) == expected


@pytest.mark.parametrize("empty", ["faces", "detections"])
def test_with_nothing_right_the_best_threshold_is_the_lowest(empty: str) -> None:
    faces, detections, _ = random_scene(0, images=5)
    faces, detections = (faces[:0], detections) if empty == "faces" else (faces, detections[:0])
    assert detection.best_threshold(*detection.matches(faces, detections, CLASSES)) == 0.05


def exact(faces: pd.DataFrame, score: float = 1.0) -> pd.DataFrame:
    """Detections of all faces, with the score for their class."""
    scores = {f"score_{name}": score * (faces["name"] == name) for name in CLASSES}
    return faces[["image", *CORNERS]].assign(**scores)


def measured(faces: pd.DataFrame, detections: pd.DataFrame, images: list[str]) -> dict:
    return detection_metrics.measure(match(faces, detections, images, 0.5))


def match(
    faces: pd.DataFrame, detections: pd.DataFrame, images: list[str], threshold: float = 0.2
) -> detection_metrics.Matched:
    both = (table.assign(threshold=threshold) for table in (faces, detections))
    return detection_metrics.match(detection_metrics.Tables(*both, images), CLASSES)


def test_exact_detections_are_right_everywhere() -> None:
    faces, _, names = random_scene(0, images=10)
    found = measured(faces, exact(faces), names)
    assert list(found) == [
        *("images", "faces", "two_classes", "classes", "face", "calibration", "errors"),
        "threshold",
    ]
    assert (found["images"], found["faces"]) == (10, len(faces))
    for name in ("two_classes", "classes", "face"):
        assert [*flat(found[name]).values()] == pytest.approx([1] * len(flat(found[name])))
    threshold = found["threshold"]
    zero = {"false_alarms": 0, "confusion.false_alarm.with_mask": 0}
    assert flat(threshold).items() >= zero.items()
    ratios = {key: value for key, value in threshold.items() if key.startswith(("recall", "pre"))}
    assert set(ratios.values()) == {1}
    assert len(ratios) == 6
    assert all(value == 1 for sizes in threshold["by_size"].values() for value in sizes.values())
    assert found["calibration"] == pytest.approx(0)
    assert found["errors"] == pytest.approx(dict.fromkeys(found["errors"], 0))


@pytest.mark.filterwarnings("error")
def test_without_detections_nothing_is_found() -> None:
    faces, detections, names = random_scene(0, images=10)
    found = measured(faces, detections[:0], names)
    for name in ("two_classes", "classes", "face"):
        assert set(flat(found[name]).values()) == {0}
    threshold = found["threshold"]
    for name in ("recall_face", "recall_with_mask", "recall_without_mask", "false_alarms"):
        assert threshold[name] == 0
    assert np.isnan([threshold["precision_with_mask"], threshold["precision_without_mask"]]).all()
    for name, count in faces["name"].map(CLASSES).value_counts().items():
        assert threshold["confusion"][name] == {WITH: 0, WITHOUT: 0, "missed": count}


@pytest.mark.filterwarnings("error")
def test_a_class_without_a_face_is_nan_and_does_not_count() -> None:
    whole, detections, names = random_scene(0, images=10)
    faces = whole[whole["name"] == WITH].reset_index(drop=True)
    found = measured(faces, detections, names)
    for name in ("two_classes", "classes"):
        of_class = found[name]["by_class"]
        assert np.isnan([*of_class[WITHOUT].values()]).all()
        assert {key: found[name][key] for key in ("ap50", "ap")} == pytest.approx(of_class[WITH])
    assert np.isnan([*found["classes"]["by_class"][INCORRECT].values()]).all()
    threshold = found["threshold"]
    assert threshold["recall_with_mask"] > 0
    assert np.isnan([threshold["recall_without_mask"], threshold["recall_without_mask_16px"]]).all()
    assert np.isnan([*threshold["by_size"][WITHOUT].values()]).all()
    assert threshold["precision_without_mask"] == 0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", [0, 4])
def test_images_without_a_face_have_false_alarms_alone(count: int) -> None:
    faces, _, names = random_scene(0, images=10)
    alarms = exact(faces[:count])
    found = measured(faces[:0], alarms, names)
    for name in ("two_classes", "classes", "face"):
        assert np.isnan([*flat(found[name]).values()]).all()
    assert found["faces"] == 0
    assert np.isnan(found["threshold"]["recall_face"])
    assert found["threshold"]["false_alarms"] == count / 10


def test_a_face_of_the_wrong_class_is_found_but_not_right() -> None:
    faces, _, names = random_scene(0, images=10)
    other = faces.assign(name=np.where(faces["name"] == WITHOUT, WITH, WITHOUT))
    found = measured(faces, exact(other), names)
    assert found["face"]["ap50"] == found["face"]["ap"] == pytest.approx(1)
    assert found["two_classes"]["ap50"] == 0
    threshold = found["threshold"]
    assert (threshold["recall_face"], threshold["false_alarms"]) == (1, 0)
    assert threshold["recall_with_mask"] == threshold["recall_without_mask"] == 0
    assert threshold["precision_with_mask"] == threshold["precision_without_mask"] == 0
    assert threshold["confusion"][WITH][WITHOUT] == (faces["name"] != WITHOUT).sum()


def test_calibration_is_how_far_scores_are_from_the_share_that_is_right() -> None:
    faces, _, names = random_scene(0, images=10)
    assert measured(faces, exact(faces, 0.83), names)["calibration"] == pytest.approx(0.17)
    alarms = exact(faces, 0.83).assign(x0=900, x1=950)
    found = measured(faces, pd.concat([exact(faces, 0.83), alarms], ignore_index=True), names)
    assert found["calibration"] == pytest.approx(0.33)
    both = exact(faces[::2], 0.83), exact(faces[1::2], 0.63)
    found = measured(faces, pd.concat(both, ignore_index=True), names)
    expected = (0.17 * len(both[0]) + 0.37 * len(both[1])) / len(faces)
    assert found["calibration"] == pytest.approx(expected)


def test_calibration_is_of_what_is_shown_and_wants_the_class_right() -> None:
    faces, _, names = random_scene(0, images=10)
    hidden = exact(faces, 0.49).assign(x0=900, x1=950)
    found = measured(faces, pd.concat([exact(faces, 0.83), hidden], ignore_index=True), names)
    assert found["calibration"] == pytest.approx(0.17)
    assert np.isnan(measured(faces, hidden, names)["calibration"])
    other = {WITH: WITHOUT, INCORRECT: WITHOUT, WITHOUT: WITH}
    swapped = exact(faces.assign(name=faces["name"].map(other)), 0.83)
    assert measured(faces, swapped, names)["calibration"] == pytest.approx(0.83)


def test_a_face_of_the_wrong_class_is_no_other_error_for_its_lesser_score() -> None:
    """Each detection also has a low score of the right class, which finds the face."""
    faces = faces_of([(name, 0, 0, 40, 40, WITH) for name in "abcd"])
    faces = pd.concat([faces, faces.assign(x0=100, x1=140, name=WITHOUT)], ignore_index=True)
    right, wrong = exact(faces, 0.6), exact(faces[:1], 0.3).assign(score_without_mask=0.9)
    found = measured(faces, pd.concat([right[1:], wrong], ignore_index=True), list("abcd"))
    alone = wrong.assign(score_with_mask=0)
    expected = measured(faces, pd.concat([right[1:], alone], ignore_index=True), list("abcd"))
    assert found["errors"] == pytest.approx(expected["errors"])
    assert found["errors"]["cls"] > 0


def test_of_two_equal_classes_a_detection_is_of_the_first() -> None:
    """It would else be right once and a false alarm once."""
    faces = faces_of([(name, 0, 0, 40, 40, WITH) for name in "abcd"])
    tied = exact(faces, 0.6).assign(score_without_mask=0.6)
    expected = measured(faces, exact(faces, 0.6), list("abcd"))
    assert measured(faces, tied, list("abcd"))["errors"] == pytest.approx(expected["errors"])


@pytest.mark.parametrize("kind", ["miss", "bkg", "cls", "dupe", "loc"])
def test_errors_are_of_the_kind_that_was_made(kind: str) -> None:
    """Two faces in each image; errors are the more confident, so that they cost precision."""
    names = ["a", "b", "c", "d"]
    faces = faces_of([(name, 0, 0, 40, 40, WITH) for name in names])
    faces = pd.concat([faces, faces.assign(x0=100, x1=140, name=WITHOUT)], ignore_index=True)
    right, wrong = exact(faces, 0.6), exact(faces[:1], 0.9)
    made = {
        "miss": [right[1:]],
        "bkg": [right, wrong.assign(y0=500, y1=540)],
        "cls": [right[1:], wrong.assign(score_with_mask=0, score_without_mask=0.9)],
        "dupe": [right[1:], wrong, wrong],
        "loc": [right[1:], wrong.assign(y1=12)],
    }[kind]
    made = pd.concat(made, ignore_index=True)
    errors = measured(faces, made, names)["errors"]
    assert set(errors) == {"cls", "loc", "both", "dupe", "bkg", "miss", "fp", "fn"}
    kinds = {name: gain for name, gain in errors.items() if name not in ("fp", "fn")}
    assert max(kinds, key=kinds.get) == kind
    assert kinds[kind] > 0


def drawn_thresholds(
    seen: pd.DataFrame, shown: pd.DataFrame, names: list[str], draws: int, seed: int
) -> np.ndarray:
    """Recalls and false alarms of images drawn with replacement, one draw after the other."""
    chances = np.full(len(names), 1 / len(names))
    found = []
    for counts in np.random.default_rng(seed).multinomial(len(names), chances, draws):
        drawn = [name for name, count in zip(names, counts, strict=True) for _ in range(count)]
        tables = [pd.concat([t[t["image"] == name] for name in drawn]) for t in (seen, shown)]
        result = detection.at_threshold(*tables, len(names))
        found.append([result[name] for name in (*detection_metrics.RATIOS, "false_alarms")])
    return np.array(found)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(2))
def test_intervals_of_recalls_are_percentiles_of_drawn_images(seed: int) -> None:
    faces, detections, names = random_scene(seed, images=8)
    faces.loc[faces["image"] != "5.png", "name"] = WITH
    faces, detections = (table.assign(threshold=0.2) for table in (faces, detections))
    both = detection.matches(faces, detections, CLASSES)
    drawn = drawn_thresholds(*both, names, 60, seed)
    assert np.isnan(drawn).any()  # some draws have no unmasked face: they do not count
    low, high = np.nanpercentile(drawn, [2.5, 97.5], axis=0)
    found = detection_metrics.intervals(match(faces, detections, names), draws=60, seed=seed)
    result = detection.at_threshold(*both, len(names))
    index = ["recall_face", "recall_with_mask", "recall_without_mask", "recall_without_mask_16px"]
    index += ["false_alarms"]
    value = [result[name] for name in index]
    expected = pd.DataFrame({"value": value, "low": low, "high": high}, index)
    pd.testing.assert_frame_equal(pd.DataFrame(found["threshold"]).T, expected)


def test_intervals_are_of_what_is_measured() -> None:
    matched = match(*random_scene(1, images=12))
    value = detection_metrics.measure(matched)
    found = detection_metrics.intervals(matched, draws=40)
    assert list(found) == ["two_classes", "classes", "face", "threshold"]
    for name in ("two_classes", "classes", "face"):
        of_class = {f"ap50_{key}": own["ap50"] for key, own in value[name]["by_class"].items()}
        expected = {"ap50": value[name]["ap50"], "ap": value[name]["ap"], **of_class}
        assert {key: own["value"] for key, own in found[name].items()} == pytest.approx(expected)
    for own in (own for part in found.values() for own in part.values()):
        assert own["low"] <= own["value"] <= own["high"]
    again = detection_metrics.intervals(matched, draws=40)
    other = detection_metrics.intervals(matched, draws=40, seed=1)
    assert again == found
    assert all(found[name] != other[name] for name in found)


def test_intervals_are_of_counts() -> None:
    """The hand-made case, with a face of 16 px found just at the threshold."""
    faces, detections = some_matches()
    tables = detection_metrics.Tables(faces, detections, ["a", "b"])
    found = detection_metrics.intervals(detection_metrics.match(tables, CLASSES), draws=10)
    values = {name: own["value"] for name, own in found["threshold"].items()}
    assert values == pytest.approx(
        {
            "recall_face": 4 / 5,
            "recall_with_mask": 1,
            "recall_without_mask": 1 / 3,
            "recall_without_mask_16px": 1 / 2,
            "false_alarms": 1 / 2,
        }
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("empty", ["faces", "detections", "both"])
def test_without_faces_or_detections_intervals_have_no_width(empty: str) -> None:
    faces, detections, names = random_scene(1, images=6)
    faces = faces if empty == "detections" else faces[:0]
    detections = detections if empty == "faces" else detections[:0]
    matched = match(faces, detections, names)
    found = detection_metrics.intervals(matched, draws=20)
    alarms = found["threshold"].pop("false_alarms")
    assert alarms["value"] == detection_metrics.measure(matched)["threshold"]["false_alarms"]
    values = {x for part in found.values() for own in part.values() for x in own.values()}
    if empty == "detections":
        assert values == {0}
    else:
        assert np.isnan(list(values)).all()


def test_the_least_detections_are_not_kept() -> None:
    scores = [(0.049, 0, 0), (0.05, 0, 0), (0.03, 0.03, 0.03), (0, 0, 0.9), (0, 0, 0)]
    rows = detections_of([("a", 0, 0, 20, 20, *own) for own in scores])
    kept = detection_metrics.kept(rows)
    pd.testing.assert_frame_equal(kept, rows.loc[[1, 2, 3]])


def test_without_the_least_detections_nothing_at_the_threshold_changes() -> None:
    faces, detections, names = random_scene(2)
    some = detection_metrics.kept(detections).reset_index(drop=True)
    assert len(some) < len(detections)
    before, after = (detection.matches(faces, table, CLASSES) for table in (detections, some))
    assert detection.best_threshold(*before) == detection.best_threshold(*after)
    found = [measured(faces, table, names)["threshold"] for table in (detections, some)]
    assert flat(found[0]) == pytest.approx(flat(found[1]))


def test_curves_have_the_area_that_is_the_average_precision() -> None:
    faces, detections, names = random_scene(3, images=12)
    matched = match(faces, detections, names)
    curves, value = detection_metrics.curves(matched, "mine"), detection_metrics.measure(matched)
    two = {key.replace("_", " "): own for key, own in value["two_classes"]["by_class"].items()}
    expected = {
        f"mine, {name}": own["ap50"] for name, own in {**two, "face": value["face"]}.items()
    }
    assert curves.groupby("experiment")["precision"].mean().to_dict() == pytest.approx(expected)
    for _, curve in curves.groupby("experiment"):
        assert curve["recall"].to_numpy() == pytest.approx(np.linspace(0, 1, 101))
        assert (curve["precision"].diff().dropna() <= 0).all()
    masked = faces[faces["name"] == WITH]
    alone = detection_metrics.curves(match(masked, detections, names), "mine")
    assert set(alone["experiment"]) == {"mine, with mask", "mine, face"}


def test_the_headline_is_few_numbers_of_test_validation_and_crops() -> None:
    (val, test) = (measured(*random_scene(seed, images=8)) for seed in (0, 1))
    crops = {"recall_without_mask": 0.125, "recall_with_mask": 0.25}
    found = detection_metrics.headline({"val": val, "test": test, "crops": crops})
    assert found == {
        "ap50": test["two_classes"]["ap50"],
        "ap": test["two_classes"]["ap"],
        "ap50_classes": test["classes"]["ap50"],
        "ap50_face": test["face"]["ap50"],
        "recall_with": test["threshold"]["recall_with_mask"],
        "recall_without": test["threshold"]["recall_without_mask"],
        "false_alarms": test["threshold"]["false_alarms"],
        "crops_recall_without": 0.125,
        "val_ap50": val["two_classes"]["ap50"],
        "val_ap": val["two_classes"]["ap"],
    }
    assert all(isinstance(value, float) for value in found.values())
    assert len(set(found.values())) == len(found)
