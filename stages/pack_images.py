"""Decode every image once, for detectors: whole, in its native aspect."""

from typing import cast

import pandas as pd

from facemask import params
from facemask.config.detector import Images
from facemask.data import arrays
from stages.common import DATA, RAW, run_stage, workers


def pack_images() -> None:
    """Write whole_images, which `shards.Crops` reads."""
    config = params.read()
    samples = pd.read_csv(DATA / "whole_images.csv")
    arrays.pack(
        samples,
        samples.iloc[:0],
        RAW / "images",
        {},
        DATA / "whole_images",
        cast(Images, config.images).max_side,  # dvc.yaml has no such stage without them
        workers(config.workers),
    )


if __name__ == "__main__":
    run_stage(pack_images)
