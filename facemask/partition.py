"""Cut a photograph into one rectangle a face: the pixels that lie nearer to it than to the others.

Geometry only: no pixel values are read here.
"""

import numpy as np
import pandas as pd
from tqdm import tqdm

from facemask.errors import InputError

BOX = ["xmin", "ymin", "xmax", "ymax"]
RECTANGLE = ["x0", "y0", "x1", "y1"]
# Added to inclusive corners, it makes them half-open.
HALF_OPEN = np.array([0, 0, 1, 1])
CROP_BOX = ["box_x0", "box_y0", "box_x1", "box_y1"]


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
    parts = []
    for _, group in tqdm(faces.groupby("image", sort=False), desc="crop", unit="image"):
        boxes = group[BOX].to_numpy()
        width, height = group[["width", "height"]].iloc[0]
        owner = assign(boxes, width, height, metric, modulus, remainder)
        parts.append(
            group[["image", "face", "label"]].join(
                describe(rectangles(owner, boxes), boxes).set_index(group.index)
            )
        )
    if not parts:
        raise InputError("no face is left to crop: see datasets.<name>.classes")
    crops = pd.concat(parts)
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
    y, x = np.nonzero((np.arange(height)[:, None] + np.arange(width)) % modulus == remainder)
    nearest = np.full(len(x), np.iinfo(np.int32).max, np.int32)
    owner_of_selected = np.full(len(x), -1, np.int32)
    across, down = np.arange(width, dtype=np.int32), np.arange(height, dtype=np.int32)
    for face, (xmin, ymin, xmax, ymax) in enumerate(np.asarray(boxes, np.int32)):
        dx = np.maximum(np.maximum(xmin - across, across - xmax), 0)[x]
        dy = np.maximum(np.maximum(ymin - down, down - ymax), 0)[y]
        distance = _combine(dx, dy, metric)
        nearer = distance < nearest
        nearest[nearer] = distance[nearer]
        owner_of_selected[nearer] = face
    owner = np.full((height, width), -1, np.int32)
    owner[y, x] = owner_of_selected
    return owner


def rectangles(owner: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the bounding rectangle of each face's pixels joined with its box.

    Args:
        owner: int (height, width), as `assign` returns it.
        boxes: int (F, 4), inclusive pixels.

    Returns:
        int (F, 4): x0, y0, x1, y1, half-open.
    """
    y, x = np.nonzero(owner >= 0)
    face = owner[y, x]
    rectangle = np.array(boxes, dtype=np.int64)
    np.minimum.at(rectangle[:, 0], face, x)
    np.minimum.at(rectangle[:, 1], face, y)
    np.maximum.at(rectangle[:, 2], face, x)
    np.maximum.at(rectangle[:, 3], face, y)
    return rectangle + HALF_OPEN


def describe(rectangle: np.ndarray, boxes: np.ndarray) -> pd.DataFrame:
    """Return each rectangle, its own box inside it, and how many other boxes it holds and meets.

    Args:
        rectangle: int (F, 4), half-open.
        boxes: int (F, 4), inclusive pixels.
    """
    half_open = boxes + HALF_OPEN
    low, high = half_open[None, :, :2], half_open[None, :, 2:]
    start, end = rectangle[:, None, :2], rectangle[:, None, 2:]
    enclosed = ((low >= start) & (high <= end)).all(axis=2).sum(axis=1) - 1
    touched = ((low < end) & (high > start)).all(axis=2).sum(axis=1) - 1
    relative = half_open - np.tile(rectangle[:, :2], 2)
    columns = np.hstack([rectangle, relative, enclosed[:, None], touched[:, None]])
    return pd.DataFrame(columns, columns=[*RECTANGLE, *CROP_BOX, "enclosed", "touched"])


def _combine(dx: np.ndarray, dy: np.ndarray, metric: str) -> np.ndarray:
    if metric == "manhattan":
        return dx + dy
    if metric == "chebyshev":
        return np.maximum(dx, dy)
    # The squared distance orders pixels as the Euclidean one does, exactly and in integers.
    return dx * dx + dy * dy
