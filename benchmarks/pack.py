"""What does packing cost beside decoding each photograph once with as many threads?

python -m benchmarks.pack [FOLDER], after `dvc repro split`: on the dataset of params.yaml. FOLDER
may hold some of its photographs in another encoding: Kaggle's own files are 16-bit RGBA.
"""

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from benchmarks.common import alternate, median, report
from facemask import params
from facemask.config import Config
from facemask.data import arrays
from facemask.data.images import read_rgb
from stages.common import DATA, RAW, workers

ROUNDS = 9


def measure(
    config: Config, samples: pd.DataFrame, small: pd.DataFrame, images: Path, folder: Path
) -> dict[str, float]:
    """Time decoding and packing; `folder` is where to."""
    paths = [images / name for name in pd.concat([samples, small])["image"].unique()]
    outputs = {size: folder / f"{size}.npy" for size in config.pack.sizes}
    limit, threads = config.pack.limit, workers(config.workers)

    def decode() -> None:
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(read_rgb, paths):
                pass

    def pack() -> None:
        arrays.pack(samples, small, images, outputs, folder / "own", limit, threads)

    seconds = median(alternate({"decode": decode, "pack": pack}, ROUNDS))
    row = {
        "photographs": len(paths),
        "samples": len(samples),
        "small crops": len(small),
        **seconds,
    }
    return row | {"ratio": row["pack"] / row["decode"]}


def main() -> None:
    """Measure."""
    config = params.read()
    samples, small = (pd.read_csv(DATA / f"{name}samples.csv") for name in ("", "small_"))
    images = RAW / "images"
    with tempfile.TemporaryDirectory() as folder:
        rows = [{"files": "the dataset's"} | measure(config, samples, small, images, Path(folder))]
        if len(sys.argv) > 1:
            others = Path(sys.argv[1])
            names = [path.name for path in others.iterdir()]
            samples, small = (table[table["image"].isin(names)] for table in (samples, small))
            numbers = range(len(samples) + len(small))
            samples = samples.assign(sample=numbers[: len(samples)])
            small = small.assign(sample=numbers[len(samples) :])
            rows.append(
                {"files": "of FOLDER"} | measure(config, samples, small, others, Path(folder))
            )
    report("pack", rows, "FOLDER" if len(sys.argv) > 1 else "", dataset=config.dataset)


if __name__ == "__main__":
    main()
