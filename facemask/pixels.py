"""Pixels of the samples: each photograph is decoded once, its crops cut, stretched, flipped."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from facemask.photographs import read_rgb


def pack(samples: pd.DataFrame, images: Path, outputs: Mapping[int, Path], workers: int) -> None:
    """Write one memory-mapped array an input size, row by row of `samples`.

    Args:
        samples: the table of `balance.add_flips`.
        images: folder of the photographs.
        outputs: for each side length s (px) the .npy file to write: uint8 (N, s, s, 3), RGB.
        workers: how many threads decode, each one photograph at a time.

    Raises:
        InputError: a photograph is missing or cannot be decoded.
    """
    arrays = {
        size: np.lib.format.open_memmap(path, "w+", np.uint8, (len(samples), size, size, 3))
        for size, path in outputs.items()
    }

    def write(group: pd.DataFrame) -> None:
        photograph = read_rgb(images / group["image"].iloc[0])
        for row in group.itertuples():
            crop = photograph[row.y0 : row.y1, row.x0 : row.x1]
            for size, array in arrays.items():
                array[row.sample] = stretch(cv2.flip(crop, 1) if row.flip else crop, size)

    groups = [group for _, group in samples.groupby("image")]
    with ThreadPoolExecutor(workers) as pool:
        list(tqdm(pool.map(write, groups), "pack", len(groups), unit="image"))
    for array in arrays.values():
        array.flush()


def stretch(crop: np.ndarray, size: int) -> np.ndarray:
    """Resize a crop to a square of `size` px, whatever its proportions, without moiré."""
    smaller = max(crop.shape[:2]) > size
    interpolation = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(crop, (size, size), interpolation=interpolation)


def in_batches(array: np.ndarray, title: str, batch: int = 32) -> Iterator[np.ndarray]:
    """Yield consecutive rows of a memory-mapped array under a progress bar."""
    for start in tqdm(range(0, len(array), batch), desc=title, unit="batch"):
        yield np.asarray(array[start : start + batch])
