"""From an image to the faces in it: one function for evaluation, prediction and exported models.

Whatever runs the network (Keras, ONNX) is handed in, so that none of them is imported here.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from facemask.data.affine import PADDING

# From an image, uint8 (h, w, 3), RGB, and the longest side of what the network sees of it, px, to
# boxes (k, 4), px of the image, and scores (k, classes).
Run = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]

MULTIPLE = 32  # px: sides of a model input are multiples of it
# Tiles have that part of their side in common with the next: what one of them cuts off, another
# holds, if it is not larger.
OVERLAP = 0.25
EDGE = 2  # px of a tile: a box that is nearer to an edge is cut off there
# Boxes from several views that overlap more are of one face.
SAME_FACE = 0.5


class Detections(NamedTuple):
    """The faces of an image, the most confident first.

    xyxy: float (n, 4), corners in px of the image; confidence (n,), of the most probable class;
    class_id (n,), the number of that class; scores (n, classes), the confidence of each class: that
    of the face times the root of the class's probability.
    """

    xyxy: np.ndarray
    confidence: np.ndarray
    class_id: np.ndarray
    scores: np.ndarray


def detect(
    run: Run, image: np.ndarray, size: int, least: float, tile: int | None = None
) -> Detections:
    """Find the faces of an image.

    Args:
        run: a detector with decoding.
        image: uint8 (h, w, 3), RGB.
        size: longest side of what the network sees, px.
        least: confidence below which a face is left out.
        tile: side of squares of the image, px, that are predicted on one by one besides the whole;
            for images with faces so small that they are lost at `size`. None: the whole alone.
    """
    found = [_in_view(run, *view, size) for view in views(image, tile)]
    boxes, scores = (np.concatenate(each) for each in zip(*found, strict=True))
    height, width = image.shape[:2]
    boxes = np.clip(boxes, 0, [width, height, width, height])
    confidence = scores.max(axis=1, initial=0)
    solid = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    chosen = np.flatnonzero(solid & (confidence >= least) & (confidence > 0))
    if len(found) > 1:
        chosen = chosen[_one_per_face(boxes[chosen], confidence[chosen])]
    chosen = chosen[np.argsort(-confidence[chosen], kind="stable")]
    return Detections(
        boxes[chosen], confidence[chosen], scores[chosen].argmax(axis=1), scores[chosen]
    )


def views(
    image: np.ndarray, tile: int | None
) -> Iterator[tuple[np.ndarray, tuple[int, int], tuple[bool, bool, bool, bool]]]:
    """Yield parts of an image, where each begins (x, y), and which of its edges cut faces off.

    Edges are left, top, right, bottom; those of the image itself cut nothing off.
    """
    height, width = image.shape[:2]
    yield image, (0, 0), (False, False, False, False)
    if tile is None or max(height, width) <= tile:
        return
    for y in _starts(height, tile):
        for x in _starts(width, tile):
            part = image[y : y + tile, x : x + tile]
            cut = x > 0, y > 0, x + tile < width, y + tile < height
            yield part, (x, y), cut


def _starts(length: int, tile: int) -> list[int]:
    """Where tiles begin that cover a length evenly, with an overlap of OVERLAP at least."""
    if length <= tile:
        return [0]
    count = 1 + int(np.ceil((length - tile) / int(tile * (1 - OVERLAP))))
    return np.rint(np.linspace(0, length - tile, count)).astype(int).tolist()


def _in_view(
    run: Run,
    part: np.ndarray,
    start: tuple[int, int],
    cut: tuple[bool, bool, bool, bool],
    size: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes in px of the image, and scores, of what a part of it shows wholly."""
    small, scale = _near(part, size)
    boxes, scores = run(small, size)
    boxes = boxes * np.tile(scale, 2)
    height, width = part.shape[:2]
    near = np.column_stack(
        [boxes[:, :2] < EDGE, boxes[:, 2] > width - EDGE, boxes[:, 3] > height - EDGE]
    )
    whole = ~(near & np.array(cut)).any(axis=1)
    return boxes[whole] + np.tile(start, 2), scores[whole]


def _near(image: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Average whole pixels of a far larger image, so that a network need not copy all of them.

    Returns:
        An image of twice `size` at least, and what x and y are to be multiplied by.
    """
    height, width = image.shape[:2]
    factor = max(height, width) // (2 * size)
    if factor < 2:
        return image, np.ones(2)
    sides = max(1, width // factor), max(1, height // factor)
    small = cv2.resize(image, sides, interpolation=cv2.INTER_AREA)
    return small, np.array([width, height]) / sides


def model_input(image: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Resize an image so that its longest side has `size` px, and pad it right and below.

    Returns:
        float32 (H, W, 3), 0-255, whose sides are multiples of MULTIPLE; and what x and y were
        multiplied by. As exported models do it: linear, averaging where it shrinks, not rounded.
    """
    height, width = image.shape[:2]
    scale = size / max(height, width)
    sides = max(1, round(width * scale)), max(1, round(height * scale))
    right, below = (-side % MULTIPLE for side in sides)
    planes = [Image.fromarray(image[..., k].astype(np.float32)) for k in range(3)]
    resized = [plane.resize(sides, Image.Resampling.BILINEAR) for plane in planes]
    drawn = np.dstack([np.asarray(plane) for plane in resized])
    padded = cv2.copyMakeBorder(drawn, 0, below, 0, right, cv2.BORDER_CONSTANT, value=PADDING)
    return padded, np.array(sides) / [width, height]


def _one_per_face(boxes: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Of boxes on one face, the most confident: their positions."""
    corners_and_sides = np.column_stack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
    kept = cv2.dnn.NMSBoxes(corners_and_sides.tolist(), confidence.tolist(), 0.0, SAME_FACE)
    return np.array(kept, int).reshape(-1)
