"""The dataset of the study itself: FACEMASK_DATASET is a folder with images/ and annotations/.

FACEMASK_ORIGINALS may be a folder of some of its images as Kaggle ships them, where the
dataset's own pixels were encoded anew.
"""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from facemask.config.data import NearDuplicates
from facemask.data import annotations, near_duplicates, splits
from facemask.data.crops import crop_table
from facemask.data.decode import read_rgb
from facemask.data.images import inventory

DATASET = os.environ.get("FACEMASK_DATASET")
ORIGINALS = os.environ.get("FACEMASK_ORIGINALS")
pytestmark = pytest.mark.skipif(not DATASET, reason="FACEMASK_DATASET is not set")

MERGED = {
    "with_mask": "with_mask",
    "without_mask": "without_mask",
    "mask_weared_incorrect": "with_mask",
}
EXACT = {(13, 737), (146, 219), (410, 428), (653, 775), (656, 690)}
NEAR = {(156, 545), (287, 478), (327, 699), (74, 354), (435, 554), (61, 451), (514, 680)}


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory):
    file = tmp_path_factory.mktemp("inventory") / "thumbnails.npy"
    found, issues = inventory(sorted(Path(DATASET, "images").iterdir()), 2, file)
    thumbnails = np.load(file)
    assert issues == []
    return found, thumbnails


@pytest.fixture(scope="module")
def table(looked_at):
    return looked_at[0]


@pytest.fixture(scope="module")
def groups(looked_at, parsed):
    """The group of each image by its name, with and without crops."""
    table, thumbnails = looked_at
    return {
        crops: near_duplicates.group(
            table, parsed[0], thumbnails, NearDuplicates(similarity=0.85, crops=crops)
        )
        for crops in (False, True)
    }


def faces_of(table, classes):
    return annotations.parse(sorted(Path(DATASET, "annotations").iterdir()), table, classes)


@pytest.fixture(scope="module")
def parsed(table):
    return faces_of(table, MERGED)


@pytest.fixture(scope="module")
def crops(parsed):
    return crop_table(parsed[0], "manhattan", 5, 2, 16090)[0]


def joined(group):
    """The numbers of the files of each group that has several."""
    numbers = group.index.str.extract(r"(\d+)", expand=False).astype(int).to_series(group.index)
    members = (tuple(sorted(each)) for _, each in numbers.groupby(group))
    return {each for each in members if len(each) > 1}


def test_images_and_their_near_duplicates(groups):
    found = joined(groups[False])
    assert len(groups[False]) == 853
    assert all(len(pair) == 2 for pair in found)
    assert found >= EXACT | NEAR
    assert len(found) == 14
    assert groups[False].nunique() == 853 - 14


def test_crops_of_one_image(groups):
    """All of these were looked at: same people, at one moment or at two."""
    found = joined(groups[True])
    assert {(222, 359, 656, 674, 690), (139, 623, 795, 847), (1, 157, 411), (293, 466)} <= found
    assert len(found) == 26
    assert groups[True].nunique() == 853 - 34
    for pair in joined(groups[False]):
        assert any({*pair} <= {*group} for group in found)


def test_exact_pairs_hold_the_same_pixels():
    images = {int(re.search(r"\d+", p.stem)[0]): p for p in Path(DATASET, "images").iterdir()}
    for first, second in EXACT:
        one, other = (read_rgb(images[number]) for number in (first, second))
        np.testing.assert_array_equal(one, other)


@pytest.mark.skipif(not ORIGINALS, reason="FACEMASK_ORIGINALS is not set")
def test_the_original_encoding_gives_the_same_pixels():
    paths = sorted(Path(ORIGINALS).iterdir())
    assert paths
    for path in paths:
        ours = read_rgb(Path(DATASET, "images", path.name))
        np.testing.assert_array_equal(read_rgb(path), ours)


