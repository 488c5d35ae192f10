"""Pixels of the samples: each photograph is decoded once, its crops cut, stretched, flipped."""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from facemask.data.images import read_rgb
from facemask.io import new_array, whole, write_csv
from facemask.schema import RECTANGLE


def pack(
    samples: pd.DataFrame,
    small: pd.DataFrame,
    images: Path,
    outputs: Mapping[int, Path],
    own: Path,
    limit: int,
    workers: int,
) -> None:
    """Write arrays of all samples that can be memory-mapped, each there whole or not at all.

    Args:
        samples: the table of `splits.add_flips`.
        small: the table of `splits.number_on`, of which squares are not made.
        images: folder of the photographs.
        outputs: for each side length s (px) the .npy file of the samples stretched to squares:
            uint8 (N, s, s, 3), RGB.
        own: folder of both in their own proportions, which `Crops` reads.
        limit: their longest side, px; smaller ones stay as they are.
        workers: how many threads decode, each one photograph at a time.

    Raises:
        InputError: a photograph is missing or cannot be decoded.
    """
    # A table without rows has no types to read from a file.
    every = pd.concat([samples, small.astype(samples.dtypes)], ignore_index=True)
    cuts = every[["sample", *RECTANGLE, "flip"]].to_numpy()
    groups = every.groupby("image").indices
    shapes, starts = own_shapes(every, limit)
    with ExitStack() as stack, ThreadPoolExecutor(workers) as pool:

        def array(path: Path, shape: tuple[int, ...]) -> tuple[int, int]:
            """Where to write: a file, and where in it the pixels begin."""
            part = stack.enter_context(whole(path))
            begin = new_array(part, np.uint8, shape).offset
            return stack.enter_context(part.open("r+b")).fileno(), begin

        squares = {s: array(path, (len(samples), s, s, 3)) for s, path in outputs.items()}
        file, begin = array(own / "pixels.npy", (starts[-1],))

        def write(image: str, rows: np.ndarray) -> None:
            photograph = read_rgb(images / image)
            for sample, x0, y0, x1, y1, flip in cuts[rows].tolist():
                crop = photograph[y0:y1, x0:x1]
                crop = cv2.flip(crop, 1) if flip else crop
                for size, (square, start) in squares.items() if sample < len(samples) else ():
                    made = resize(crop, size, size)
                    os.pwrite(square, made.data, start + sample * made.nbytes)
                os.pwrite(file, resize(crop, *shapes[sample]).data, begin + starts[sample])

        done = pool.map(write, groups, groups.values())
        list(tqdm(done, "pack", len(groups), unit="image"))
    write_csv(pd.DataFrame(shapes, columns=["width", "height"]), own / "shapes.csv")


def own_shapes(samples: pd.DataFrame, limit: int) -> tuple[list[tuple[int, int]], list[int]]:
    """Return width and height of each sample in its own proportions, and where its bytes begin.

    Samples are numbered as the rows are; after their beginnings stands the end of the last.
    """
    sides = samples[["x1", "y1"]].to_numpy() - samples[["x0", "y0"]].to_numpy()
    scale = np.minimum(1, limit / sides.max(axis=1, keepdims=True))
    shapes = np.maximum(1, np.rint(sides * scale)).astype(int)
    return [tuple(shape) for shape in shapes.tolist()], _starts(shapes)


def shrunk(crop: np.ndarray, limit: int) -> np.ndarray:
    """Return a crop, uint8 (h, w, 3), as `pack` keeps it in its own proportions.

    Args:
        crop: of any size.
        limit: longest side, px; smaller crops stay as they are.
    """
    height, width = crop.shape[:2]
    scale = min(1, limit / max(width, height))
    return resize(crop, max(1, round(width * scale)), max(1, round(height * scale)))


def _starts(shapes: np.ndarray) -> list[int]:
    return [0, *np.cumsum(3 * shapes.prod(axis=1)).tolist()]


class Crops:
    """Samples in their own proportions, memory-mapped: crops[number] is uint8 (h, w, 3), RGB."""

    def __init__(self, folder: Path) -> None:
        self.pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        self.shapes = pd.read_csv(folder / "shapes.csv").to_numpy()
        self.starts = _starts(self.shapes)

    def __getitem__(self, sample: int) -> np.ndarray:
        """Return a sample by its number."""
        width, height = self.shapes[sample]
        flat = self.pixels[self.starts[sample] : self.starts[sample + 1]]
        return flat.reshape(height, width, 3)


def resize(crop: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize a crop, whatever its proportions, without moiré."""
    smaller = crop.shape[0] > height or crop.shape[1] > width
    interpolation = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(crop, (width, height), interpolation=interpolation)


def in_batches(array: np.ndarray, title: str, batch: int = 32) -> Iterator[np.ndarray]:
    """Yield consecutive rows of a memory-mapped array under a progress bar."""
    for start in tqdm(range(0, len(array), batch), desc=title, unit="batch"):
        yield np.asarray(array[start : start + batch])
