"""Cut and flip the pixels of all samples: resized to squares, and in their native aspect."""

import pandas as pd

from facemask import params
from facemask.data import arrays
from stages.common import DATA, RAW, run_stage, workers


def pack() -> None:
    """Write crops/<size>, which `shards.Shards` reads, and crops/native, which `Crops` does."""
    config = params.read()
    outputs = {size: DATA / f"crops/{size}" for size in config.arrays.sizes}
    samples, extra = (pd.read_csv(DATA / f"{name}samples.csv") for name in ("", "extra_"))
    arrays.pack(
        samples,
        extra,
        RAW / "images",
        outputs,
        DATA / "crops/native",
        config.arrays.max_side,
        workers(config.workers),
    )


if __name__ == "__main__":
    run_stage(pack)
