"""Add flipped copies of the minority class, and say which samples train, validate and test."""

import pandas as pd

from facemask import params
from facemask.data import splits
from facemask.io import read_json, write_csv, write_json
from stages.common import DATA, METRICS, REPORT, run_stage


def split() -> None:
    """Write samples and splits, the small crops beside them, and the counts of all of it."""
    config = params.read()
    crops, small = (pd.read_csv(DATA / name) for name in ("crops.csv", "small_crops.csv"))
    samples = splits.add_flips(crops, config.balance.enabled)
    small = splits.number_on(small, len(samples))
    write_csv(samples, DATA / "samples.csv")
    write_csv(small, DATA / "small_samples.csv")

    photographs = pd.read_csv(DATA / "photographs.csv")
    groups = photographs.set_index("image")["group"]
    chosen = splits.split(samples, groups, config.splits[config.split])
    write_csv(chosen, DATA / "splits.csv")
    small = splits.only_training(small, chosen, groups)
    write_csv(small, DATA / "small_splits.csv")

    counts = splits.summary(chosen, small, photographs, read_json(REPORT / "validation.json"))
    write_json(counts, DATA / "counts.json")
    write_json(splits.headline(counts), METRICS / "data.json")


if __name__ == "__main__":
    run_stage(split)
