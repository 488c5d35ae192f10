"""Intervals of average precision: against evaluating drawn images anew."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_detection import CLASSES, INCORRECT, WITH, detections_of, exact, faces_of, random_scene

from facemask.evaluation import bootstrap, detection, precision_bootstrap

GROUPINGS = ["two_classes", "classes", "face"]


def evaluated(
    faces: pd.DataFrame, detections: pd.DataFrame, names: list[str], grouping: str
) -> Any:
    return detection.evaluate(faces, detections, names, detection.groupings(CLASSES)[grouping])


def repeated(table: pd.DataFrame, names: list[str], counts: np.ndarray) -> pd.DataFrame:
    """Rows of images as often as they are drawn, each time under a new name."""
    parts = [
        table[table["image"] == name].assign(image=f"{name} {number}")
        for name, count in zip(names, counts, strict=True)
        for number in range(count)
    ]
    return pd.concat(parts, ignore_index=True)


def anew(
    faces: pd.DataFrame,
    detections: pd.DataFrame,
    names: list[str],
    counts: np.ndarray,
    grouping: str,
) -> dict[str, Any]:
    """The average precision of images drawn so often."""
    tables = (repeated(table, names, counts) for table in (faces, detections))
    drawn = [f"{name} {k}" for name, n in zip(names, counts, strict=True) for k in range(n)]
    return detection.average_precision(evaluated(*tables, drawn, grouping))


def weighted(result: Any, counts: np.ndarray) -> dict[str, dict[str, float]]:
    """Of each class what `average_precision` has under by_class."""
    found = {}
    for number, each in enumerate(result.coco_gt.dataset["categories"], start=1):
        table = precision_bootstrap.ranked(result, number)
        values = precision_bootstrap.weighted_precision(table, counts)
        found[each["name"]] = {"ap50": values[0], "ap": values.mean()}
    return found


def assert_close(found: dict[str, dict], expected: dict[str, dict]) -> None:
    pd.testing.assert_frame_equal(
        pd.DataFrame(found), pd.DataFrame(expected), check_exact=False, rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("decimals", [1, 9])
@pytest.mark.parametrize("grouping", GROUPINGS)
@pytest.mark.parametrize("seed", range(2))
def test_each_image_once_is_what_hotcoco_finds(seed: int, grouping: str, decimals: int) -> None:
    """With one decimal most scores are equal to others."""
    faces, detections, names = random_scene(seed)
    detections = detections.round(dict.fromkeys(detections.filter(like="score_"), decimals))
    result = evaluated(faces, detections, names, grouping)
    expected = detection.average_precision(result)["by_class"]
    assert_close(weighted(result, np.ones(len(names))), expected)


@pytest.mark.parametrize("grouping", GROUPINGS)
@pytest.mark.parametrize("seed", range(3))
def test_counts_are_as_images_under_new_names(seed: int, grouping: str) -> None:
    faces, detections, names = random_scene(seed, images=15)
    result = evaluated(faces, detections, names, grouping)
    counts = np.random.default_rng(seed).multinomial(15, np.full(15, 1 / 15))
    assert 0 in counts and counts.max() > 1
    expected = anew(faces, detections, names, counts, grouping)["by_class"]
    assert_close(weighted(result, counts), expected)


def test_an_image_that_is_not_drawn_does_not_count() -> None:
    """Its false alarm is the most confident of all."""
    faces = faces_of([("a", 0, 0, 20, 20, WITH), ("b", 0, 0, 20, 20, WITH)])
    found = detections_of([("a", 50, 0, 70, 20, 0.9, 0, 0), ("b", 0, 0, 20, 20, 0.8, 0, 0)])
    result = evaluated(faces, found, ["a", "b"], "face")
    table = precision_bootstrap.ranked(result, 1)
    for counts, expected in (([0, 1], 1), ([0, 3], 1), ([1, 0], 0), ([1, 1], 51 / 101 / 2)):
        values = precision_bootstrap.weighted_precision(table, np.array(counts))
        assert values == pytest.approx([expected] * 10)


def test_detections_are_ranked_in_all_images() -> None:
    faces = faces_of(
        [("a", 0, 0, 20, 20, WITH), ("c", 0, 0, 20, 20, WITH), ("c", 50, 0, 70, 20, WITH)]
    )
    rows = [("a", 0, 0, 20, 20, 0.5, 0, 0), ("c", 0, 0, 20, 13, 0.9, 0, 0)]
    rows += [("b", 0, 0, 20, 20, 0.7, 0, 0), ("c", 90, 0, 99, 20, 0.1, 0, 0)]
    result = evaluated(faces, detections_of(rows), ["a", "b", "c"], "classes")
    first = precision_bootstrap.ranked(result, 1)
    assert list(first.image) == [2, 1, 0, 2]
    assert list(first.faces) == [1, 0, 2]
    # An IoU of .65 is enough for the thresholds up to it.
    assert first.right[:, 0].tolist() == [True] * 4 + [False] * 6
    assert first.right[:, 1:].tolist() == [[False, True, False]] * 10
    second = precision_bootstrap.ranked(result, 2)
    assert second.right.shape == (10, 0)
    assert (len(second.image), list(second.faces)) == (0, [0, 0, 0])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("grouping", GROUPINGS)
@pytest.mark.parametrize("seed", range(2))
def test_intervals_are_percentiles_of_drawn_images(seed: int, grouping: str) -> None:
    faces, detections, names = random_scene(seed, images=8)
    rare = (faces["name"] == INCORRECT) & (faces["image"] != "5.png")
    faces["name"] = faces["name"].mask(rare, WITH)
    chances = np.full(8, 1 / 8)
    drawn = []
    for counts in np.random.default_rng(seed).multinomial(8, chances, 30):
        each = anew(faces, detections, names, counts, grouping)
        of_class = [own["ap50"] for own in each["by_class"].values()]
        drawn.append([each["ap50"], each["ap"], *of_class])
    # Some draws have no face of that class: they do not count.
    assert np.isnan(drawn).any() == (grouping == "classes")
    low, high = np.nanpercentile(drawn, [2.5, 97.5], axis=0)
    result = evaluated(faces, detections, names, grouping)
    value = detection.average_precision(result)
    of_class = {f"ap50_{name}": own["ap50"] for name, own in value["by_class"].items()}
    value = {"ap50": value["ap50"], "ap": value["ap"], **of_class}
    rows = {"value": list(value.values()), "low": low, "high": high}
    expected = pd.DataFrame(rows, index=list(value))
    found = precision_bootstrap.intervals(result, draws=30, seed=seed)
    assert_close(pd.DataFrame(found).T, expected)
    for own in expected.loc[["ap50", "ap"]].itertuples():
        assert own.low < own.value < own.high


def test_draws_depend_on_the_seed_alone() -> None:
    result = evaluated(*random_scene(0, images=10), "two_classes")
    found = precision_bootstrap.intervals(result, draws=50)
    assert found == precision_bootstrap.intervals(result, draws=50, seed=0)
    other = precision_bootstrap.intervals(result, draws=50, seed=1)
    for name, own in found.items():
        assert own["value"] == other[name]["value"]
        assert (own["low"], own["high"]) != (other[name]["low"], other[name]["high"])


def test_draws_are_those_of_other_metrics() -> None:
    """Intervals of recalls and of precision are of the same drawn images."""
    faces = faces_of([(name, 0, 0, 20, 20, WITH) for name in "abcdefg"])
    found = exact(faces)[:3]  # of three images, so that precision is the recall
    result = evaluated(faces, found, list("abcdefg"), "face")
    (parts,) = bootstrap.resampled([np.repeat([1.0, 0.0], [3, 4])], 40, 5)
    values = [(1 + 100 * part // 7) / 101 if part else 0 for part in parts]
    low, high = np.percentile(values, [2.5, 97.5])
    interval = precision_bootstrap.intervals(result, draws=40, seed=5)["ap50"]
    assert (interval["low"], interval["high"]) == pytest.approx((low, high))


@pytest.mark.parametrize("grouping", GROUPINGS)
def test_intervals_of_exact_detections_have_no_width(grouping: str) -> None:
    faces, _, names = random_scene(0, images=10)
    result = evaluated(faces, exact(faces), names, grouping)
    for own in precision_bootstrap.intervals(result, draws=50).values():
        assert list(own.values()) == pytest.approx([1, 1, 1])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("detected", [True, False])
def test_a_class_without_a_face_is_nan_and_does_not_count(detected: bool) -> None:
    whole, detections, names = random_scene(0, images=10)
    faces = whole[whole["name"] == WITH].reset_index(drop=True)
    detections = detections if detected else detections[:0]
    result = evaluated(faces, detections, names, "classes")
    found = pd.DataFrame(precision_bootstrap.intervals(result, draws=20)).T
    none = ["ap50_without_mask", "ap50_mask_weared_incorrect"]
    assert found.loc[none].isna().all(axis=None)
    assert found.drop(none).notna().all(axis=None)
    assert found.loc["ap50"].tolist() == found.loc["ap50_with_mask"].tolist()
    assert (found.loc["ap", "value"] > 0) == detected


@pytest.mark.filterwarnings("error")
def test_without_any_face_all_is_nan() -> None:
    faces, detections, names = random_scene(0, images=5)
    result = evaluated(faces[:0], detections, names, "two_classes")
    found = pd.DataFrame(precision_bootstrap.intervals(result, draws=20))
    assert found.shape == (3, 4)
    assert found.isna().all(axis=None)
