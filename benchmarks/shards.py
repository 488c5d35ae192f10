"""What does it cost to read arrays from shards, beside one memory-mapped file?

python -m benchmarks.shards, after `dvc repro pack embed`: on the dataset of params.yaml, from the
page cache. A minute.
"""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.common import alternate, median, report
from facemask.shards import Inputs, Shards
from stages.common import DATA

BATCH, ROUNDS = 32, 9


def reader(array: Inputs, rows: np.ndarray) -> Callable[[], None]:
    """Return a function that reads rows, a batch at a time."""

    def read() -> None:
        for start in range(0, len(rows), BATCH):
            array[rows[start : start + BATCH]]

    return read


def main() -> None:
    """Measure."""
    rows = []
    for folder in sorted([*DATA.glob("crops/[0-9]*"), *DATA.glob("features/*")]):
        shards = Shards(folder)
        orders = {
            "in order": np.arange(len(shards)),
            "shuffled": np.random.default_rng(0).permutation(len(shards)),
        }
        with tempfile.TemporaryDirectory() as temporary:
            # Both are written anew, so that neither lies better in memory.
            file, copies = Path(temporary, "one.npy"), Path(temporary, "shards")
            np.save(file, shards[:])
            whole, shards = np.load(file, mmap_mode="r"), Shards(shutil.copytree(folder, copies))
            for order, numbers in orders.items():
                readers = {"one file": reader(whole, numbers), "shards": reader(shards, numbers)}
                seconds = median(alternate(readers, ROUNDS))
                rates = {name: len(numbers) / taken for name, taken in seconds.items()}
                row = {"array": folder.relative_to(DATA).as_posix(), "rows": order, **rates}
                rows.append(row | {"ratio": rates["shards"] / rates["one file"]})
    report("shards", rows)


if __name__ == "__main__":
    main()
