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

from facemask.files import new_array, whole
from facemask.partition import RECTANGLE
from facemask.photographs import read_rgb


def pack(samples: pd.DataFrame, images: Path, outputs: Mapping[int, Path], workers: int) -> None:
    """Write one array an input size, a row a sample, that can be memory-mapped.

    Args:
        samples: the table of `balance.add_flips`.
        images: folder of the photographs.
        outputs: for each side length s (px) the .npy file to write: uint8 (N, s, s, 3), RGB. Each
            is there whole or not at all.
        workers: how many threads decode, each one photograph at a time.

    Raises:
        InputError: a photograph is missing or cannot be decoded.
    """
    cuts = samples[["sample", *RECTANGLE, "flip"]].to_numpy()
    groups = samples.groupby("image").indices
    with ExitStack() as stack, ThreadPoolExecutor(workers) as pool:
        files, starts = {}, {}
        for size, path in outputs.items():
            part = stack.enter_context(whole(path))
            starts[size] = new_array(part, np.uint8, (len(samples), size, size, 3)).offset
            files[size] = stack.enter_context(part.open("r+b"))

        def write(image: str, rows: np.ndarray) -> None:
            photograph = read_rgb(images / image)
            for sample, x0, y0, x1, y1, flip in cuts[rows].tolist():
                crop = photograph[y0:y1, x0:x1]
                for size, file in files.items():
                    made = stretch(cv2.flip(crop, 1) if flip else crop, size)
                    os.pwrite(file.fileno(), made.data, starts[size] + sample * made.nbytes)

        done = pool.map(write, groups, groups.values())
        list(tqdm(done, "pack", len(groups), unit="image"))


def stretch(crop: np.ndarray, size: int) -> np.ndarray:
    """Resize a crop to a square of `size` px, whatever its proportions, without moiré."""
    smaller = max(crop.shape[:2]) > size
    interpolation = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(crop, (size, size), interpolation=interpolation)


def in_batches(array: np.ndarray, title: str, batch: int = 32) -> Iterator[np.ndarray]:
    """Yield consecutive rows of a memory-mapped array under a progress bar."""
    for start in tqdm(range(0, len(array), batch), desc=title, unit="batch"):
        yield np.asarray(array[start : start + batch])
