"""Whether the size and the boxes of an annotation can be of its image: what cannot is no guess."""

from collections.abc import Sequence
from typing import NamedTuple

from facemask.data.voc import number

Box = tuple[float, float, float, float]  # xmin, ymin, xmax, ymax

# A box may reach out of the image by this share of its side. Hands and rounding err by a pixel or
# two (the study's own by one); a box of another image or scale is out by far more, sooner or later.
REACH = 0.1
SLACK = 2  # px that are allowed however small the image
TINY = 2  # px; whoever draws a box draws a larger one, at least one of a file
SMALL_IMAGE = 20  # px; below, all boxes may be tiny
# Percentages and thousandths are distinguished from pixels by many images at least twice as large.
SCALES, MANY = (100, 1000), 10


class Image(NamedTuple):
    """An image as its annotation should know it: turned says that EXIF exchanges its sides."""

    name: str
    width: int
    height: int
    turned: bool

    def __str__(self) -> str:
        """Return the sides."""
        return f"{self.width} x {self.height}"


def wrong_size(texts: tuple[str, str], boxes: Sequence[Box], image: Image) -> str | None:
    """Return why an annotation's size is not its image's and what to do, or None if it is.

    Args:
        texts: width and height as written.
        boxes: those of the file, as written.
        image: what the size should be.
    """
    written = tuple(number(text or "0") for text in texts)
    size = (image.width, image.height)
    if written in (size, (0, 0)):
        return None
    what = f"gives {' x '.join(text or '?' for text in texts)} pixels, but {image.name} has {image}"
    if written == size[::-1]:
        return f"{what}, the other way round; {_exchanged(boxes, image)}"
    fit = all(_fits(box, size) for box in boxes)
    mine = "if its boxes are of this one, correct the size; if not, " if fit else ""
    factor = _factor(written, size)
    if factor:
        return (
            f"{what}: {factor:.4g} times as many a side; {mine}put the image of that size there, "
            f"or divide the size and all boxes by {factor:.4g}"
        )
    return f"{what}; {mine}put the right image there"


def _exchanged(boxes: Sequence[Box], image: Image) -> str:
    if image.turned and all(_fits(box, (image.height, image.width)) for box in boxes):
        return (
            f"it is stored so, and its EXIF orientation turns it when it is shown. If the boxes "
            f"were drawn on the image as stored, remove the orientation (exiftool -Orientation= "
            f"{image.name}); if not, draw them on the image as it is shown"
        )
    if all(_fits(box, (image.width, image.height)) for box in boxes):
        return "if its boxes are of this image, correct the size; if not, put the right one there"
    return "its boxes do not fit this image either: put there the one that was annotated"


def _factor(written: Sequence[float | None], size: tuple[int, int]) -> float | None:
    width, height = written
    if not width or not height or min(width, height) <= 0:
        return None
    # Sides are rounded, each by itself; nearly the same size is an error of another kind.
    same = abs(width * size[1] - height * size[0]) <= max(size)
    factor = width / size[0]
    return factor if same and abs(factor - 1) > REACH else None


def misread(boxes: Sequence[Box], image: Image) -> str | None:
    """Return what the numbers of a file's boxes are instead of pixels, or None.

    Args:
        boxes: all boxes of the file, as written.
        image: that they should be of.
    """
    large = min(image.width, image.height) > SMALL_IMAGE
    if not boxes or not large or any(_extent(box) >= TINY for box in boxes):
        return None
    if all(0 <= value <= 1 for box in boxes for value in box):
        return (
            "all coordinates are from 0 to 1: shares of the image's sides, and pixels are wanted; "
            "multiply x by the width and y by the height, or export as Pascal VOC"
        )
    return f"all boxes are smaller than {TINY} pixels; give coordinates in pixels"


def wrong_box(box: Box, image: Image, first: int, boxes: Sequence[Box]) -> str | None:
    """Return why a box cannot be of its image and what to do, or None if it can.

    Args:
        box: as written, in whole pixels.
        image: that it should be of.
        first: the number of the first pixel, 0 or 1.
        boxes: all of the file, which tell what may be wrong with it.
    """
    xmin, ymin, xmax, ymax = box
    if xmin > xmax or ymin > ymax:
        return f"box {box} has min above max; exchange them{_as_sides(boxes, image)}"
    if max(xmin - image.width, ymin - image.height) >= first or min(xmax, ymax) < first:
        what = f"box {box} lies wholly outside the image of {image} pixels"
    elif not _near(box, image):
        what = (
            f"box {box} reaches out of the image of {image} pixels by more than a tenth: it is of "
            "another image or of another size"
        )
    else:
        return None
    return (
        f"{what}; correct the box, or put the right image there{_as_columns(boxes, image)}"
        f"{_as_stored(image)}"
    )


def percentages(reaches: Sequence[tuple[float, int]]) -> str | None:
    """Return why the boxes of many images are no pixels but per cent or per mille, if they are.

    Args:
        reaches: for each image with a box its largest coordinate and its shorter side.
    """
    for scale in SCALES:
        if len(reaches) >= MANY and all(
            reach <= scale and side >= 2 * scale for reach, side in reaches
        ):
            return (
                f"no box of any image reaches beyond {scale}, however large the image: they look "
                f"like shares of {scale}, and pixels are wanted; export as Pascal VOC in pixels"
            )
    return None


def _extent(box: Box) -> float:
    return max(abs(box[2] - box[0]), abs(box[3] - box[1]))


def _fits(box: Box, size: tuple[int, int]) -> bool:
    """Whether a box lies in an image, whether pixels are counted from 0 or 1."""
    return min(box) >= 0 and box[2] <= size[0] + 1 and box[3] <= size[1] + 1


def _near(box: Box, image: Image) -> bool:
    sides = (image.width, image.height)
    return all(
        max(-low, high - side) <= max(SLACK, REACH * side)
        for low, high, side in zip(box[:2], box[2:], sides, strict=True)
    )


def _as_sides(boxes: Sequence[Box], image: Image) -> str:
    size = (image.width, image.height)
    if not all(_fits((x, y, x + width, y + height), size) for x, y, width, height in boxes):
        return ""
    return (
        ". All boxes of the file fit as x, y, width, height: if they are, write "
        "xmax = x + width and ymax = y + height in every file"
    )


def _as_columns(boxes: Sequence[Box], image: Image) -> str:
    size = (image.width, image.height)
    if not all(_fits((y0, x0, y1, x1), size) for x0, y0, x1, y1 in boxes):
        return ""
    return ". All boxes of the file fit with x and y exchanged"


def _as_stored(image: Image) -> str:
    if not image.turned:
        return ""
    return (
        f". {image.name} is turned by its EXIF orientation when it is shown, and boxes must be of "
        "the image as it is shown"
    )
