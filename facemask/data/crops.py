"""Cut an image into one crop region a face: the pixels nearer to it than to other faces.

Geometry only: no pixel values are read here.
"""

from functools import partial

import numpy as np
import pandas as pd

from facemask import cluster
from facemask.columns import BOX, CROP_BOX, CROP_REGION
from facemask.errors import InputError

# Added to inclusive corners, it makes them half-open.
HALF_OPEN = np.array([0, 0, 1, 1])
DESCRIBED = [*CROP_REGION, *CROP_BOX, "enclosed", "touched"]


def crop_table(
    faces: pd.DataFrame, metric: str, grid_stride: int, grid_offset: int, min_area: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the crop of every face whose region is large enough, and those of the others.

    Args:
        faces: the table of `annotations.parse`.
        metric: distance of a pixel to a box: manhattan, euclidean or chebyshev.
        grid_stride, grid_offset: pixel (x, y) is in the sampling grid if (x + y) mod grid_stride =
            grid_offset.
        min_area: least area of a region, px².

    Raises:
        InputError: there are no faces, or no region is large enough.

    Returns:
        Twice one row per crop: image, face, label; x0, y0, x1, y1: the region in the image,
        and box_x0 … box_y1: the face's box in the region (both half-open pixels); enclosed and
        touched: how many other faces' boxes the region wholly holds, and how many it meets.
    """
    if faces.empty:
        raise InputError(
            "no face is left to crop: see datasets.<name>.classes, and report/validation.md "
            "for images that were left out"
        )
    boxes, sizes = faces[BOX].to_numpy(), faces[["width", "height"]].to_numpy()
    columns = np.empty((len(faces), len(DESCRIBED)), np.int64)
    images = _rows_of_images(faces)
    work = partial(_described, metric, grid_stride, grid_offset)
    items = [(boxes[rows], *sizes[rows[0]]) for rows in images]
    for rows, described in zip(images, cluster.map(work, items, "crop", "image"), strict=True):
        columns[rows] = described
    crops = faces[["image", "face", "label"]].join(
        pd.DataFrame(columns, columns=DESCRIBED, index=faces.index)
    )
    area = (crops["x1"] - crops["x0"]) * (crops["y1"] - crops["y0"])
    if area.max() < min_area:
        raise InputError(
            f"crop.min_area is {min_area} px², but the largest region has {area.max()}: lower it"
        )
    large = area >= min_area
    return crops[large].reset_index(drop=True), crops[~large].reset_index(drop=True)


def _described(
    metric: str, grid_stride: int, grid_offset: int, image: tuple[np.ndarray, int, int]
) -> np.ndarray:
    boxes, width, height = image
    return describe(regions(boxes, width, height, metric, grid_stride, grid_offset), boxes)


def partition(
    boxes: np.ndarray, width: int, height: int, metric: str, grid_stride: int, grid_offset: int
) -> np.ndarray:
    """Assign every pixel of the sampling grid to the box nearest to it; ties go to the first box.

    Args:
        boxes: int (F, 4): xmin, ymin, xmax, ymax, inclusive 0-based pixels.
        width, height: of the image, px.
        metric, grid_stride, grid_offset: as for `crop_table`.

    Returns:
        int (height, width): the number of the box at pixels of the grid, -1 at the others.
    """
    x, y = _grid(width, height, grid_stride, grid_offset)
    owners = np.full((height, width), -1)
    owners[y, x] = _nearest(boxes, x, y, metric)
    return owners


def regions(
    boxes: np.ndarray, width: int, height: int, metric: str, grid_stride: int, grid_offset: int
) -> np.ndarray:
    """Return the bounding rectangle of each face's pixels in `partition`, joined with its box.

    Args:
        boxes, width, height, metric, grid_stride, grid_offset: as for `partition`.

    Returns:
        int (F, 4): x0, y0, x1, y1, half-open.
    """
    x, y = _grid(width, height, grid_stride, grid_offset)
    face = _nearest(boxes, x, y, metric)
    found = np.asarray(boxes, np.int64) + HALF_OPEN
    np.minimum.at(found[:, 0], face, x)
    np.minimum.at(found[:, 1], face, y)
    np.maximum.at(found[:, 2], face, x + 1)
    np.maximum.at(found[:, 3], face, y + 1)
    return found


def describe(regions: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return each region, its own box inside it, and how many other boxes it holds and meets.

    Args:
        regions: int (F, 4), half-open.
        boxes: int (F, 4), inclusive pixels.

    Returns:
        int (F, 10), the columns DESCRIBED.
    """
    half_open = boxes + HALF_OPEN
    low, high = half_open[None, :, :2], half_open[None, :, 2:]
    start, end = regions[:, None, :2], regions[:, None, 2:]
    enclosed = ((low >= start) & (high <= end)).all(axis=2).sum(axis=1) - 1
    touched = ((low < end) & (high > start)).all(axis=2).sum(axis=1) - 1
    relative = half_open - np.tile(regions[:, :2], 2)
    return np.hstack([regions, relative, enclosed[:, None], touched[:, None]])


def _rows_of_images(faces: pd.DataFrame) -> list[np.ndarray]:
    return list(faces.groupby("image", sort=False).indices.values())


def _grid(width: int, height: int, stride: int, offset: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of the pixels of the sampling grid."""
    y, x = np.nonzero(np.add.outer(np.arange(height), np.arange(width)) % stride == offset)
    return x, y


def _nearest(boxes: np.ndarray, x: np.ndarray, y: np.ndarray, metric: str) -> np.ndarray:
    """Return the number of the box nearest to each pixel, the first of equally near ones."""
    owners = np.zeros(len(x), np.intp)
    least = _distance(boxes[0], x, y, metric)
    for number, box in enumerate(boxes[1:], 1):
        distance = _distance(box, x, y, metric)
        nearer = distance < least
        owners[nearer] = number
        least[nearer] = distance[nearer]
    return owners


def _distance(box: np.ndarray, x: np.ndarray, y: np.ndarray, metric: str) -> np.ndarray:
    """Return the distance of pixels to a box, 0 inside it; squared if euclidean, in integers."""
    xmin, ymin, xmax, ymax = box
    dx = np.maximum(np.maximum(xmin - x, x - xmax), 0)
    dy = np.maximum(np.maximum(ymin - y, y - ymax), 0)
    if metric == "chebyshev":
        return np.maximum(dx, dy)
    return dx**2 + dy**2 if metric == "euclidean" else dx + dy
