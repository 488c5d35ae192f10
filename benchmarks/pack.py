"""What does packing cost beside decoding each image once with as many threads?

python -m benchmarks.pack [FOLDER], after `dvc repro split`: on the dataset of params.yaml. FOLDER
may hold some of its images in another encoding: Kaggle's own files are 16-bit RGBA.
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
from facemask.data.decode import read_rgb
from stages.common import DATA, RAW, workers

ROUNDS = 9


def measure(
    config: Config, samples: pd.DataFrame, extra: pd.DataFrame, images: Path, folder: Path
) -> dict[str, float]:
    """Time decoding and packing; `folder` is where to."""
    paths = [images / name for name in pd.concat([samples, extra])["image"].unique()]
    outputs = {size: folder / str(size) for size in config.arrays.sizes}
    max_side, threads = config.arrays.max_side, workers(config.workers)

    def decode() -> None:
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(read_rgb, paths):
                pass

    def pack() -> None:
        arrays.pack(samples, extra, images, outputs, folder / "native", max_side, threads)

    seconds = median(alternate({"decode": decode, "pack": pack}, ROUNDS))
    row = {
        "images": len(paths),
        "samples": len(samples),
        "extra crops": len(extra),
        **seconds,
    }
    return row | {"ratio": row["pack"] / row["decode"]}


def main() -> None:
    """Measure."""
    config = params.read()
    samples, extra = (pd.read_csv(DATA / f"{name}samples.csv") for name in ("", "extra_"))
    images = RAW / "images"
    with tempfile.TemporaryDirectory() as folder:
        rows = [{"files": "the dataset's"} | measure(config, samples, extra, images, Path(folder))]
        if len(sys.argv) > 1:
            others = Path(sys.argv[1])
            names = [path.name for path in others.iterdir()]
            samples, extra = (table[table["image"].isin(names)] for table in (samples, extra))
            numbers = range(len(samples) + len(extra))
            samples = samples.assign(sample=numbers[: len(samples)])
            extra = extra.assign(sample=numbers[len(samples) :])
            rows.append(
                {"files": "of FOLDER"} | measure(config, samples, extra, others, Path(folder))
            )
    report("pack", rows, "FOLDER" if len(sys.argv) > 1 else "", dataset=config.dataset)


if __name__ == "__main__":
    main()
