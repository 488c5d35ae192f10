"""Split samples into training, validation and test; flips, extra training crops, leaks."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from facemask.config.data import Split, folds
from facemask.errors import InputError


def split(samples: pd.DataFrame, groups: pd.Series, how: Split) -> pd.DataFrame:
    """Split samples by an entry of `splits`.

    Args:
        samples: the table of `add_flips`.
        groups: the group of each image, indexed by image name.
        how: kind, shares, seed and fold.

    Returns:
        `samples` with a column split: train, val, test, or unused for flips outside training.

    Raises:
        InputError: as `random_split` and `grouped_split`.
    """
    if how.kind == "random":
        return random_split(samples, how.test, how.val, how.seed)
    return grouped_split(samples, groups, how.test, how.val, how.seed, how.fold)


def random_split(samples: pd.DataFrame, test: float, val: float, seed: int) -> pd.DataFrame:
    """Split as the study does: shuffle all samples, flipped ones too, and cut.

    Flips and other faces of one image fall into different splits, so its metrics are optimistic.

    Args:
        samples: the table of `splits.add_flips`.
        test: share of all samples; the first floor(test · n) of the shuffled ones.
        val: share of the remaining ones; they are the last.
        seed: of the shuffle.

    Returns:
        `samples` with a column split: train, val or test.

    Raises:
        InputError: a split has no sample, or samples of one class alone.
    """
    order = np.random.default_rng(seed).permutation(len(samples))
    tested = int(test * len(samples))
    trained = int((1 - val) * (len(samples) - tested))
    split = np.full(len(samples), "val", dtype=object)
    split[order[:tested]] = "test"
    split[order[tested : tested + trained]] = "train"
    return _checked(samples.assign(split=split))


def grouped_split(
    samples: pd.DataFrame, groups: pd.Series, test: float, val: float, seed: int, fold: int = 0
) -> pd.DataFrame:
    """Split so that no image, near-duplicate or flipped copy is in two splits.

    Args:
        samples: the table of `splits.add_flips`.
        groups: the group of each image, indexed by image name.
        test: share of all samples, taken as one of round(1 / test) folds stratified by class.
        val: share of the remaining ones, likewise.
        seed: of the folds.
        fold: which of the folds is tested; every image is tested in one of them.

    Returns:
        `samples` with a column split: train, val, test, or unused for flips outside training.

    Raises:
        InputError: too few groups of images for both classes in each split.
        AssertionError: a test sample's group also trains or validates.
    """
    group = samples["image"].map(groups)
    split = np.full(len(samples), "train", dtype=object)
    # Flips follow their crops, so that they weigh nothing in the stratification.
    crops = samples.index[samples["flip"] == 0]
    tested = _one_fold(crops, samples["label"], group, test, seed, fold)
    rest = crops.difference(crops[tested])
    validated = _one_fold(rest, samples["label"], group, val, seed, 0)
    split[group.isin(group[crops[tested]])] = "test"
    split[group.isin(group[rest[validated]])] = "val"
    split[(samples["flip"] == 1) & (split != "train")] = "unused"
    splits = _checked(samples.assign(split=split))
    leaks = leaking(splits, groups)
    if leaks:  # what this split is for
        raise AssertionError(f"{leaks} test samples leak in the grouped split")
    return splits


def split_images(
    images: pd.Series, faces: pd.DataFrame, groups: pd.Series, how: Split
) -> pd.Series:
    """Split whole images, with all their faces.

    Args:
        images: their names.
        faces: the table of `annotations.parse`; the classes in it are stratified.
        groups: the group of each image, indexed by image name.
        how: kind, shares, seed and fold; a random split does without the groups.

    Returns:
        train, val or test, in the order of `images`.

    Raises:
        InputError: too few images or groups of them.
    """
    # A row per face, so that crowds count for more; an image without one counts, too.
    rows = images.to_frame("image").merge(faces[["image", "name"]], how="left").fillna("none")
    group = rows["image"].map(groups) if how.kind == "grouped" else rows["image"]
    tested = _one_fold(rows.index, rows["name"], group, how.test, how.seed, how.fold)
    rest = rows.index.difference(rows.index[tested])
    validated = _one_fold(rest, rows["name"], group, how.val, how.seed, 0)
    split = pd.Series("train", index=pd.Index(images))
    split[rows["image"][rest[validated]].unique()] = "val"
    split[rows["image"][tested].unique()] = "test"
    return split.reset_index(drop=True)


def only_training(extra: pd.DataFrame, splits: pd.DataFrame, groups: pd.Series) -> pd.DataFrame:
    """Return the extra crops that may train: those of images in training alone.

    Nor may a near-duplicate of such an image validate or test, in any split. Images
    without a sample, crowds whose crops are all small, stay out: validation metrics did not show
    whether they help.

    Args:
        extra: the table of `splits.number_on`.
        splits: what `split` returned.
        groups: the group of each image, indexed by image name.

    Returns:
        Rows of `extra` with a column split, which is train.
    """
    own, group = extra["image"].map(groups), splits["image"].map(groups)
    trains, evaluates = (
        group[splits["split"].isin(parts)] for parts in (["train"], ["val", "test"])
    )
    return extra[own.isin(trains) & ~own.isin(evaluates)].assign(split="train")


def leaking(splits: pd.DataFrame, groups: pd.Series) -> int:
    """Count test samples whose image, or a near-duplicate of it, also trains or validates."""
    group = splits["image"].map(groups)
    tested = splits["split"] == "test"
    seen = group[splits["split"].isin(["train", "val"])]
    return int(group[tested].isin(seen).sum())


def summary(
    splits: pd.DataFrame,
    extra: pd.DataFrame,
    groups: pd.Series,
    validation: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the counts of counts.json: images, faces, crops by class, samples by split.

    Args:
        splits: what `split` returned.
        extra: what `only_training` returned.
        groups: the group of each image, indexed by image name.
        validation: what `annotations.parse` returns about the dataset.
    """
    crops = splits[splits["flip"] == 0]
    sizes = splits["split"].value_counts()
    return {
        "images": validation["images"],
        "left_out": len(validation["left_out"]),
        "faces": validation["faces"],
        "crops": len(crops),
        "crops_with_mask": int((crops["label"] == 1).sum()),
        "crops_without_mask": int((crops["label"] == 0).sum()),
        "samples": len(splits),
        **{name: int(sizes[name]) for name in ("train", "val", "test")},
        "extra_crops": len(extra),
        "extra_crops_without_mask": int((extra["label"] == 0).sum()),
        "leaking_test_samples": leaking(splits, groups),
    }


