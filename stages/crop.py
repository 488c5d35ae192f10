"""Find the rectangle of each face: geometry only."""

import pandas as pd

from facemask.data.crops import crop_table
from facemask.io import write_csv
from stages.common import Run, run_stage


def crop(run: Run) -> None:
    """Write crops.csv and small_crops.csv."""
    faces = pd.read_csv(run.data / "annotations.csv")
    crops, small = crop_table(faces, **run.params.crop.model_dump())
    write_csv(crops, run.data / "crops.csv")
    write_csv(small, run.data / "small_crops.csv")


if __name__ == "__main__":
    run_stage(crop)
