"""The faces of packed images: what a detector is trained on and measured by."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from facemask.columns import BOX, CORNERS, CROP_REGION
from facemask.config.data import Dataset

FIRST_PIXEL = {"zero_based": 0, "one_based": 1}


class Faces(NamedTuple):
    """The faces of one image: boxes (n, 4), half-open px, and the numbers of their classes (n,)."""

    boxes: np.ndarray
    labels: np.ndarray


def whole_images(images: pd.DataFrame) -> pd.DataFrame:
    """Return images as samples that `arrays.pack` takes: each is a crop of all of it.

    Args:
        images: rows with image, width and height.
    """
    table = images[["image", "width", "height"]].reset_index(drop=True)
    table.insert(0, "sample", table.index)
    table[CROP_REGION] = np.column_stack(
        [np.zeros((len(table), 2), int), table[["width", "height"]]]
    )
    return table.assign(flip=0)


def annotated(annotations: pd.DataFrame, dataset: Dataset) -> pd.DataFrame:
    """Return annotated faces as detectors have them: image, name, x0, y0, x1, y1 (half-open px).

    Args:
        annotations: the table of `annotations.parse`, which counts pixels by `boxes`.
        dataset: says by what detectors count them.
    """
    later = FIRST_PIXEL[dataset.detector_boxes or dataset.boxes] - FIRST_PIXEL[dataset.boxes]
    sides = np.tile(annotations[["width", "height"]].to_numpy(), 2)
    ends = annotations[BOX].to_numpy() + np.array([0, 0, 1, 1])
    # A box at an edge was cut off there, and still ends there.
    corners = np.where((ends == 0) | (ends == sides), ends, ends - later)
    table = annotations[["image", "name"]].reset_index(drop=True)
    table[CORNERS] = corners
    return table


def faces_of(
    samples: pd.DataFrame, annotated: pd.DataFrame, classes: Sequence[str], shapes: np.ndarray
) -> list[Faces]:
    """Return the faces of each image as it is packed.

    Args:
        samples: the table of `whole_images`.
        annotated: the table of `annotated`.
        classes: names, of which a label is the number.
        shapes: width and height of each image as it is packed, px, (N, 2).
    """
    numbers = {name: number for number, name in enumerate(classes)}
    rows = annotated.groupby("image").indices
    boxes = annotated[CORNERS].to_numpy(float)
    labels = annotated["name"].map(numbers).to_numpy()
    scale = np.tile(shapes / samples[["width", "height"]].to_numpy(), 2)
    none = np.zeros(0, int)
    return [
        Faces(boxes[here] * scale[number], labels[here].astype(int))
        for number, image in enumerate(samples["image"])
        for here in [rows.get(image, none)]
    ]
