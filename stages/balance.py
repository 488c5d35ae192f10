"""Add flipped copies of the rarer class."""

import pandas as pd

from facemask.data.splits import add_flips, number_on
from facemask.io import write_csv
from stages.common import Run, run_stage


def balance(run: Run) -> None:
    """Write samples.csv, and small_samples.csv with the numbers after."""
    crops, small = (pd.read_csv(run.data / name) for name in ("crops.csv", "small_crops.csv"))
    samples = add_flips(crops, run.params.balance.enabled)
    write_csv(samples, run.data / "samples.csv")
    write_csv(number_on(small, len(samples)), run.data / "small_samples.csv")


if __name__ == "__main__":
    run_stage(balance)
