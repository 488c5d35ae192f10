"""Both kinds of split, and the leak between sides, against plain loops."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemask.config import Split
from facemask.data import splits
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


def samples_of(crops, rare, photographs, seed=0):
    """Crops of random photographs, of which `rare` are without mask and come flipped too."""
    rng = np.random.default_rng(seed)
    label = np.ones(crops, int)
    label[rng.choice(crops, rare, replace=False)] = 0
    image = [f"{number}.png" for number in rng.integers(0, photographs, crops)]
    table = pd.DataFrame({"image": image, "face": range(crops), "label": label, "flip": 0})
    table = pd.concat([table, table[table["label"] == 0].assign(flip=1)], ignore_index=True)
    table.insert(0, "sample", table.index)
    return table


def groups_of(photographs, pairs):
    """Photographs 0, 2, 4 … each have a near-duplicate, for the first `pairs` of them."""
    group = {f"{n}.png": n - 1 if n % 2 and n < 2 * pairs else n for n in range(photographs)}
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
        # Neither the photographs' order nor the flips' place at the end decides.
        assert numbers.min() < 20
        assert numbers.max() > 340
        assert 0 < first.loc[first["split"] == part, "flip"].mean() < 0.5


@pytest.mark.parametrize(("crops", "share"), [(3, 0.2), (2, 0.4), (100, 0.999)])
def test_a_part_without_samples_is_told(crops, share):
    with pytest.raises(InputError, match="no sample is left for"):
        random_split(samples_of(crops, 0, 3), share, share, 0)


@pytest.fixture(scope="module", params=[0, 1, 2])
def grouped(request):
    """Samples about as in the real dataset: 14 % of the rarer class, 30 pairs of duplicates."""
    samples, groups = samples_of(500, 70, 220, request.param), groups_of(220, 30)
    return grouped_split(samples, groups, 0.2, 0.2, request.param), groups


def test_no_group_is_on_two_sides(grouped):
    splits, groups = grouped
    sides = {}
    for row in splits[splits["split"] != "unused"].itertuples():
        sides.setdefault(groups[row.image], set()).add(row.split)
    assert all(len(side) == 1 for side in sides.values())
    assert leaking(splits, groups) == 0


def test_flips_are_in_training_only_and_beside_their_crops(grouped):
    splits, _ = grouped
    flips = splits[splits["flip"] == 1]
    assert set(flips["split"]) == {"train", "unused"}
    crops = splits[splits["flip"] == 0].set_index("face")["split"]
    for flip in flips.itertuples():
        assert (flip.split == "train") == (crops[flip.face] == "train")
    assert set(crops) == PARTS  # no crop is lost


def test_parts_are_stratified_and_of_about_the_shares_asked_for(grouped):
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


def test_a_fold_that_is_not_there_is_told():
    with pytest.raises(InputError, match=r"fold is 5.*0\.\.4"):
        grouped_split(samples_of(300, 60, 120), groups_of(120, 10), 0.2, 0.2, 3, 5)


def one_crop_a_photograph(labels):
    image = [f"{number}.png" for number in range(len(labels))]
    samples = pd.DataFrame({"image": image, "face": 0, "label": labels, "flip": 0})
    return samples, pd.Series(range(len(labels)), index=image)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        pytest.param([0, 1, 0, 1], "4 groups of photographs do not make 5", id="groups"),
        pytest.param([0, 1] * 4, "too few samples", id="of both classes fewer than folds"),
        pytest.param([1] * 30 + [0], "split", id="one group of a class for three parts"),
        pytest.param([1] * 30, "all of one class", id="one class only"),
    ],
)
@pytest.mark.filterwarnings("ignore:The least populated class")
def test_too_few_groups_for_both_classes_in_each_part_are_told(labels, told):
    with pytest.raises(InputError, match=told):
        grouped_split(*one_crop_a_photograph(labels), 0.2, 0.2, 0)


def test_as_many_groups_as_folds_are_enough():
    # Two crops a photograph: one of five photographs is tested, one of the other four validates.
    image = [f"{number}.png" for number in range(5) for _ in range(2)]
    samples = pd.DataFrame({"image": image, "face": 0, "label": [0, 1] * 5, "flip": 0})
    groups = pd.Series(range(5), index=sorted(set(image)))
    splits = grouped_split(samples, groups, 0.2, 0.25, 0)
    assert splits["split"].value_counts().to_dict() == {"train": 6, "test": 2, "val": 2}


@pytest.mark.parametrize("kind", ["random", "grouped"])
def test_small_crops_train_of_photographs_that_do_not_judge(kind):
    groups, samples = groups_of(150, 40), samples_of(300, 60, 120)
    splits = split(samples, groups, Split(kind=kind, test=0.2, val=0.2, seed=5))
    small = samples_of(400, 100, 150, seed=1).assign(sample=lambda table: table["sample"] + 360)
    found = only_training(small, splits, groups)
    assert (found["split"] == "train").all()
    parts = {}
    for row in splits.itertuples():
        parts.setdefault(groups[row.image], set()).add(row.split)
    expected = [
        row.sample
        for row in small.itertuples()
        if parts.get(groups[row.image], set()) - {"unused"} == {"train"}
    ]
    assert found["sample"].tolist() == expected
    assert 0 < len(found) < len(small)
    both = pd.concat([splits, found])
    assert leaking(both, groups) == leaking(splits, groups)


def test_without_small_crops_tables_of_no_row_go_from_file_to_file(tmp_path):
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
    photographs = pd.DataFrame(
        {"image": [f"{name}.png" for name in "abcde"], "group": [0, 1, 1, 2, 3]}
    )
    validation = {"images": 5, "left_out": ["f.png", "g.png"], "faces": 9}
    small = pd.DataFrame({"image": ["e.png"] * 3, "label": [1, 0, 0]})
    counts = summary(splits, small, photographs, validation)
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
        "small_crops": 3,
        "small_crops_without_mask": 2,
        "leaking_test_samples": 2,
    }


@given(
    crops=st.integers(30, 200),
    rare=st.floats(0.2, 0.5),
    photographs=st.integers(12, 120),
    pairs=st.integers(0, 6),
    shares=st.tuples(st.floats(0.1, 0.4), st.floats(0.1, 0.4)),
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["random", "grouped"]),
)
def test_whatever_is_divided(crops, rare, photographs, pairs, shares, seed, kind):
    """Every sample is on one side, all sides hold both classes, or it is said why not."""
    samples = samples_of(crops, int(rare * crops), photographs, seed)
    groups = groups_of(photographs, pairs)
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
