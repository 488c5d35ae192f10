"""Cut and flip the pixels of all samples: stretched to each input size, and as they are."""

import pandas as pd

from facemask import params
from facemask.data import arrays
from stages.common import DATA, RAW, run_stage, workers


def pack() -> None:
    """Write crops/<size>/inputs.npy and crops/own."""
    config = params.read()
    outputs = {size: DATA / f"crops/{size}/inputs.npy" for size in config.pack.sizes}
    samples, small = (pd.read_csv(DATA / f"{name}samples.csv") for name in ("", "small_"))
    arrays.pack(
        samples,
        small,
        RAW / "images",
        outputs,
        DATA / "crops/own",
        config.pack.limit,
        workers(config.workers),
    )


if __name__ == "__main__":
    run_stage(pack)
