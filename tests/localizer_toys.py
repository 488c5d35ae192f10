"""Toys that tests of localizers share: crops with a coloured square in each, and settings."""

from pathlib import Path

import numpy as np
import pandas as pd
from toys import packed_crops

from facemask import params
from facemask.config.localizer import ResolvedLocalizer

ROOT = Path(__file__).parents[1]
SIZE = 64
SPLITS = ["train"] * 16 + ["val"] * 4 + ["test"] * 4


def model_input(**changes):
    whole = {"size": SIZE, "resize_mode": "letterbox", "target_face_fraction": 0.4, "passes": 2}
    return whole | changes


def settings(**changes):
    entry = params.read(ROOT).localizers["localizer"].model_dump()
    entry |= {"model_input": model_input(), "channels": 8, "batch_size": 8, "epochs": 2}
    entry |= {"seed": 3, "application": "Small", "weights": "random"}
    return ResolvedLocalizer.model_validate(entry | changes)


def squares(folder):
    """Grey crops of several aspects with a square in each: red without a mask, else blue."""
    rng = np.random.default_rng(0)
    rows, images = [], []
    for number, split in enumerate(SPLITS):
        width, height = (int(side) for side in rng.integers(40, 90, 2))
        side = int(rng.integers(12, 24))
        x, y = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
        image = np.full((height, width, 3), 90, np.uint8)
        image[y : y + side, x : x + side] = (0, 0, 255) if number % 2 else (255, 0, 0)
        images.append(image)
        rows.append((number, 0, 0, width, height, x, y, x + side, y + side, number % 2, split))
    names = ["sample", "x0", "y0", "x1", "y1", "box_x0", "box_y0", "box_x1", "box_y1", "label"]
    splits = pd.DataFrame(rows, columns=[*names, "split"]).assign(image="a.png", face=0, flip=0)
    return packed_crops(folder, images), splits


def colours(image):
    """The corners of the coloured square in an image, in parts of it, and whether it is blue."""
    red, blue = ((image[..., c].astype(int) - image[..., 2 - c]) > 60 for c in (0, 2))
    y, x = np.nonzero(red | blue)
    corners = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]) / len(image)
    return corners, blue.sum() > red.sum()
