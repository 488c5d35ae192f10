"""Splits of whole images with all their faces: what leaks, what is tested, shares of classes."""

import numpy as np
import pandas as pd
import pytest

from facemask.config.data import Split
from facemask.data.splits import split_images
from facemask.errors import InputError

CLASSES = ["with_mask", "without_mask", "mask_weared_incorrect"]
SHARES = [0.79, 0.18, 0.03]
COUNT = 400
NAMES = [f"{number}.png" for number in range(COUNT)]


def how(kind="grouped", **changes):
    return Split(**{"kind": kind, "test": 0.2, "val": 0.2, "seed": 1} | changes)


def tables(seed=0):
    """Images in an order of their own, faces, most in few images, and groups of one to four."""
    rng = np.random.default_rng(seed)
    counts = rng.geometric(0.25, COUNT) - 1  # of a quarter of the images none
    image = np.repeat(NAMES, counts)
    faces = pd.DataFrame({"image": image, "name": rng.choice(CLASSES, len(image), p=SHARES)})
    group = np.arange(COUNT)
    group[:120] = group[:120] // 4 * 4
    order = rng.permutation(COUNT)
    images = pd.Series(NAMES, index=np.arange(COUNT) + 5).iloc[order]
    return images, faces, pd.Series(group, index=NAMES)


def parts_of(images, split):
    return dict(zip(images, split, strict=True))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("fold", [0, 3])
def test_no_group_is_in_two_splits(seed, fold):
    images, faces, groups = tables(seed)
    part = parts_of(images, split_images(images, faces, groups, how(seed=seed, fold=fold)))
    together = {}
    for name in NAMES:
        together.setdefault(groups[name], set()).add(part[name])
    assert all(len(parts) == 1 for parts in together.values())


@pytest.mark.parametrize("kind", ["grouped", "random"])
def test_every_image_is_in_one_split_also_those_without_a_face(kind):
    images, faces, groups = tables()
    split = split_images(images, faces, groups, how(kind))
    assert len(split) == len(images)
    assert list(split.index) == list(range(COUNT))
    without = ~images.isin(faces["image"]).to_numpy()
    assert without.sum() > 50
    for chosen in (without, ~without):
        shares = split[chosen].value_counts(normalize=True)
        assert shares.to_dict() == pytest.approx({"train": 0.64, "val": 0.16, "test": 0.2}, abs=0.1)


def test_five_folds_test_every_image_once():
    images, faces, groups = tables()
    splits = [split_images(images, faces, groups, how(fold=fold)) for fold in range(5)]
    tested = np.sum([split == "test" for split in splits], axis=0)
    np.testing.assert_array_equal(tested, np.ones(COUNT))


@pytest.mark.parametrize("kind", ["grouped", "random"])
def test_classes_have_their_shares_in_each_split(kind):
    images, faces, groups = tables()
    for fold in range(5 if kind == "grouped" else 1):
        part = parts_of(images, split_images(images, faces, groups, how(kind, fold=fold)))
        of_face = faces["image"].map(part)
        for share, among in (("test", of_face.notna()), ("val", of_face != "test")):
            assert (of_face[among] == share).mean() == pytest.approx(0.2, abs=0.03)
        for _, names in faces["name"].groupby(of_face):
            found = names.value_counts(normalize=True)
            whole = faces["name"].value_counts(normalize=True)
            np.testing.assert_allclose(found[CLASSES], whole[CLASSES], atol=0.04)


def test_a_random_split_ignores_groups():
    images, faces, groups = tables()
    one = split_images(images, faces, groups, how("random"))
    other = split_images(images, faces, groups.iloc[:0], how("random"))
    pd.testing.assert_series_equal(one, other)
    part = pd.Series(parts_of(images, one))[NAMES]
    assert part.groupby(groups.to_numpy()).nunique().max() > 1


def test_a_split_depends_on_its_seed_alone():
    images, faces, groups = tables()
    one, again, other = (split_images(images, faces, groups, how(seed=seed)) for seed in (1, 1, 2))
    pd.testing.assert_series_equal(one, again)
    assert (one != other).mean() > 0.2


def test_too_few_groups_of_images_are_reported():
    images, faces, _ = tables()
    with pytest.raises(InputError, match="do not make 5 folds"):
        split_images(images, faces, pd.Series(np.arange(COUNT) % 3, index=NAMES), how())
