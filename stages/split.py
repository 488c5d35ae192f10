"""Add flipped copies of the minority class, and assign samples to training, validation and test."""

import numpy as np
import pandas as pd

from facemask import params
from facemask.data import near_duplicates, splits
from facemask.io import read_json, write_csv, write_json
from facemask.reporting.near_duplicates_plot import group_sheet
from stages.common import DATA, METRICS, REPORT, run_stage


def split() -> None:
    """Write samples, groups and splits, the extra training crops, and the counts of all of it."""
    config = params.read()
    crops, extra = (pd.read_csv(DATA / name) for name in ("crops.csv", "extra_crops.csv"))
    samples = splits.add_flips(crops, config.balance.enabled)
    extra = splits.number_on(extra, len(samples))
    write_csv(samples, DATA / "samples.csv")
    write_csv(extra, DATA / "extra_samples.csv")

    images, faces = (pd.read_csv(DATA / name) for name in ("images.csv", "annotations.csv"))
    thumbnails = np.load(DATA / "thumbnails.npy", mmap_mode="r")
    groups = near_duplicates.group(images, faces, thumbnails, config.near_duplicates)
    write_csv(groups.reset_index(), DATA / "groups.csv")
    group_sheet(groups, images, thumbnails, REPORT / "near_duplicates.jpg")

    chosen = splits.split(samples, groups, config.splits[config.split])
    write_csv(chosen, DATA / "splits.csv")
    extra = splits.only_training(extra, chosen, groups)
    write_csv(extra, DATA / "extra_splits.csv")

    counts = splits.summary(chosen, extra, groups, read_json(REPORT / "validation.json"))
    write_json(counts, DATA / "counts.json")
    write_json(splits.headline(counts), METRICS / "data.json")


if __name__ == "__main__":
    run_stage(split)
