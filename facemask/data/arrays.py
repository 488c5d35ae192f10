"""Packed arrays of crops: each image is decoded once, its crops are cut, flipped and resized."""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from facemask.columns import CROP_REGION
from facemask.data.affine import resize
from facemask.data.decode import read_rgb
from facemask.io import atomic_write, new_array, write_csv


def pack(
    samples: pd.DataFrame,
    extra: pd.DataFrame,
    images: Path,
    outputs: Mapping[int, Path],
    native: Path,
    max_side: int,
    workers: int,
) -> None:
    """Write arrays of all samples, to be memory-mapped; each is complete or absent.

    Args:
        samples: the table of `splits.add_flips`.
        extra: the table of `splits.number_on`, of which squares are not made.
        images: folder of the images.
        outputs: for each side length s (px) the .npy file of the samples stretched to squares:
            uint8 (N, s, s, 3), RGB.
        native: folder of both in their native aspect, which `Crops` reads.
        max_side: their longest side, px; smaller ones keep their size.
        workers: how many threads decode, each one image at a time.

    Raises:
        InputError: an image is missing or cannot be decoded.
    """
    # A table without rows has no types to read from a file.
    every = pd.concat([samples, extra.astype(samples.dtypes)], ignore_index=True)
    cuts = every[["sample", *CROP_REGION, "flip"]].to_numpy()
    groups = every.groupby("image").indices
    shapes, starts = native_shapes(every, max_side)
    with ExitStack() as stack, ThreadPoolExecutor(workers) as pool:

        def array(path: Path, shape: tuple[int, ...]) -> tuple[int, int]:
            """Where to write: a file, and where in it the pixels begin."""
            part = stack.enter_context(atomic_write(path))
            begin = new_array(part, np.uint8, shape).offset
            return stack.enter_context(part.open("r+b")).fileno(), begin

        squares = {s: array(path, (len(samples), s, s, 3)) for s, path in outputs.items()}
        file, begin = array(native / "pixels.npy", (starts[-1],))

        def write(image: str, rows: np.ndarray) -> None:
            pixels = read_rgb(images / image)
            for sample, x0, y0, x1, y1, flip in cuts[rows].tolist():
                crop = pixels[y0:y1, x0:x1]
                crop = cv2.flip(crop, 1) if flip else crop
                for size, (square, start) in squares.items() if sample < len(samples) else ():
                    made = resize(crop, size, size)
                    os.pwrite(square, made.data, start + sample * made.nbytes)
                os.pwrite(file, resize(crop, *shapes[sample]).data, begin + starts[sample])

        done = pool.map(write, groups, groups.values())
        list(tqdm(done, "pack", len(groups), unit="image"))
    write_csv(pd.DataFrame(shapes, columns=["width", "height"]), native / "shapes.csv")


def native_shapes(samples: pd.DataFrame, max_side: int) -> tuple[list[tuple[int, int]], list[int]]:
    """Return width and height of each sample in its native aspect, and where its bytes begin.

    Samples are numbered as the rows are; after their beginnings stands the end of the last.
    """
    sides = samples[["x1", "y1"]].to_numpy() - samples[["x0", "y0"]].to_numpy()
    shapes = _shrunk_sides(sides, max_side)
    return [tuple(shape) for shape in shapes.tolist()], _starts(shapes)


def shrunk(crop: np.ndarray, max_side: int) -> np.ndarray:
    """Return a crop, uint8 (h, w, 3), as `pack` keeps it in its native aspect.

    Args:
        crop: of any size.
        max_side: longest side, px; smaller crops keep their size.
    """
    sides = np.array([crop.shape[1::-1]])
    return resize(crop, *_shrunk_sides(sides, max_side)[0].tolist())


def _shrunk_sides(sides: np.ndarray, max_side: int) -> np.ndarray:
    """Return widths and heights (N, 2) of which none is longer than max_side."""
    scale = np.minimum(1, max_side / sides.max(axis=1, keepdims=True))
    return np.maximum(1, np.rint(sides * scale)).astype(int)


def _starts(shapes: np.ndarray) -> list[int]:
    return [0, *np.cumsum(3 * shapes.prod(axis=1)).tolist()]


class Crops:
    """Samples in their native aspect, memory-mapped: crops[number] is uint8 (h, w, 3), RGB."""

    def __init__(self, folder: Path) -> None:
        self.pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        self.shapes = pd.read_csv(folder / "shapes.csv").to_numpy()
        self.starts = _starts(self.shapes)

    def __getitem__(self, sample: int) -> np.ndarray:
        """Return a sample by its number."""
        width, height = self.shapes[sample]
        flat = self.pixels[self.starts[sample] : self.starts[sample + 1]]
        return flat.reshape(height, width, 3)


def in_batches(array: np.ndarray, title: str, batch: int = 32) -> Iterator[np.ndarray]:
    """Yield consecutive rows of a memory-mapped array under a progress bar."""
    for start in tqdm(range(0, len(array), batch), desc=title, unit="batch"):
        yield np.asarray(array[start : start + batch])
