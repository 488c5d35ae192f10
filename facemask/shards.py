"""Arrays in several files of a folder, each written by itself, and read as one."""

import ctypes
import math
import mmap
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from facemask.io import atomic_write, new_array

SHARD = "{:05d}.npy"  # by number
FIXED = 0x10  # mmap's MAP_FIXED, on Linux and macOS


def save(array: np.ndarray, path: Path) -> None:
    """Write a .npy file, whole or not at all."""
    with atomic_write(path) as part:
        whole = new_array(part, array.dtype, array.shape)
        whole[...] = array
        whole.flush()  # to a network drive, from which another machine may read it at once


def write_places(shards: Sequence[int] | pd.Series, folder: Path) -> None:
    """Write in which shard each row lies, and where in it, as `Shards` reads it.

    In each shard rows have the order of their numbers.
    """
    column = pd.Series(shards, dtype=int)
    places = np.stack([column, column.groupby(column).cumcount()], axis=1)
    save(places.astype(np.int64), folder / "places.npy")


def files(folder: Path) -> list[Path]:
    """Return the files of the rows in a folder, in the order of their numbers."""
    return sorted(folder.glob("[0-9]*.npy"))


def _mapped(folder: Path) -> tuple[np.ndarray, list[int]]:
    """Memory-map the shards of a folder one behind the other, as one array.

    Returns:
        The array, read-only; and the number of each shard's first row in it. Between the last row
        of a shard and the first of the next, rows may hold nothing.
    """
    paths = files(folder)
    kind = np.load(paths[0], mmap_mode="r")
    before = kind.offset
    row = int(np.prod(kind.shape[1:])) * kind.dtype.itemsize
    # A file is mapped where both a page and a row begin: so many bytes lie between two such places.
    step = math.lcm(row, mmap.ALLOCATIONGRANULARITY)
    sizes = [path.stat().st_size for path in paths]
    starts = np.cumsum([0, *(-(-size // step) * step for size in sizes)]).tolist()
    room = mmap.mmap(-1, starts[-1], mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ)
    bytes_ = np.frombuffer(room, np.uint8)
    for path, size, start in zip(paths, sizes, starts[:-1], strict=True):
        with path.open("rb") as source:
            _map_at(bytes_.ctypes.data + start, size, source.fileno())
    rows = (len(bytes_) - before) // row
    whole = bytes_[before : before + rows * row].view(kind.dtype)
    return whole.reshape(rows, *kind.shape[1:]), [start // row for start in starts[:-1]]


def _map_at(address: int, size: int, file: int) -> None:
    """Map a file to be read where memory is reserved, which Python's own mmap has no word for.

    Raises:
        OSError: the system does not.
    """
    call = ctypes.CDLL(None, use_errno=True).mmap
    call.restype = ctypes.c_void_p
    call.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *(3 * [ctypes.c_int]), ctypes.c_long]
    if call(address, size, mmap.PROT_READ, mmap.MAP_SHARED | FIXED, file, 0) != address:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Shards:
    """Rows of one shape in the files of a folder, memory-mapped, and indexed as one array."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.places = np.load(folder / "places.npy")
        self.whole, firsts = _mapped(folder)
        self.rows = np.array(firsts)[self.places[:, 0]] + self.places[:, 1]
        self.dtype = self.whole.dtype
        self.shape = (len(self.rows), *self.whole.shape[1:])

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def __reduce__(self) -> tuple[type, tuple[Path]]:
        """Pickle where they lie, not what they hold."""
        return Shards, (self.folder,)

    def __getitem__(self, rows: int | slice | np.ndarray) -> np.ndarray:
        """Return a row by its number, or several as a new array."""
        return self.whole[self.rows[rows]]


class Crops:
    """Samples in their native aspect, memory-mapped: crops[number] is uint8 (h, w, 3), RGB."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        table = pd.read_csv(folder / "shapes.csv")
        self.shapes = table[["width", "height"]].to_numpy()
        self.whole, firsts = _mapped(folder)
        sizes = 3 * self.shapes.prod(axis=1)
        ends = pd.Series(sizes).groupby(table["shard"]).cumsum().to_numpy()
        ends = ends + np.array(firsts)[table["shard"]]
        self.places = np.stack([ends - sizes, ends], axis=1)

    def __reduce__(self) -> tuple[type, tuple[Path]]:
        """Pickle where they lie, not what they hold."""
        return Crops, (self.folder,)

    def __getitem__(self, sample: int) -> np.ndarray:
        """Return a sample by its number."""
        start, end = self.places[sample]
        width, height = self.shapes[sample]
        return self.whole[start:end].reshape(height, width, 3)


Inputs = np.ndarray | Shards  # (N, …), one row per sample
