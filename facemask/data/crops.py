"""Cut a photograph into one rectangle a face: the pixels that lie nearer to it than to the others.

Geometry only: no pixel values are read here.
"""

import numpy as np
import pandas as pd
from tqdm import tqdm

from facemask.errors import InputError
from facemask.schema import BOX, CROP_BOX, RECTANGLE

# Added to inclusive corners, it makes them half-open.
HALF_OPEN = np.array([0, 0, 1, 1])
DESCRIBED = [*RECTANGLE, *CROP_BOX, "enclosed", "touched"]


def crop_table(
    faces: pd.DataFrame, metric: str, modulus: int, remainder: int, min_area: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the crop of every face whose rectangle is large enough, and those of the others.

    Args:
        faces: the table of `annotations.parse`.
        metric: distance of a pixel to a box: manhattan, euclidean or chebyshev.
        modulus, remainder: pixel (x, y) is looked at if (x + y) mod modulus = remainder.
        min_area: least area of a rectangle, px².

    Raises:
        InputError: there are no faces, or no rectangle is large enough.

    Returns:
        Twice one row a crop: image, face, label; x0, y0, x1, y1: the rectangle in the photograph,
        and box_x0 … box_y1: the face's box in the rectangle (both half-open pixels); enclosed and
        touched: how many other faces' boxes the rectangle wholly holds, and how many it meets.
    """
    if faces.empty:
        raise InputError(
            "no face is left to crop: see datasets.<name>.classes, and report/validation.md "
            "for photographs that were left out"
        )
    boxes, sizes = faces[BOX].to_numpy(), faces[["width", "height"]].to_numpy()
    columns = np.empty((len(faces), len(DESCRIBED)), np.int64)
    for rows in tqdm(_rows_of_images(faces), desc="crop", unit="image"):
        width, height = sizes[rows[0]]
        found = rectangles(boxes[rows], width, height, metric, modulus, remainder)
        columns[rows] = describe(found, boxes[rows])
    crops = faces[["image", "face", "label"]].join(
        pd.DataFrame(columns, columns=DESCRIBED, index=faces.index)
    )
    area = (crops["x1"] - crops["x0"]) * (crops["y1"] - crops["y0"])
    if area.max() < min_area:
        raise InputError(
            f"crop.min_area is {min_area} px², but the largest rectangle has {area.max()}: lower it"
        )
    large = area >= min_area
    return crops[large].reset_index(drop=True), crops[~large].reset_index(drop=True)


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
    nearest = _nearest(boxes, width, height, metric, modulus, remainder)
    y, k = np.nonzero(nearest)
    owner[y, _first_column(y, modulus, remainder) + k * modulus] = nearest[y, k] - 1
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
    nearest = _nearest(boxes, width, height, metric, modulus, remainder)
    # Pixels that follow each other in a row and belong to one face are looked at as one run.
    flat = nearest.ravel()
    change = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    start, stop = np.append(0, change), np.append(change, flat.size)
    theirs = flat[start] > 0
    start, stop = start[theirs], stop[theirs]
    face = flat[start].astype(np.intp) - 1
    y, k = np.divmod(start, nearest.shape[1])
    x = _first_column(y, modulus, remainder) + k * modulus
    low, high = (np.asarray(boxes, np.int64) + HALF_OPEN).T.reshape(2, 2, -1)
    np.minimum.at(low[0], face, x)
    np.minimum.at(low[1], face, y)
    np.maximum.at(high[0], face, x + (stop - start - 1) * modulus + 1)
    np.maximum.at(high[1], face, y + 1)
    return np.vstack([low, high]).T


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


def _first_column(y: np.ndarray, modulus: int, remainder: int) -> np.ndarray:
    """Return the first selected column of rows y; every modulus-th from there on is selected."""
    return (remainder - y) % modulus


def _nearest(
    boxes: np.ndarray, width: int, height: int, metric: str, modulus: int, remainder: int
) -> np.ndarray:
    """Return the nearest box of the selected pixels alone, row by row and without gaps.

    Returns:
        int (height, ceil(width / modulus) + 1): the number from 1 of the box nearest to the k-th
        selected pixel of row y; 0 where the row has no k-th, and so at the end of every row.
    """
    # Every distance is made of one that x alone decides and one that y alone decides.
    across = _distance_to_range(width, boxes[:, 0], boxes[:, 2])
    down = _distance_to_range(height, boxes[:, 1], boxes[:, 3])
    if metric == "euclidean":
        # The squared distance orders pixels as the distance does, exactly and in integers.
        across, down = across**2, down**2
    # Distance and number in one integer, the number in its low bits: the least of them is the
    # nearest box and, among equals, the first.
    faces = len(boxes)
    bits = faces.bit_length()
    kind = np.min_scalar_type(-(int(across.max() + down.max() + 1) << bits))
    number = np.arange(1, faces + 1)[:, None]
    # Rows with the same residue select the same columns. Columns and rows that the photograph does
    # not have fill the arrays up.
    groups, most = -(-height // modulus), -(-width // modulus) + 1
    first = _first_column(np.arange(modulus), modulus, remainder)
    columns = first[:, None] + modulus * np.arange(most)
    across = ((across << bits) + number).astype(kind)[:, np.minimum(columns, width - 1)]
    rows = np.zeros((faces, groups * modulus), kind)
    rows[:, :height] = down << bits
    combine: np.ufunc = np.add
    if metric == "chebyshev":
        combine, rows = np.maximum, rows + number.astype(kind)
    nearest = _least(rows.reshape(faces, groups, modulus, 1), across[:, None], combine)
    nearest &= (1 << bits) - 1
    nearest[:, columns >= width] = 0
    return nearest.reshape(-1, most)[:height]


def _distance_to_range(length: int, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """How far each of 0 … length - 1 lies outside the inclusive range of each face: (F, length)."""
    place = np.arange(length)
    return np.maximum(np.maximum(low[:, None] - place, place - high[:, None]), 0)


def _least(down: np.ndarray, across: np.ndarray, combine: np.ufunc) -> np.ndarray:
    """Combine rows (F, g, m, 1) with columns (F, 1, m, w); keep the least face: (g, m, w)."""
    least = combine(down[0], across[0])
    one = np.empty_like(least)
    for y, x in zip(down[1:], across[1:], strict=True):
        combine(y, x, out=one)
        np.minimum(least, one, out=least)
    return least
