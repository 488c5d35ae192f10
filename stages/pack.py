"""Cut and flip the pixels of all samples: stretched to each input size, and as they are."""

import pandas as pd

from facemask.data import arrays
from stages.common import Run, run_stage


def pack(run: Run) -> None:
    """Write crops/<size>/inputs.npy and crops/own."""
    folder, sizes = run.data / "crops", run.params.pack.sizes
    outputs = {size: folder / str(size) / "inputs.npy" for size in sizes}
    samples, small = (pd.read_csv(run.data / f"{name}samples.csv") for name in ("", "small_"))
    limit = run.params.pack.limit
    arrays.pack(samples, small, run.raw / "images", outputs, folder / "own", limit, run.workers)


if __name__ == "__main__":
    run_stage(pack)
