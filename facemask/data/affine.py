"""Affine maps between a crop and the square input of a model, of pixels and of boxes.

A transform is a matrix (3, 3) from one plane of pixels to another, of points (x, y, 1). They are
continuous: pixel k covers [k, k + 1), as half-open boxes do.
"""

import cv2
import numpy as np

# The colour around a crop: grey, the centre of the range that backbones expect.
PADDING = (127, 127, 127)
MIN_SIDE = 4  # px: a smaller box is zoomed in on as if it were so large


def resizing(width: int, height: int, size: int, mode: str) -> np.ndarray:
    """Return the transform of a whole crop to an input of `size` px.

    Args:
        width, height: of the crop, px.
        size: side of the input, px.
        mode: `stretch` covers the input; `letterbox` keeps the crop's aspect, in the centre.
    """
    if mode == "stretch":
        return scaling(size / width, size / height)
    scale = size / max(width, height)
    return translation((size - scale * width) / 2, (size - scale * height) / 2) @ scaling(
        scale, scale
    )


def zoom_in(box: np.ndarray, size: int, fraction: float) -> np.ndarray:
    """Return the transform that centres a box, whose longer side takes `fraction` of the input."""
    x0, y0, x1, y1 = box
    scale = fraction * size / max(x1 - x0, y1 - y0, MIN_SIDE)
    centred = translation(-(x0 + x1) / 2, -(y0 + y1) / 2)
    return translation(size / 2, size / 2) @ scaling(scale, scale) @ centred


def scaling(across: float, down: float) -> np.ndarray:
    """Return the transform that multiplies x and y."""
    return np.diag([across, down, 1.0])


def translation(right: float, down: float) -> np.ndarray:
    """Return the transform that adds to x and y."""
    return np.array([[1.0, 0.0, right], [0.0, 1.0, down], [0.0, 0.0, 1.0]])


def mirror(width: float) -> np.ndarray:
    """Return the transform that swaps left and right of a plane of that width."""
    return translation(width, 0) @ scaling(-1, 1)


def draw(
    crop: np.ndarray, transform: np.ndarray, size: int, height: int | None = None
) -> np.ndarray:
    """Draw a crop on a model input, with PADDING around it.

    Args:
        crop: uint8 (h, w, 3).
        transform: (3, 3), from px of the crop to px of the input.
        size: width of the input, px.
        height: of the input, px; None: as its width.

    Returns:
        uint8 (height, size, 3).
    """
    crop, shrunk = _small_enough(crop, transform)
    transform = transform @ np.linalg.inv(shrunk)
    # OpenCV counts from the centres of pixels.
    centres = translation(-0.5, -0.5) @ transform @ translation(0.5, 0.5)
    return cv2.warpAffine(
        crop,
        centres[:2],
        (size, height or size),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=PADDING,
    )


def _small_enough(crop: np.ndarray, transform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shrink a crop to the scale at which it will be drawn; return it and the transform to it.

    Linear interpolation between four pixels would skip those that lie between them.
    """
    height, width = crop.shape[:2]
    across, down = np.minimum(np.abs(np.diag(transform)[:2]), 1)
    sides = max(1, round(width * across)), max(1, round(height * down))
    if sides == (width, height):
        return crop, np.eye(3)
    shrunk = cv2.resize(crop, sides, interpolation=cv2.INTER_AREA)
    return shrunk, scaling(sides[0] / width, sides[1] / height)


def transformed(boxes: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Return corners (N, 4) under a transform (3, 3), or each under its own (N, 3, 3).

    Transforms scale, move and mirror: a box stays a box, and low corners come first again.
    """
    points = np.stack([boxes[:, :2], boxes[:, 2:]], axis=1)
    one = np.einsum("...ij,...kj->...ki", transform[..., :2, :2], points)
    both = one + transform[..., None, :2, 2]
    return np.concatenate([both.min(axis=1), both.max(axis=1)], axis=1)


def resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize an image, whatever its aspect, without moiré."""
    smaller = image.shape[0] > height or image.shape[1] > width
    interpolation = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=interpolation)