def headline(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counts that `dvc metrics` shows; leaks are of test samples."""
    return {
        "images": counts["images"],
        "test": counts["test"],
        "leaks": counts["leaking_test_samples"],
    }


def _one_fold(
    rows: pd.Index, labels: pd.Series, group: pd.Series, share: float, seed: int, fold: int
) -> np.ndarray:
    """Return the positions in `rows` of one stratified fold of about `share` of them."""
    number = folds(share)
    if group[rows].nunique() < number:
        raise InputError(_too_few_groups(group[rows], number))
    # Not of the rarer class: of that some folds may have none, which `_checked` then says.
    if (most := labels[rows].value_counts().iloc[0]) < number:
        raise InputError(
            f"split: too few samples, at most {most} of each class for {number} folds; raise test "
            "or val of the split, lower crop.min_area, or add images"
        )
    # Takes a second, which a random split need not wait for.
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(number, shuffle=True, random_state=seed)
    return list(splitter.split(rows, labels[rows], group[rows]))[fold][1]


def _too_few_groups(group: pd.Series, folds: int) -> str:
    """What to do when images are too few, or too many are taken for copies of one another."""
    largest = group.value_counts().iloc[0]
    return (
        f"split: {group.nunique()} groups of images do not make {folds} folds; the largest group "
        f"has {largest} of {len(group)} crops. report/near_duplicates.jpg shows which images are "
        "taken for copies of one another. If they are not, raise near_duplicates.similarity; if "
        "they are, add images, lower crop.min_area, or raise test or val of the split"
    )


def _checked(splits: pd.DataFrame) -> pd.DataFrame:
    labels = splits.groupby("split")["label"]
    sizes, classes = labels.size(), labels.nunique()
    parts = ("train", "val", "test")
    for name in parts:
        if name not in sizes:
            raise InputError(
                f"split: no sample is left for {name} out of {len(splits)}; change test or "
                "val of the split, lower crop.min_area, or add images"
            )
    for name in parts:
        if classes[name] < 2:
            raise InputError(
                f"split: the {sizes[name]} samples of {name} are all of one class; lower "
                "crop.min_area, add images of the other, or change test, val or "
                "seed of the split"
            )
    return splits


def add_flips(crops: pd.DataFrame, enabled: bool) -> pd.DataFrame:
    """Return the samples: all crops, then a flipped copy of each crop of the minority class.

    Args:
        crops: the table of `crops.crop_table`.
        enabled: False leaves the classes as they are.

    Returns:
        The columns of `crops` after sample (number of the row) and before flip (1 if mirrored, and
        then the box is mirrored too).
    """
    samples = crops.assign(flip=0)
    if enabled:
        minority = crops["label"].value_counts().reindex([0, 1], fill_value=0).idxmin()
        samples = pd.concat([samples, mirror(crops[crops["label"] == minority])])
    samples = samples.reset_index(drop=True)
    samples.insert(0, "sample", samples.index)
    return samples


def number_on(extra: pd.DataFrame, first: int) -> pd.DataFrame:
    """Return the crops under min_area as a table like that of the samples.

    Args:
        extra: the second table of `crops.crop_table`.
        first: number of the first of them; samples have those below.
    """
    rows = extra.assign(flip=0)
    rows.insert(0, "sample", range(first, first + len(rows)))
    return rows


def mirror(crops: pd.DataFrame) -> pd.DataFrame:
    """Return crops mirrored left to right: column x of a crop of width w becomes w - 1 - x."""
    width = crops["x1"] - crops["x0"]
    return crops.assign(box_x0=width - crops["box_x1"], box_x1=width - crops["box_x0"], flip=1)
