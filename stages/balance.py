"""Add flipped copies of the rarer class."""

import pandas as pd

from facemask.balance import add_flips
from facemask.files import write_csv
from stages.common import Run, run_stage


def balance(run: Run) -> None:
    """Write samples.csv."""
    crops = pd.read_csv(run.data / "crops.csv")
    write_csv(add_flips(crops, run.params.balance.enabled), run.data / "samples.csv")


if __name__ == "__main__":
    run_stage(balance)
