"""Find the crop region of each face: geometry only."""

import pandas as pd

from facemask import params
from facemask.data.crops import crop_table
from facemask.io import write_csv
from stages.common import DATA, run_stage


def crop() -> None:
    """Write crops.csv and extra_crops.csv."""
    faces = pd.read_csv(DATA / "annotations.csv")
    crops, extra = crop_table(faces, **params.read().crop.model_dump())
    write_csv(crops, DATA / "crops.csv")
    write_csv(extra, DATA / "extra_crops.csv")


if __name__ == "__main__":
    run_stage(crop)
