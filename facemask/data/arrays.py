"""Packed crops: images are decoded once; their crops are cut, flipped, resized, and kept in shards.

A shard holds what is made of some of the images: a file, written by itself. Shards are read as one
array.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from facemask import cluster
from facemask.columns import CROP_REGION
from facemask.data.affine import resize
from facemask.data.decode import read_rgb
from facemask.io import atomic_write, write_csv

IMAGES = 64  # of a shard
SHARD = "{:05d}.npy"  # by number


def pack(
    samples: pd.DataFrame,
    extra: pd.DataFrame,
    images: Path,
    outputs: Mapping[int, Path],
    native: Path,
    max_side: int,
    workers: int,
) -> None:
    """Write arrays of all samples, to be memory-mapped.

    Args:
        samples: the table of `splits.add_flips`.
        extra: the table of `splits.number_on`, of which squares are not made.
        images: folder of the images.
        outputs: for each side length s (px) the folder of the samples stretched to squares, uint8
            (N, s, s, 3), RGB, which `Shards` reads.
        native: folder of both in their native aspect, which `Crops` reads.
        max_side: their longest side, px; smaller ones keep their size.
        workers: how many threads decode, each the images of one shard.

    Raises:
        InputError: an image is missing or cannot be decoded.
    """
    # A table without rows has no types to read from a file.
    every = pd.concat([samples, extra.astype(samples.dtypes)], ignore_index=True)
    names, number = np.unique(every["image"], return_inverse=True)
    every["shard"] = number // IMAGES
    every[["width", "height"]] = _shrunk_sides(every, max_side)
    every["square"] = np.arange(len(every)) < len(samples)
    count = max(1, -(-len(names) // IMAGES))
    tables = [(shard, every[every["shard"] == shard]) for shard in range(count)]
    write = partial(_write_shard, images, outputs, native)
    for _ in cluster.map(write, tables, "pack", "shard", workers):
        pass
    for folder in outputs.values():
        write_places(every["shard"][: len(samples)], folder)
    write_csv(every[["width", "height", "shard"]], native / "shapes.csv")


def _write_shard(
    images: Path, outputs: Mapping[int, Path], native: Path, shard: tuple[int, pd.DataFrame]
) -> None:
    """Write what is made of a shard's images: a file of squares of each size, and a native one."""
    number, table = shard
    squares = {size: np.empty((table["square"].sum(), size, size, 3), np.uint8) for size in outputs}
    place = table["square"].cumsum().to_numpy() - 1
    own: list[np.ndarray] = [np.empty(0, np.uint8)] * len(table)
    cuts = table[[*CROP_REGION, "flip", "square", "width", "height"]].to_numpy().tolist()
    for image, rows in table.groupby("image").indices.items():
        pixels = read_rgb(images / image)
        for row in rows:
            x0, y0, x1, y1, flip, square, width, height = cuts[row]
            crop = pixels[y0:y1, x0:x1]
            crop = cv2.flip(crop, 1) if flip else crop
            for size, array in squares.items() if square else ():
                array[place[row]] = resize(crop, size, size)
            own[row] = resize(crop, width, height).reshape(-1)
    for size, folder in outputs.items():
        save(squares[size], folder / SHARD.format(number))
    save(np.concatenate([np.empty(0, np.uint8), *own]), native / SHARD.format(number))


def save(array: np.ndarray, path: Path) -> None:
    """Write a .npy file, whole or not at all."""
    with atomic_write(path) as part:
        np.save(part, array)


def write_places(shards: Sequence[int] | pd.Series, folder: Path) -> None:
    """Write in which shard each row lies, and where in it, as `Shards` reads it.

    In each shard rows have the order of their numbers.
    """
    column = pd.Series(shards, dtype=int)
    places = np.stack([column, column.groupby(column).cumcount()], axis=1)
    save(places.astype(np.int64), folder / "places.npy")


def shrunk(crop: np.ndarray, max_side: int) -> np.ndarray:
    """Return a crop, uint8 (h, w, 3), as `pack` keeps it in its native aspect.

    Args:
        crop: of any size.
        max_side: longest side, px; smaller crops keep their size.
    """
    height, width = crop.shape[:2]
    whole = pd.DataFrame([(0, 0, width, height)], columns=CROP_REGION)
    return resize(crop, *_shrunk_sides(whole, max_side)[0].tolist())


def _shrunk_sides(samples: pd.DataFrame, max_side: int) -> np.ndarray:
    """Return width and height of each sample in its native aspect, (N, 2) px."""
    sides = samples[["x1", "y1"]].to_numpy() - samples[["x0", "y0"]].to_numpy()
    scale = np.minimum(1, max_side / sides.max(axis=1, keepdims=True))
    return np.maximum(1, np.rint(sides * scale)).astype(int)


def _mapped(folder: Path) -> list[np.ndarray]:
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
