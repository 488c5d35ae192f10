"""Arrays in several files of a folder, each written by itself, and read as one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from facemask.io import atomic_write, new_array

SHARD = "{:05d}.npy"  # by number


def save(array: np.ndarray, path: Path) -> None:
    """Write a .npy file, whole or not at all."""
    with atomic_write(path) as part:
        new_array(part, array.dtype, array.shape)[...] = array


def write_places(shards: Sequence[int] | pd.Series, folder: Path) -> None:
    """Write in which shard each row lies, and where in it, as `Shards` reads it.

    In each shard rows have the order of their numbers.
    """
    column = pd.Series(shards, dtype=int)
    places = np.stack([column, column.groupby(column).cumcount()], axis=1)
    save(places.astype(np.int64), folder / "places.npy")


def _mapped(folder: Path) -> list[np.ndarray]:
    """Memory-map the shards of a folder."""
    # Views as plain arrays: a memmap makes each row one of its kind, which takes longer to make.
    files = sorted(folder.glob("[0-9]*.npy"))
    return [np.load(file, mmap_mode="r").view(np.ndarray) for file in files]


class Shards:
    """Rows of one shape in the files of a folder, memory-mapped, and indexed as one array."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.places = np.load(folder / "places.npy")
        self.files = _mapped(folder)
        self.dtype = self.files[0].dtype
        self.shape = (len(self.places), *self.files[0].shape[1:])

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.places)

    def __reduce__(self) -> tuple[type, tuple[Path]]:
        """Pickle where they lie, not what they hold."""
        return Shards, (self.folder,)

    def __getitem__(self, rows: int | slice | np.ndarray) -> np.ndarray:
        """Return a row by its number, or several as a new array."""
        if isinstance(rows, int | np.integer):
            shard, place = self.places[rows]
            return self.files[shard][place]
        places = self.places[rows]
        chosen = np.empty((len(places), *self.shape[1:]), self.dtype)
        for target, (shard, place) in zip(chosen, places.tolist(), strict=True):
            target[...] = self.files[shard][place]
        return chosen


class Crops:
    """Samples in their native aspect, memory-mapped: crops[number] is uint8 (h, w, 3), RGB."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        table = pd.read_csv(folder / "shapes.csv")
        self.shapes = table[["width", "height"]].to_numpy()
        self.files = _mapped(folder)
        sizes = 3 * self.shapes.prod(axis=1)
        ends = pd.Series(sizes).groupby(table["shard"]).cumsum().to_numpy()
        self.places = np.stack([table["shard"], ends - sizes, ends], axis=1)

    def __reduce__(self) -> tuple[type, tuple[Path]]:
        """Pickle where they lie, not what they hold."""
        return Crops, (self.folder,)

    def __getitem__(self, sample: int) -> np.ndarray:
        """Return a sample by its number."""
        shard, start, end = self.places[sample]
        width, height = self.shapes[sample]
        return self.files[shard][start:end].reshape(height, width, 3)


Inputs = np.ndarray | Shards  # (N, …), one row per sample
