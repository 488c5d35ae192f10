"""Flipped copies: mirrored boxes against mirrored pixels."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemask.data import splits
from facemask.data.crops import crop_table
from facemask.errors import InputError

BOX = ["box_x0", "box_y0", "box_x1", "box_y1"]


def crops_of(labels, seed=0):
    """Random crops of 12-40 px with a random box in each, one for every label."""
    rng = np.random.default_rng(seed)
    rows = []
    for face, label in enumerate(labels):
        width, height = (int(side) for side in rng.integers(12, 41, 2))
        x0, x1 = sorted(int(x) for x in rng.choice(width + 1, 2, replace=False))
        y0, y1 = sorted(int(y) for y in rng.choice(height + 1, 2, replace=False))
        row = (f"{face % 7}.png", face, label, 5, 9, 5 + width, 9 + height, x0, y0, x1, y1, 0, 1)
        rows.append(row)
    columns = ["image", "face", "label", "x0", "y0", "x1", "y1", *BOX, "enclosed", "touched"]
    return pd.DataFrame(rows, columns=columns)


def test_a_mirrored_box_holds_the_mirrored_pixels_of_the_box():
    crops = crops_of([0, 1] * 20)
    rng = np.random.default_rng(1)
    for row, flip in zip(crops.itertuples(), splits.mirror(crops).itertuples(), strict=True):
        pixels = rng.integers(0, 256, (row.y1 - row.y0, row.x1 - row.x0, 3))
        box = pixels[row.box_y0 : row.box_y1, row.box_x0 : row.box_x1]
        mirrored = np.flip(pixels, axis=1)
        found = mirrored[flip.box_y0 : flip.box_y1, flip.box_x0 : flip.box_x1]
        np.testing.assert_array_equal(found, np.flip(box, axis=1))
        assert flip.flip == 1


def test_a_mirror_seen_in_a_mirror_is_the_crop_itself():
    crops = crops_of([0, 1] * 20)
    once = splits.mirror(crops)
    assert not once[BOX].equals(crops[BOX])
    pd.testing.assert_frame_equal(splits.mirror(once).drop(columns="flip"), crops)


@pytest.mark.parametrize(("rare", "common"), [(0, 1), (1, 0)])
def test_each_crop_of_the_rarer_class_comes_once_more_at_the_end(rare, common):
    crops = crops_of([common, rare, common, common, rare])
    samples = splits.add_flips(crops, True)
    assert list(samples["sample"]) == list(range(7))
    assert list(samples["flip"]) == [0, 0, 0, 0, 0, 1, 1]
    assert list(samples["face"]) == [0, 1, 2, 3, 4, 1, 4]
    assert list(samples["label"]) == [common, rare, common, common, rare, rare, rare]
    pd.testing.assert_frame_equal(samples[:5].drop(columns=["sample", "flip"]), crops)
    # A flip is the same piece of the same photograph.
    rectangle = ["image", "x0", "y0", "x1", "y1"]
    assert samples.loc[[5, 6], rectangle].to_numpy().tolist() == (
        samples.loc[[1, 4], rectangle].to_numpy().tolist()
    )


def test_without_balance_the_samples_are_the_crops():
    crops = crops_of([1, 0, 1])
    samples = splits.add_flips(crops, False)
    assert list(samples.columns) == ["sample", *crops.columns, "flip"]
    assert not samples["flip"].any()
    pd.testing.assert_frame_equal(samples[crops.columns], crops)


def test_the_crops_given_are_left_as_they_are():
    crops = crops_of([1, 0, 1])
    before = crops.copy(deep=True)
    splits.add_flips(crops, True)
    pd.testing.assert_frame_equal(crops, before)


def test_a_class_alone_has_no_rarer_one_to_copy():
    # Doubling the only class would balance nothing.
    assert len(splits.add_flips(crops_of([1, 1, 1]), True)) == 3


def test_small_crops_are_numbered_after_the_samples():
    small = crops_of([1, 0, 1])
    rows = splits.number_on(small, 7)
    assert rows["sample"].tolist() == [7, 8, 9]
    assert list(rows) == list(splits.add_flips(small, True))
    pd.testing.assert_frame_equal(rows[list(small)], small)
    assert (rows["flip"] == 0).all()


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize(
    ("faces", "min_area"),
    [pytest.param(1, 10**9, id="min_area too high"), pytest.param(0, 0, id="all classes dropped")],
)
def test_no_crop_at_all_ends_in_a_message(faces, min_area, enabled):
    """Whichever step notices first must say so in words."""
    table = pd.DataFrame(
        {"image": ["a.png"], "face": [0], "width": [20], "height": [20], "name": "with_mask"}
        | {"label": [1], "xmin": [2], "ymin": [2], "xmax": [9], "ymax": [9]}
    )
    with pytest.raises(InputError, match=r"min_area|classes"):
        crops, _ = crop_table(table[:faces], "manhattan", 5, 2, min_area)
        splits.random_split(splits.add_flips(crops, enabled), 0.2, 0.2, 0)


@given(labels=st.lists(st.integers(0, 1), min_size=1, max_size=60), seed=st.integers(0, 2**32 - 1))
def test_whatever_is_balanced(labels, seed):
    crops = crops_of(labels, seed)
    samples = splits.add_flips(crops, True)
    flips = samples[samples["flip"] == 1]
    rarer = min((0, 1), key=lambda label: (labels.count(label), label))
    assert len(flips) == labels.count(rarer)
    assert set(flips["label"]) <= {rarer}
    # Boxes stay in their crops and keep their size.
    width, height = flips["x1"] - flips["x0"], flips["y1"] - flips["y0"]
    assert ((flips["box_x0"] >= 0) & (flips["box_x1"] <= width)).all()
    assert ((flips["box_y0"] >= 0) & (flips["box_y1"] <= height)).all()
    originals = crops[crops["label"] == rarer]
    for low, high in (("box_x0", "box_x1"), ("box_y0", "box_y1")):
        assert list(flips[high] - flips[low]) == list(originals[high] - originals[low])
    pd.testing.assert_frame_equal(splits.mirror(splits.mirror(crops)).drop(columns="flip"), crops)
