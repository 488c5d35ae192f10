"""The faces of packed images: what a detector is trained on and measured by."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from facemask.columns import BOX, CROP_REGION


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


def faces_of(
    samples: pd.DataFrame, annotations: pd.DataFrame, classes: Sequence[str], shapes: np.ndarray
) -> list[Faces]:
    """Return the faces of each image.

    Args:
        samples: the table of `whole_images`.
        annotations: the table of `annotations.parse`.
        classes: names, of which a label is the number.
        shapes: width and height of each image as it is packed, px, (N, 2).
    """
    numbers = {name: number for number, name in enumerate(classes)}
    rows = annotations.groupby("image").indices
    # Annotations are inclusive ranges of pixels.
    boxes = annotations[BOX].to_numpy(float) + np.array([0, 0, 1, 1])
    labels = annotations["name"].map(numbers).to_numpy()
    scale = np.tile(shapes / samples[["width", "height"]].to_numpy(), 2)
    none = np.zeros(0, int)
    return [
        Faces(boxes[here] * scale[number], labels[here].astype(int))
        for number, image in enumerate(samples["image"])
        for here in [rows.get(image, none)]
    ]
