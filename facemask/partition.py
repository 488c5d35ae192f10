"""Cut a photograph into one rectangle a face: the pixels that lie nearer to it than to the others.

Geometry only: no pixel values are read here.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import ndimage
from tqdm import tqdm

from facemask.errors import InputError

BOX = ["xmin", "ymin", "xmax", "ymax"]
RECTANGLE = ["x0", "y0", "x1", "y1"]
# Added to inclusive corners, it makes them half-open.
HALF_OPEN = np.array([0, 0, 1, 1])
CROP_BOX = ["box_x0", "box_y0", "box_x1", "box_y1"]
DESCRIBED = [*RECTANGLE, *CROP_BOX, "enclosed", "touched"]


def crop_table(
    faces: pd.DataFrame, metric: str, modulus: int, remainder: int, min_area: int
) -> pd.DataFrame:
    """Return the crop of every face whose rectangle is large enough.

    Args:
        faces: the table of `annotations.parse`.
        metric: distance of a pixel to a box: manhattan, euclidean or chebyshev.
        modulus, remainder: pixel (x, y) is looked at if (x + y) mod modulus = remainder.
        min_area: least area of a rectangle, px².

    Raises:
        InputError: there are no faces, or no rectangle is large enough.

    Returns:
        One row a crop: image, face, label; x0, y0, x1, y1: the rectangle in the photograph and
        box_x0 … box_y1: the face's box in the rectangle (both half-open pixels); enclosed and
        touched: how many other faces' boxes the rectangle wholly holds, and how many it meets.
    """
    if faces.empty:
        raise InputError("no face is left to crop: see datasets.<name>.classes")
    boxes, sizes = faces[BOX].to_numpy(), faces[["width", "height"]].to_numpy()
    columns = np.empty((len(faces), len(DESCRIBED)), np.int64)
    for rows in tqdm(_rows_of_images(faces), desc="crop", unit="image"):
        found = rectangles(boxes[rows], *sizes[rows[0]], metric, modulus, remainder)
        columns[rows] = describe(found, boxes[rows])
    crops = faces[["image", "face", "label"]].join(
        pd.DataFrame(columns, columns=DESCRIBED, index=faces.index)
    )
    area = (crops["x1"] - crops["x0"]) * (crops["y1"] - crops["y0"])
    if area.max() < min_area:
        raise InputError(
            f"crop.min_area is {min_area} px², but the largest rectangle has {area.max()}: lower it"
        )
    return crops[area >= min_area].reset_index(drop=True)


def assign(
    boxes: np.ndarray, width: int, height: int, metric: str, modulus: int, remainder: int
) -> np.ndarray:
    """Give every selected pixel to the box nearest to it; ties go to the first box.

    Args:
        boxes: int (F, 4): xmin, ymin, xmax, ymax, inclusive 0-based pixels.

    Returns:
        int32 (height, width): the number of the box at selected pixels, -1 at the others.
    """
    owner = np.full((height, width), -1, np.int32)
    for rows, columns, nearest in _grids(boxes, width, height, metric, modulus, remainder):
        owner[rows, columns] = nearest - 1
    return owner


def rectangles(
    boxes: np.ndarray, width: int, height: int, metric: str, modulus: int, remainder: int
) -> np.ndarray:
    """Return the bounding rectangle of each face's pixels, as `assign` gives them, and its box.

    Args:
        boxes: int (F, 4), inclusive pixels.

    Returns:
        int (F, 4): x0, y0, x1, y1, half-open.
    """
    found = [
        (
            face,
            columns.start + x.start * modulus,
            rows.start + y.start * modulus,
            columns.start + (x.stop - 1) * modulus + 1,
            rows.start + (y.stop - 1) * modulus + 1,
        )
        for rows, columns, nearest in _grids(boxes, width, height, metric, modulus, remainder)
        for face, place in enumerate(ndimage.find_objects(nearest, len(boxes)))
        if place
        for y, x in [place]
    ]
    face, x0, y0, x1, y1 = np.array(found, np.int64).reshape(-1, 5).T
    rectangle = np.asarray(boxes, np.int64) + HALF_OPEN
    for side, values, extreme in zip(
        rectangle.T, (x0, y0, x1, y1), 2 * [np.minimum] + 2 * [np.maximum], strict=True
    ):
        extreme.at(side, face, values)
    return rectangle


def describe(rectangle: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return each rectangle, its own box inside it, and how many other boxes it holds and meets.

    Args:
        rectangle: int (F, 4), half-open.
        boxes: int (F, 4), inclusive pixels.

    Returns:
        int (F, 10), the columns DESCRIBED.
    """
    half_open = boxes + HALF_OPEN
    low, high = half_open[None, :, :2], half_open[None, :, 2:]
    start, end = rectangle[:, None, :2], rectangle[:, None, 2:]
    enclosed = ((low >= start) & (high <= end)).all(axis=2).sum(axis=1) - 1
    touched = ((low < end) & (high > start)).all(axis=2).sum(axis=1) - 1
    relative = half_open - np.tile(rectangle[:, :2], 2)
    return np.hstack([rectangle, relative, enclosed[:, None], touched[:, None]])


def _rows_of_images(faces: pd.DataFrame) -> list[np.ndarray]:
    return list(faces.groupby("image", sort=False).indices.values())


def _grids(
    boxes: np.ndarray, width: int, height: int, metric: str, modulus: int, remainder: int
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Yield rows, columns and, of the pixels where they cross, the nearest box's number from 1.

    In every modulus-th row the same columns are selected, every modulus-th: these are dense grids
    that hold all selected pixels and no others.
    """
    # Every distance is made of one that x alone decides and one that y alone decides.
    across = _distance_to_range(width, boxes[:, 0], boxes[:, 2])
    down = _distance_to_range(height, boxes[:, 1], boxes[:, 3])
    if metric == "euclidean":
        # The squared distance orders pixels as the distance does, exactly and in integers.
        across, down = across**2, down**2
    # Distance and number in one integer, the number in its low bits: the least of them is the
    # nearest box and, among equals, the first.
    bits = len(boxes).bit_length()
    number = np.arange(1, len(boxes) + 1)[:, None]
    farthest = int(across.max() + down.max() + 1) << bits
    kind = np.min_scalar_type(-farthest)
    across, down = ((across << bits) + number).astype(kind), (down << bits).astype(kind)
    combine = np.add
    if metric == "chebyshev":
        combine, down = np.maximum, down + number.astype(kind)
    for first in range(min(modulus, height)):
        rows = slice(first, None, modulus)
        columns = slice((remainder - first) % modulus, None, modulus)
        nearest = _least(
            down[:, rows, None], np.ascontiguousarray(across[:, None, columns]), combine
        )
        if nearest.size:
            yield rows, columns, nearest & ((1 << bits) - 1)


def _distance_to_range(length: int, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """How far each of 0 … length - 1 lies outside the inclusive range of each face: (F, length)."""
    place = np.arange(length)
    return np.maximum(np.maximum(low[:, None] - place, place - high[:, None]), 0)


def _least(down: np.ndarray, across: np.ndarray, combine: np.ufunc) -> np.ndarray:
    """Combine rows (F, h, 1) and columns (F, 1, w) of each face; keep the least: (h, w)."""
    least = combine(down[0], across[0])
    one = np.empty_like(least)
    for y, x in zip(down[1:], across[1:], strict=True):
        combine(y, x, out=one)
        np.minimum(least, one, out=least)
    return least