def test_faces_and_boxes_over_the_edge(parsed):
    faces, validation = parsed
    assert len(faces) == validation["faces"] == 4072
    assert validation["images"] == 853
    # One pixel beyond the edge that Kaggle's xmax = width is, and nothing else is wrong.
    assert validation["boxes_overflowing"] == len(validation["issues"]) == 12
    assert validation["severities"] == {
        "error": 0,
        "repaired": 12,
        "warning": 0,
        "skipped": 0,
    }
    # None at 0 and many at the far edges: as of a file that counts from 1, or of labelImg.
    counted = validation["pixels_counted"]
    assert [counted[key] for key in ("begin_at_0", "begin_at_1", "end_at_size")] == [0, 59, 70]
    sizes = faces.set_index(["image", "face"])["width"]
    for row in validation["issues"]:
        xmax, cut_to = (int(corner) for corner in re.findall(r"(\d+), \d+\)", row["message"]))
        width = sizes[row["file"].replace(".xml", ".png"), row["object"]]
        assert (xmax, cut_to) == (width + 1, width - 1)
    assert faces.groupby("image").size().max() == 115
    assert (faces.groupby("image").size() == 1).sum() == 329
    area = (faces["xmax"] - faces["xmin"]) * (faces["ymax"] - faces["ymin"])
    assert area.min() == 2
    assert (faces[["xmin", "ymin"]] >= 0).all(axis=None)
    assert (faces["xmax"] < faces["width"]).all()
    assert (faces["ymax"] < faces["height"]).all()


def test_crops_of_the_study(crops):
    assert len(crops) == 1861
    assert crops["label"].value_counts().to_dict() == {1: 1602, 0: 259}
    assert (crops["enclosed"] > 0).sum() == 119


def test_crops_without_the_class_worn_incorrectly(table):
    faces, validation = faces_of(table, {**MERGED, "mask_weared_incorrect": None})
    assert len(faces) + validation["faces_of_dropped_classes"] == 4072
    crops, extra = crop_table(faces, "manhattan", 5, 2, 15753)
    assert len(crops) + len(extra) == len(faces)
    assert len(crops) == 1866
    assert crops["label"].value_counts().to_dict() == {1: 1589, 0: 277}


# The counts were found a second way too, with the distance transforms of scipy.ndimage.
@pytest.mark.parametrize(
    ("metric", "count"), [("manhattan", 1861), ("euclidean", 2133), ("chebyshev", 2230)]
)
def test_regions_of_each_distance(parsed, crops, metric, count):
    faces, _ = parsed
    if metric != "manhattan":
        crops, _ = crop_table(faces, metric, 5, 2, 16090)
    assert len(crops) == count
    both = crops.merge(faces, on=["image", "face"], validate="one_to_one")
    assert (both["x0"] >= 0).all()
    assert (both["y0"] >= 0).all()
    assert (both["x1"] <= both["width"]).all()
    assert (both["y1"] <= both["height"]).all()
    assert (both["x0"] + both["box_x0"]).equals(both["xmin"])
    assert (both["y0"] + both["box_y0"]).equals(both["ymin"])
    assert (both["x0"] + both["box_x1"] - 1).equals(both["xmax"])
    assert (both["y0"] + both["box_y1"] - 1).equals(both["ymax"])
    assert (both["box_x1"] <= both["x1"] - both["x0"]).all()
    assert (both["box_y1"] <= both["y1"] - both["y0"]).all()


def test_both_splits(groups, parsed, crops):
    samples, groups = splits.add_flips(crops, True), groups[False]
    study = splits.random_split(samples, 0.2, 0.2, 42)
    assert study["split"].value_counts().to_dict() == {"train": 1356, "val": 340, "test": 424}
    assert splits.leaking(study, groups) > 200  # most of the study's test images were seen
    grouped = splits.grouped_split(samples, groups, 0.2, 0.2, 42)
    assert splits.leaking(grouped, groups) == 0
    _, extra = crop_table(parsed[0], "manhattan", 5, 2, 16090)
    extra = splits.only_training(splits.number_on(extra, len(samples)), grouped, groups)
    counts = splits.summary(grouped, extra, groups, parsed[1])
    assert (counts["images"], counts["faces"], counts["crops"]) == (853, 4072, 1861)
    assert counts["test"] == pytest.approx(0.2 * 1861, abs=40)
    assert (counts["extra_crops"], counts["extra_crops_without_mask"]) == (1011, 209)
