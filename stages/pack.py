"""Cut, stretch and flip the pixels of all samples: one array an input size."""

import pandas as pd

from facemask import pixels
from stages.common import Run, run_stage


def pack(run: Run) -> None:
    """Write crops/<size>/inputs.npy."""
    outputs = {size: run.data / f"crops/{size}/inputs.npy" for size in run.params.pack.sizes}
    samples = pd.read_csv(run.data / "samples.csv")
    pixels.pack(samples, run.raw / "images", outputs, run.workers)


if __name__ == "__main__":
    run_stage(pack)
