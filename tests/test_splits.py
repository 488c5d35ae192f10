"""Both kinds of split and the leak between parts, against plain loops; flips against pixels."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemask.config.data import Split
from facemask.data import splits
from facemask.data.crops import crop_table
from facemask.data.splits import (
    grouped_split,
    headline,
    leaking,
    number_on,
    only_training,
    random_split,
    split,
    summary,
)
from facemask.errors import InputError

PARTS = {"train", "val", "test"}


def samples_of(crops, rare, images, seed=0):
    """Crops of random images, of which `rare` are without mask and come flipped too."""
    rng = np.random.default_rng(seed)
    label = np.ones(crops, int)
    label[rng.choice(crops, rare, replace=False)] = 0
    image = [f"{number}.png" for number in rng.integers(0, images, crops)]
    table = pd.DataFrame({"image": image, "face": range(crops), "label": label, "flip": 0})
    table = pd.concat([table, table[table["label"] == 0].assign(flip=1)], ignore_index=True)
    table.insert(0, "sample", table.index)
    return table


def groups_of(images, pairs):
    """Images 0, 2, 4 … each have a near-duplicate, for the first `pairs` of them."""
    group = {f"{n}.png": n - 1 if n % 2 and n < 2 * pairs else n for n in range(images)}
    return pd.Series(group)


# The study's 2,141 samples are the first; the second are those of 1,861 crops, 259 without a mask.
@pytest.mark.parametrize(
    ("crops", "rare", "sizes"),
    [
        (1861, 280, {"train": 1370, "val": 343, "test": 428}),
        (1861, 259, {"train": 1356, "val": 340, "test": 424}),
        (80, 20, {"train": 64, "val": 16, "test": 20}),
    ],
)
def test_sizes_of_the_random_split(crops, rare, sizes):
    splits = random_split(samples_of(crops, rare, 700), 0.2, 0.2, 42)
    assert splits["split"].value_counts().to_dict() == sizes


def test_the_random_split_shuffles_all_samples_by_its_seed():
    samples = samples_of(300, 60, 100)
    first = random_split(samples, 0.2, 0.2, 1)
    pd.testing.assert_frame_equal(first.drop(columns="split"), samples)
    pd.testing.assert_frame_equal(first, random_split(samples, 0.2, 0.2, 1))
    other = random_split(samples, 0.2, 0.2, 2)
    # Two independent draws agree on about .64² + .16² + .2² = 48 % of the samples.
    assert 0.35 < (first["split"] == other["split"]).mean() < 0.6
    for part in PARTS:
        numbers = first.loc[first["split"] == part, "sample"]
        # Neither the images' order nor the flips' place at the end decides.
        assert numbers.min() < 20
        assert numbers.max() > 340
        assert 0 < first.loc[first["split"] == part, "flip"].mean() < 0.5


@pytest.mark.parametrize(("crops", "share"), [(3, 0.2), (2, 0.4), (100, 0.999)])
def test_a_part_without_samples_is_reported(crops, share):
    with pytest.raises(InputError, match="no sample is left for"):
        random_split(samples_of(crops, 0, 3), share, share, 0)


@pytest.fixture(scope="module", params=[0, 1, 2])
def grouped(request):
    """Samples about as in the real dataset: 14 % of the minority class, 30 pairs of duplicates."""
    samples, groups = samples_of(500, 70, 220, request.param), groups_of(220, 30)
    return grouped_split(samples, groups, 0.2, 0.2, request.param), groups


def test_no_group_is_in_two_parts(grouped):
    splits, groups = grouped
    parts = {}
    for row in splits[splits["split"] != "unused"].itertuples():
        parts.setdefault(groups[row.image], set()).add(row.split)
    assert all(len(part) == 1 for part in parts.values())
    assert leaking(splits, groups) == 0


def test_flips_are_in_training_only_and_beside_their_crops(grouped):
    splits, _ = grouped
    flips = splits[splits["flip"] == 1]
    assert set(flips["split"]) == {"train", "unused"}
    crops = splits[splits["flip"] == 0].set_index("face")["split"]
    for flip in flips.itertuples():
        assert (flip.split == "train") == (crops[flip.face] == "train")
    assert set(crops) == PARTS  # no crop is lost


def test_parts_are_stratified_and_of_about_the_wanted_shares(grouped):
    splits, _ = grouped
    crops = splits[splits["flip"] == 0]
    share = crops["split"].value_counts(normalize=True)
    assert share["test"] == pytest.approx(0.2, abs=0.03)
    assert share["val"] == pytest.approx(0.16, abs=0.03)
    for part in PARTS:
        assert (crops[crops["split"] == part]["label"] == 0).mean() == pytest.approx(0.14, abs=0.04)


def test_an_entry_of_splits_is_taken_at_its_word():
    samples, groups = samples_of(300, 60, 120), groups_of(120, 10)
    random = split(samples, groups, Split(kind="random", test=0.3, val=0.1, seed=4))
    pd.testing.assert_frame_equal(random, random_split(samples, 0.3, 0.1, 4))
    grouped = split(samples, groups, Split(kind="grouped", test=0.3, val=0.1, seed=4, fold=2))
    pd.testing.assert_frame_equal(grouped, grouped_split(samples, groups, 0.3, 0.1, 4, 2))
    assert not grouped.equals(grouped_split(samples, groups, 0.3, 0.1, 4))


def test_the_grouped_split_follows_its_seed():
    samples, groups = samples_of(200, 40, 90), groups_of(90, 5)
    first, again, other = (
        grouped_split(samples, groups, 0.2, 0.2, seed)["split"] for seed in (1, 1, 2)
    )
    assert first.equals(again)
    assert not first.equals(other)


@pytest.mark.parametrize("seed", range(3))
def test_flips_do_not_weigh_in_which_crops_are_tested(seed):
    samples, groups = samples_of(200, 40, 90, seed), groups_of(90, 5)
    crops = samples[samples["flip"] == 0]
    both, alone = (grouped_split(each, groups, 0.2, 0.2, seed) for each in (samples, crops))
    assert both.loc[crops.index, "split"].equals(alone["split"])


@pytest.mark.parametrize(("share", "tested"), [(0.1, 0.1), (0.5, 0.5), (0.9, 0.5)])
def test_a_fold_is_about_the_share_and_at_most_a_half(share, tested):
    samples, groups = samples_of(400, 100, 200), groups_of(200, 5)
    splits = grouped_split(samples, groups, share, 0.2, 0)
    crops = splits[splits["flip"] == 0]
    assert (crops["split"] == "test").mean() == pytest.approx(tested, abs=0.03)


def test_every_crop_is_tested_in_one_of_the_folds():
    samples, groups = samples_of(300, 60, 120), groups_of(120, 10)
    how = {"kind": "grouped", "test": 0.2, "val": 0.2, "seed": 3}
    folds = [split(samples, groups, Split(**how, fold=fold)) for fold in range(5)]
    tested = [set(splits.loc[splits["split"] == "test", "sample"]) for splits in folds]
    assert sorted(sample for fold in tested for sample in fold) == list(
        samples.loc[samples["flip"] == 0, "sample"]
    )


def one_crop_an_image(labels):
    image = [f"{number}.png" for number in range(len(labels))]
    samples = pd.DataFrame({"image": image, "face": 0, "label": labels, "flip": 0})
    return samples, pd.Series(range(len(labels)), index=image)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        pytest.param([0, 1, 0, 1], "4 groups of images do not make 5", id="groups"),
        pytest.param([0, 1] * 4, "too few samples", id="of both classes fewer than folds"),
        pytest.param([1] * 30 + [0], "split", id="one group of a class for three parts"),
        pytest.param([1] * 30, "all of one class", id="one class only"),
    ],
)
@pytest.mark.filterwarnings("ignore:The least populated class")
def test_too_few_groups_for_both_classes_in_each_part_are_reported(labels, message):
    with pytest.raises(InputError, match=message):
        grouped_split(*one_crop_an_image(labels), 0.2, 0.2, 0)


def test_as_many_groups_as_folds_are_enough():
    # Two crops an image: one of five images is tested, one of the other four validates.
    image = [f"{number}.png" for number in range(5) for _ in range(2)]
    samples = pd.DataFrame({"image": image, "face": 0, "label": [0, 1] * 5, "flip": 0})
    groups = pd.Series(range(5), index=sorted(set(image)))
    splits = grouped_split(samples, groups, 0.2, 0.25, 0)
    assert splits["split"].value_counts().to_dict() == {"train": 6, "test": 2, "val": 2}


@pytest.mark.parametrize("kind", ["random", "grouped"])
def test_extra_crops_train_of_images_that_train_alone(kind):
    groups, samples = groups_of(150, 40), samples_of(300, 60, 120)
    splits = split(samples, groups, Split(kind=kind, test=0.2, val=0.2, seed=5))
    extra = samples_of(400, 100, 150, seed=1).assign(sample=lambda table: table["sample"] + 360)
    found = only_training(extra, splits, groups)
    assert (found["split"] == "train").all()
    parts = {}
    for row in splits.itertuples():
        parts.setdefault(groups[row.image], set()).add(row.split)
    expected = [
        row.sample
        for row in extra.itertuples()
        if parts.get(groups[row.image], set()) - {"unused"} == {"train"}
    ]
    assert found["sample"].tolist() == expected
    assert 0 < len(found) < len(extra)
    both = pd.concat([splits, found])
    assert leaking(both, groups) == leaking(splits, groups)


def test_without_extra_crops_tables_of_no_row_go_from_file_to_file(tmp_path):
    groups, samples = groups_of(150, 40), samples_of(300, 60, 120)
    splits = random_split(samples, 0.2, 0.2, 5)
    table = samples.drop(columns=["sample", "flip"])[:0]
    for change in (
        lambda table: number_on(table, len(samples)),
        lambda table: only_training(table, splits, groups),
    ):
        table.to_csv(tmp_path / "table.csv", index=False)
        table = change(pd.read_csv(tmp_path / "table.csv"))
    assert list(table) == list(splits)
    assert table.empty


@pytest.mark.parametrize("seed", range(5))
def test_leaking_samples_against_a_loop(seed):
    rng = np.random.default_rng(seed)
    samples, groups = samples_of(60, 20, 50, seed), groups_of(50, 12)
    parts = rng.choice(["train", "val", "test", "unused"], len(samples), p=[0.2, 0.1, 0.5, 0.2])
    splits = samples.assign(split=parts)
    count = 0
    for tested in splits[splits["split"] == "test"].itertuples():
        for other in splits.itertuples():
            if other.split in ("train", "val") and groups[other.image] == groups[tested.image]:
                count += 1
                break
    assert 0 < count < (parts == "test").sum()
    assert leaking(splits, groups) == count


def test_summary_of_a_small_table():
    rows = [
        ("a.png", 1, 0, "train"),
        ("a.png", 0, 0, "test"),
        ("a.png", 0, 1, "unused"),
        ("b.png", 1, 0, "val"),
        ("c.png", 1, 0, "test"),
        ("d.png", 1, 0, "test"),
    ]
    splits = pd.DataFrame(rows, columns=["image", "label", "flip", "split"])
    # c.png shows the scene of b.png; e.png has no crop that is large enough.
    groups = pd.Series([0, 1, 1, 2, 3], [f"{name}.png" for name in "abcde"])
    validation = {"images": 5, "left_out": ["f.png", "g.png"], "faces": 9}
    extra = pd.DataFrame({"image": ["e.png"] * 3, "label": [1, 0, 0]})
    counts = summary(splits, extra, groups, validation)
    assert headline(counts) == {"images": 5, "test": 3, "leaks": 2}
    assert counts == {
        "images": 5,
        "left_out": 2,
        "faces": 9,
        "crops": 5,
        "crops_with_mask": 4,
        "crops_without_mask": 1,
        "samples": 6,
        "train": 1,
        "val": 1,
        "test": 3,
        "extra_crops": 3,
        "extra_crops_without_mask": 2,
        "leaking_test_samples": 2,
    }


@given(
    crops=st.integers(30, 200),
    rare=st.floats(0.2, 0.5),
    images=st.integers(12, 120),
    pairs=st.integers(0, 6),
    shares=st.tuples(st.floats(0.1, 0.4), st.floats(0.1, 0.4)),
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["random", "grouped"]),
)
def test_whatever_is_divided(crops, rare, images, pairs, shares, seed, kind):
    """Every sample is in one part, all parts hold both classes, or it is said why not."""
    samples = samples_of(crops, int(rare * crops), images, seed)
    groups = groups_of(images, pairs)
    try:
        splits = split(samples, groups, Split(kind=kind, test=shares[0], val=shares[1], seed=seed))
    except InputError as error:
        assert "split" in str(error)
        return
    pd.testing.assert_frame_equal(splits.drop(columns="split"), samples)
    assert set(splits["split"]) <= PARTS | ({"unused"} if kind == "grouped" else set())
    for part in PARTS:
        assert set(splits.loc[splits["split"] == part, "label"]) == {0, 1}
    if kind == "grouped":
        assert leaking(splits, groups) == 0
        assert not splits.loc[splits["split"].isin(["val", "test"]), "flip"].any()
    else:
        tested = (splits["split"] == "test").sum()
        assert tested == int(shares[0] * len(samples))


def test_a_grouped_split_that_leaks_stops_the_run(monkeypatch):
    samples, groups = samples_of(200, 40, 90), groups_of(90, 5)
    monkeypatch.setattr(splits, "leaking", lambda *_: 3)
    with pytest.raises(AssertionError, match="3 test samples leak"):
        grouped_split(samples, groups, 0.2, 0.2, 1)


# Flipped copies: mirrored boxes against mirrored pixels.

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
def test_each_crop_of_the_minority_class_comes_once_more_at_the_end(rare, common):
    crops = crops_of([common, rare, common, common, rare])
    samples = splits.add_flips(crops, True)
    assert list(samples["sample"]) == list(range(7))
    assert list(samples["flip"]) == [0, 0, 0, 0, 0, 1, 1]
    assert list(samples["face"]) == [0, 1, 2, 3, 4, 1, 4]
    assert list(samples["label"]) == [common, rare, common, common, rare, rare, rare]
    pd.testing.assert_frame_equal(samples[:5].drop(columns=["sample", "flip"]), crops)
    # A flip is the same piece of the same image.
    region = ["image", "x0", "y0", "x1", "y1"]
    assert samples.loc[[5, 6], region].to_numpy().tolist() == (
        samples.loc[[1, 4], region].to_numpy().tolist()
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


def test_a_class_alone_has_no_minority_to_copy():
    # Doubling the only class would balance nothing.
    assert len(splits.add_flips(crops_of([1, 1, 1]), True)) == 3


def test_extra_crops_are_numbered_after_the_samples():
    extra = crops_of([1, 0, 1])
    rows = splits.number_on(extra, 7)
    assert rows["sample"].tolist() == [7, 8, 9]
    assert list(rows) == list(splits.add_flips(extra, True))
    pd.testing.assert_frame_equal(rows[list(extra)], extra)
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
    minority = min((0, 1), key=lambda label: (labels.count(label), label))
    assert len(flips) == labels.count(minority)
    assert set(flips["label"]) <= {minority}
    # Boxes stay in their crops and keep their size.
    width, height = flips["x1"] - flips["x0"], flips["y1"] - flips["y0"]
    assert ((flips["box_x0"] >= 0) & (flips["box_x1"] <= width)).all()
    assert ((flips["box_y0"] >= 0) & (flips["box_y1"] <= height)).all()
    originals = crops[crops["label"] == minority]
    for low, high in (("box_x0", "box_x1"), ("box_y0", "box_y1")):
        assert list(flips[high] - flips[low]) == list(originals[high] - originals[low])
    pd.testing.assert_frame_equal(splits.mirror(splits.mirror(crops)).drop(columns="flip"), crops)
