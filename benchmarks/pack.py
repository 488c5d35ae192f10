"""What does packing cost beside decoding each photograph once with as many threads?

python -m benchmarks.pack, after `dvc repro balance`: on the dataset of params.yaml.
"""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from benchmarks.common import alternate, median, report
from facemask import photographs, pixels
from stages.common import Run

ROUNDS = 5


def main() -> None:
    """Measure."""
    run = Run()
    samples = pd.read_csv(run.data / "samples.csv")
    images = run.raw / "images"
    paths = [images / name for name in samples["image"].unique()]

    def decode() -> None:
        with ThreadPoolExecutor(run.workers) as pool:
            for _ in pool.map(photographs.read_rgb, paths):
                pass

    with tempfile.TemporaryDirectory() as folder:
        outputs = {size: Path(folder, f"{size}.npy") for size in run.params.pack.sizes}
        seconds = median(
            alternate(
                {
                    "decode": decode,
                    "pack": lambda: pixels.pack(samples, images, outputs, run.workers),
                },
                ROUNDS,
            )
        )
    row = {"photographs": len(paths), "samples": len(samples), **seconds}
    report("pack", [row | {"ratio": row["pack"] / row["decode"]}], dataset=run.params.dataset)


if __name__ == "__main__":
    main()
