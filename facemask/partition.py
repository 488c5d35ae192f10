"""Cut a photograph into one rectangle a face: the pixels that lie nearer to it than to the others.

Geometry only: no pixel values are read here.
"""

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
        owner = assign(boxes[rows], *sizes[rows[0]], metric, modulus, remainder)
        columns[rows] = describe(rectangles(owner, boxes[rows]), boxes[rows])
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
    # Every distance is made of one that x alone decides and one that y alone decides.
    across = _distance_to_range(width, boxes[:, 0], boxes[:, 2])
    down = _distance_to_range(height, boxes[:, 1], boxes[:, 3])
    if metric == "euclidean":
        # The squared distance orders pixels as the distance does, exactly and in integers.
        across, down = across**2, down**2
    combine = np.maximum if metric == "chebyshev" else np.add
    owner = np.full((height, width), -1, np.int32)
    # In every modulus-th row the same columns are selected, every modulus-th: dense grids.
    for first in range(min(modulus, height)):
        rows = slice(first, None, modulus)
        columns = slice((remainder - first) % modulus, None, modulus)
        owner[rows, columns] = _nearest(across[:, columns], down[:, rows], combine)
    return owner


def rectangles(owner: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the bounding rectangle of each face's pixels joined with its box.

    Args:
        owner: int (height, width), as `assign` returns it.
        boxes: int (F, 4), inclusive pixels.

    Returns:
        int (F, 4): x0, y0, x1, y1, half-open.
    """
    rectangle = np.asarray(boxes, np.int64) + HALF_OPEN
    for face, found in enumerate(ndimage.find_objects(owner + 1, len(boxes))):
        if found:
            y, x = found
            low, high = rectangle[face, :2], rectangle[face, 2:]
            rectangle[face] = [
                *np.minimum(low, (x.start, y.start)), *np.maximum(high, (x.stop, y.stop))
            ]  # fmt: skip
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


def _distance_to_range(length: int, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """How far each of 0 … length - 1 lies outside the inclusive range of each face: (F, length)."""
    place = np.arange(length, dtype=np.int32)
    low, high = low[:, None].astype(np.int32), high[:, None].astype(np.int32)
    return np.maximum(np.maximum(low - place, place - high), 0)


def _nearest(across: np.ndarray, down: np.ndarray, combine: np.ufunc) -> np.ndarray:
    """The number of the face of least distance at each pixel, the first of equals: int32 (h, w)."""
    owner = np.zeros((down.shape[1], across.shape[1]), np.int32)
    nearest = combine.outer(down[0], across[0])
    for face in range(1, len(across)):
        distance = combine.outer(down[face], across[face])
        np.copyto(owner, face, where=distance < nearest)
        np.minimum(nearest, distance, out=nearest)
    return owner
