"""Augmentation of training samples and their boxes.

Albumentations is no longer maintained and its successor is not permissive; Keras' layers share one
random state, so that a sample would depend on those before it. Here a sample depends on seed, epoch
and its number alone, and flip, zoom and shift are one transform with the resizing to the model
input: pixels are interpolated once.
"""

import cv2
import numpy as np

from facemask.config.localizer import Augment, Colours
from facemask.data import affine


def place(augment: Augment, box: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw flip, zoom and shift: a transform of the model input that keeps the face inside.

    Args:
        augment: probability of a flip, range of zoom, greatest shift in sides of the input.
        box: corners of the face in the input, px.
        size: side of the input, px.
        rng: of this sample.

    Returns:
        (3, 3). A face that is as large as the input is not zoomed in.
    """
    flipped = affine.mirror(size) if rng.random() < augment.flip else np.eye(3)
    x0, y0, x1, y1 = affine.transformed(box[None], flipped)[0]
    least, most = augment.zoom
    zoom = np.exp(rng.uniform(np.log(least), np.log(most)))
    zoom = min(zoom, size / max(x1 - x0, y1 - y0))
    # The centre is shifted from the centre, but no further than the face allows.
    centre = size * (1 - zoom) / 2
    shift = centre + size * rng.uniform(-augment.shift, augment.shift, 2)
    shift = np.clip(shift, [-zoom * x0, -zoom * y0], [size - zoom * x1, size - zoom * y1])
    return affine.translation(*shift) @ affine.scaling(zoom, zoom) @ flipped


def colour_jitter(image: np.ndarray, augment: Colours, rng: np.random.Generator) -> np.ndarray:
    """Draw brightness, contrast, saturation, hue, blur and JPEG artefacts.

    Args:
        image: uint8 (s, s, 3), RGB.
        augment: how far each may go, and how probable blur and JPEG are.
        rng: of this sample.

    Returns:
        uint8 (s, s, 3), RGB.
    """
    bright, contrast, saturation, hue = rng.uniform(-1, 1, 4) * [
        augment.brightness, augment.contrast, augment.saturation, augment.hue
    ]  # fmt: skip
    # One matrix: all four are linear in the colours.
    matrix = (1 + contrast) * _turned_colours(1 + saturation, 2 * np.pi * hue)
    offset = 127.5 * (1 - (1 + contrast)) + 255 * bright
    image = cv2.transform(image, np.hstack([matrix, np.full((3, 1), offset)]))
    if rng.random() < augment.blur:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 1.5))
    if rng.random() < augment.jpeg:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 90))]
        # OpenCV expects blue first, and JPEG treats the channels differently.
        coded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)[1]
        image = cv2.cvtColor(np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)), cv2.COLOR_BGR2RGB)
    return image


def random_erasing(
    image: np.ndarray, box: np.ndarray, augment: Augment, rng: np.random.Generator
) -> np.ndarray:
    """Draw grey rectangles: one away from the face, one over part of its mouth.

    Args:
        image: uint8 (s, s, 3); it is drawn on.
        box: corners of the face, px.
        augment: how probable each is.
        rng: of this sample.

    Returns:
        The image that was drawn on.
    """
    x0, y0, x1, y1 = box
    size = len(image)
    if rng.random() < augment.erase:
        low = rng.uniform(0, 0.8 * size, 2)
        left, top, right, bottom = *low, *(low + rng.uniform(0.1, 0.35, 2) * size)
        if right <= x0 or left >= x1 or bottom <= y0 or top >= y1:
            _fill(image, left, top, right, bottom)
    if rng.random() < augment.erase_mouth:
        # The lower half of the face; of it at most a half of each side.
        width, height = (x1 - x0) * rng.uniform(0.2, 0.5), (y1 - y0) / 2 * rng.uniform(0.2, 0.5)
        left, top = rng.uniform(x0, x1 - width), rng.uniform((y0 + y1) / 2, y1 - height)
        _fill(image, left, top, left + width, top + height)
    return image


def _fill(image: np.ndarray, left: float, top: float, right: float, bottom: float) -> None:
    image[round(top) : round(bottom), round(left) : round(right)] = affine.PADDING


def _turned_colours(saturation: float, hue: float) -> np.ndarray:
    """Scale the distance of colours from grey, and turn them around it: (3, 3)."""
    grey = np.full((3, 3), 1 / 3)
    # Rodrigues' formula around the axis (1, 1, 1).
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    turn = np.cos(hue) * np.eye(3) + np.sin(hue) * cross + (1 - np.cos(hue)) * grey
    return grey + saturation * (turn - grey)
