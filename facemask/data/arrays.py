"""Packed crops: images are decoded once; their crops are cut, flipped, resized, and kept in shards.

A shard holds what is made of some of the images.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from facemask import cluster
from facemask.columns import CROP_REGION
from facemask.data.affine import resize
from facemask.data.decode import read_rgb
from facemask.io import write_csv
from facemask.shards import SHARD, save, write_places

IMAGES = 64  # of a shard


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
            (N, s, s, 3), RGB, which `shards.Shards` reads.
        native: folder of both in their native aspect, which `shards.Crops` reads.
        max_side: their longest side, px; smaller ones keep their size.
        workers: how many threads decode, each the images of one shard.

    Raises:
        InputError: an image is missing or cannot be decoded.
    """
    # A table without rows has no types to read from a file.
    every = pd.concat([samples, extra.astype(samples.dtypes)], ignore_index=True)
    _, number = np.unique(every["image"], return_inverse=True)
    every["shard"] = number // IMAGES
    every[["width", "height"]] = _shrunk_sides(every, max_side)
    every["square"] = np.arange(len(every)) < len(samples)
    tables = [*every.groupby("shard")] or [(0, every)]
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
