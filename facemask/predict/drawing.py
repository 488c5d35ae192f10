"""Faces drawn into an image, made unrecognisable in it, or cut out of it."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from facemask.inference.detect import Detections

Colour = tuple[int, int, int]
# Okabe and Ito's, which colour-blind people distinguish: RGB.
PALETTE: list[Colour] = [
    (86, 180, 233), (213, 94, 0), (240, 228, 66), (0, 158, 115), (204, 121, 167), (230, 159, 0),
    (0, 114, 178),
]  # fmt: skip
STYLES = {  # class: what is written, and its colour
    "with_mask": ("with mask", PALETTE[0]),
    "without_mask": ("without mask", PALETTE[1]),
    "mask_weared_incorrect": ("worn incorrectly", PALETTE[2]),
}
BLACK: Colour = (0, 0, 0)
WHITE: Colour = (255, 255, 255)
SMALLEST_TEXT = 9  # px, below which nobody reads it
MARGIN = 0.2  # of a box's side, that is blurred on each side besides
BLOCKS = 6  # at most, along each side of a blurred face


class Style(NamedTuple):
    """How a class is drawn: its words and its colour."""

    text: str
    colour: Colour


class Patch(NamedTuple):
    """A label as pixels, uint8 (h, w, 3), and where its upper left corner comes."""

    pixels: np.ndarray
    x: int
    y: int


def style_of(name: str, number: int) -> Style:
    """Return how a class is drawn; classes of other data get colours by their number."""
    if name in STYLES:
        return Style(*STYLES[name])
    return Style(name.replace("_", " "), PALETTE[number % len(PALETTE)])


def annotate(image: np.ndarray, found: Detections, classes: Sequence[str]) -> None:
    """Draw the box, class and confidence of each face into an image.

    Args:
        image: uint8 (height, width, 3), RGB; it is changed.
        found: its faces.
        classes: names, in the order of class_id.
    """
    styles = [style_of(classes[number], number) for number in found.class_id]
    order = range(len(styles))[::-1]  # the most confident last, on top
    for face in order:
        _frame(image, found.xyxy[face], styles[face].colour)
    for face in order:
        label = _label(image.shape, found.xyxy[face], styles[face], float(found.confidence[face]))
        if label:
            _paste(image, label)


def _frame(drawn: np.ndarray, box: np.ndarray, colour: Colour) -> None:
    """Draw a box around what it holds, with a dark edge that shows it on any ground."""
    x0, y0, x1, y1 = _outward(box)
    side, longest = min(x1 - x0, y1 - y0), max(drawn.shape[:2])
    least, most = max(1, round(longest / 1000)), max(1, round(longest / 400))
    width = int(np.clip(side // 16, least, most))
    edge = width // 3
    for out, inner, ink in ((width + edge, width, BLACK), (width, 0, colour)):
        _ring(drawn, (x0 - out, y0 - out, x1 + out, y1 + out), out - inner, ink)


def _ring(
    drawn: np.ndarray, corners: tuple[int, int, int, int], width: int, colour: Colour
) -> None:
    x0, y0, x1, y1 = corners
    bars = (
        (x0, y0, x1, y0 + width), (x0, y1 - width, x1, y1),
        (x0, y0, x0 + width, y1), (x1 - width, y0, x1, y1),
    )  # fmt: skip
    for left, top, right, bottom in bars:
        drawn[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = colour


def _label(
    shape: tuple[int, ...], box: np.ndarray, style: Style, confidence: float
) -> Patch | None:
    """The label of a face: above it, or else below or in it; None if the image has no room."""
    x0, y0, x1, y1 = _outward(box)
    largest = max(SMALLEST_TEXT, max(shape[:2]) / 50)
    size = round(np.clip((y1 - y0) * 0.3, SMALLEST_TEXT, largest))
    number = f"{confidence:.2f}"
    pixels = _text(f"{style.text} {number}", size, style.colour)
    # Words that are far wider than the face would lie on its neighbours.
    if pixels.shape[1] > min(2.5 * max(x1 - x0, 2 * size), shape[1]):
        pixels = _text(number, size, style.colour)
    height, width = pixels.shape[:2]
    if height > shape[0] or width > shape[1]:
        return None
    gap = max(1, round(max(shape[:2]) / 400))
    y = y0 - height - gap
    if y < 0:
        y = y1 + gap if y1 + gap + height <= shape[0] else 0
    return Patch(pixels, int(np.clip(x0 - gap, 0, shape[1] - width)), y)


@lru_cache(256)
def _text(text: str, size: int, colour: Colour) -> np.ndarray:
    """Text of a height in px on a ground of a colour, black or white, as pixels."""
    from PIL import Image, ImageDraw, ImageFont  # not before something is drawn

    font = ImageFont.load_default(size)
    pad = max(1, size // 6)
    left, top, right, bottom = (round(each) for each in font.getbbox(f"{text}Ag"))
    right = round(font.getbbox(text)[2])
    sides = right - left + 2 * pad, bottom - top + 2 * pad
    label = Image.new("RGB", sides, colour)
    bright = np.dot(colour, [0.299, 0.587, 0.114]) > 110
    ink = BLACK if bright else WHITE
    ImageDraw.Draw(label).text((pad - left, pad - top), text, fill=ink, font=font)
    return np.array(label)


def _paste(drawn: np.ndarray, patch: Patch) -> None:
    height, width = patch.pixels.shape[:2]
    drawn[patch.y : patch.y + height, patch.x : patch.x + width] = patch.pixels


def _outward(box: np.ndarray) -> tuple[int, int, int, int]:
    """The whole pixels that a box touches: x0, y0, x1, y1, half-open."""
    x0, y0 = np.floor(box[:2]).astype(int).tolist()
    x1, y1 = np.ceil(box[2:]).astype(int).tolist()
    return x0, y0, x1, y1


def _within(box: np.ndarray, shape: tuple[int, ...], margin: float = 0.0) -> tuple[slice, slice]:
    """Rows and columns of a box with a margin, a share of its sides; cut to the image."""
    more = (box[2:] - box[:2]) * margin
    x0, y0, x1, y1 = _outward(np.concatenate([box[:2] - more, box[2:] + more]))
    height, width = shape[:2]
    return slice(max(y0, 0), min(y1, height)), slice(max(x0, 0), min(x1, width))


def blur(image: np.ndarray, found: Detections) -> None:
    """Make the faces that were found in an image unrecognisable.

    Of a face and its margin, 6 x 6 average colours are left at most, with soft edges between them.

    Args:
        image: uint8 (height, width, 3), RGB; it is changed.
        found: its faces.
    """
    for box in found.xyxy:
        part = image[_within(box, image.shape, MARGIN)]
        height, width = part.shape[:2]
        blocks = int(np.clip(min(height, width) // 4, 1, BLOCKS))
        means = cv2.resize(part, (blocks, blocks), interpolation=cv2.INTER_AREA)
        part[:] = cv2.resize(means, (width, height), interpolation=cv2.INTER_LINEAR)
        sigma = min(height, width) / blocks / 2
        # A blur of a large sigma is that of a smaller image.
        part[:] = cv2.GaussianBlur(part, (0, 0), min(sigma, 20.0), borderType=cv2.BORDER_REPLICATE)


def cut_out(image: np.ndarray, found: Detections) -> Iterator[np.ndarray]:
    """Yield the pixels of each face, uint8 (h, w, 3), RGB; views of the image."""
    for box in found.xyxy:
        yield image[_within(box, image.shape)]
