"""From an image file of any common kind to its pixels, as it is shown."""

import io
import math
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

# All readers are loaded here, which threads should not do at once; Image.init() would load twenty
# more, of formats that are not read.
from PIL import (
    AvifImagePlugin,  # noqa: F401
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    ImageOps,
    JpegImagePlugin,  # noqa: F401
    MpoImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    PpmImagePlugin,  # noqa: F401
    WebPImagePlugin,  # noqa: F401
)
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    TiffImageFile,
)

from facemask.errors import InputError

# Of one image, before anything of it is decoded: 400 MB of memory. Phones make 108 million.
MAX_PIXELS = 130_000_000
Image.MAX_IMAGE_PIXELS = None  # Pillow's own, which warns at 89 million and raises at twice that
FORMATS = {  # suffix: Pillow's name of the format
    **dict.fromkeys((".png", ".apng"), "PNG"),
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    **dict.fromkeys((".bmp", ".dib"), "BMP"),
    ".webp": "WEBP",
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    ".gif": "GIF",
    ".avif": "AVIF",
    **dict.fromkeys((".ppm", ".pgm"), "PPM"),
}
# MPO is what phones call a JPEG with further images appended; DIB is a BMP without its first head.
VARIANTS = {"MPO": "JPEG", "DIB": "BMP"}
READERS = sorted({*FORMATS.values(), "DIB"})  # that of JPEG reads MPO too
# OpenCV is the faster one, but takes the alpha of TIFF and AVIF into the colours, turns no AVIF,
# and reads no DIB: what is not of these is decoded by Pillow.
OPENCV = {"PNG", "JPEG", "MPO", "BMP", "WEBP"}
NOT_READ = {  # suffix: the usual name of an image format that is not read
    **dict.fromkeys((".heic", ".heif", ".hif"), "HEIC"),
    **dict.fromkeys((".jp2", ".j2k", ".jpf", ".jpx"), "JPEG 2000"),
    ".jxl": "JPEG XL",
    **dict.fromkeys(
        (".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".raw"), "raw"
    ),
    **dict.fromkeys((".hdr", ".exr"), "HDR"),
    **dict.fromkeys((".psd", ".psb"), "Photoshop"),
    **dict.fromkeys((".svg", ".svgz"), "SVG"),
    **dict.fromkeys((".eps", ".ai"), "PostScript"),
    ".pdf": "PDF",
    ".ico": "icon",
    ".tga": "TGA",
    **dict.fromkeys((".mp4", ".mov", ".avi", ".mkv", ".webm"), "video"),
}
SIGNATURES = {  # of formats that are not read, but come under the suffixes of others
    "HEIC": re.compile(rb".{4}ftyp(hei|hev|mif1|msf1)", re.DOTALL),
    "JPEG 2000": re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    "JPEG XL": re.compile(rb"\0\0\0\x0cJXL |\xff\x0a"),
    "Photoshop": re.compile(rb"8BPS"),
}
UNREADABLE = (
    f"not a readable image ({', '.join(dict.fromkeys(FORMATS.values()))}); replace or remove it"
)
# What Pillow and OpenCV raise at bytes that are no whole image.
BROKEN = (
    OSError, EOFError, ValueError, SyntaxError, IndexError, RuntimeError, struct.error, cv2.error
)  # fmt: skip
ORIENTATION = 0x0112  # the EXIF tag; 2 to 8 turn or mirror an image
# After the exchange of rows and columns from 5 on, what is flipped: cv2.flip's codes.
FLIPS = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}
# A JPEG's next marker: a stuffed FF 00, fill bytes and what has no length are passed over.
MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])")
SEGMENT = re.compile(rb"[\xc0-\xcf\xda-\xdf\xe0-\xef\xfe]")
END = b"\xd9"
# Cameras have samples of 10, 12 and 14 bits. No image of faces has a brightest value of 15 in 255,
# which is 12 bits in 16, but one of a dark room may have 63: of 14 bits `images` says so.
DEPTHS = (8, 10, 12)


class TooManyPixels(InputError):
    """An image is larger than is wanted."""


class Decoded(NamedTuple):
    """An image as it is shown: uint8 RGB, shape (height, width, 3), and what its file says.

    format is Pillow's name; orientation EXIF's, 1 if there is none; further whether other pages or
    frames follow; bits how many the greatest of 16-bit samples needs, and None of other samples.
    """

    image: np.ndarray
    format: str
    orientation: int
    further: bool
    bits: int | None


def read_rgb(path: Path) -> np.ndarray:
    """Decode an image to uint8 RGB, shape (height, width, 3), turned by its EXIF orientation.

    16-bit samples are reduced to their high bytes (those that need 12 bits or fewer, to the high
    bytes of these), alpha is left out, and of several frames or pages the first is taken.

    Raises:
        InputError: the file is missing, is no complete image, or has more than MAX_PIXELS.
    """
    data = read(path)
    try:
        return decode(data).image
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def read(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        InputError: it is missing or not readable.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; put a readable image there") from error


def pixels(path: Path) -> int:
    """Return how many pixels an image file says it has, decoding nothing; 0 if it is unreadable."""
    try:
        with Image.open(path, formats=READERS) as head:
            return math.prod(head.size)
    except BROKEN:
        return 0


@contextmanager
def _readable(data: bytes) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except BROKEN:
        raise InputError(_unreadable(data)) from None


def _unreadable(data: bytes) -> str:
    for name, signature in SIGNATURES.items():
        if signature.match(data):
            return f"is a {name} image, which is not read; convert it to JPEG or PNG"
    return UNREADABLE


def decode(data: bytes, most: int = MAX_PIXELS) -> Decoded:
    """Decode the bytes of an image file, as `read_rgb` does.

    Args:
        data: the file.
        most: pixels that the image may have.

    Raises:
        TooManyPixels: it has more; nothing was decoded.
        InputError: they are no complete image; without the name.
    """
    with _readable(data):
        head = Image.open(io.BytesIO(data), formats=READERS)  # decodes nothing
        deep = _is_deep(head, data)
        _check(head, deep, most)
        if deep or head.format in OPENCV:
            return _by_opencv(head, data, deep)
        return _by_pillow(head)


def _is_deep(head: Image.Image, data: bytes) -> bool:
    """Whether the samples have 16 bits that Pillow would cut."""
    if isinstance(head, TiffImageFile):
        plain = head.mode in ("RGB", "RGBA", "RGBX", "I;16", "I;16B")
        return plain and max(head.tag_v2.get(BITSPERSAMPLE, (1,))) == 16
    return head.format == "PNG" and data[24] == 16


def _check(head: Image.Image, deep: bool, most: int) -> None:
    if math.prod(head.size) > most:
        raise TooManyPixels(
            f"{head.width} x {head.height} pixels are more than {most:,}; make it smaller"
        )
    # Pillow would clip these, and neither library reads 16 bits in planes or from white to black.
    clipped = head.mode.startswith(("I", "F")) and not deep
    if clipped or (deep and isinstance(head, TiffImageFile) and _is_odd(head)):
        raise InputError(
            f"its kind of {head.format} (Pillow's mode {head.mode}) is not read; save it with 8 "
            "bits a channel"
        )


def _is_odd(head: TiffImageFile) -> bool:
    planes = head.tag_v2.get(PLANAR_CONFIGURATION) == 2
    return planes or head.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == 0


def _by_opencv(head: Image.Image, data: bytes, deep: bool) -> Decoded:
    if head.format in ("JPEG", "MPO") and not _has_end(data):
        # OpenCV fills what a JPEG lacks with grey; Pillow raises, but takes zeros for pixels.
        Image.open(io.BytesIO(data.rstrip(b"\0")), formats=["JPEG"]).load()
    # BGR, because OpenCV 5.0 mixes up the channels of a 16-bit TIFF on their way to RGB.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH if deep else cv2.IMREAD_COLOR_RGB
    image, exif = _imdecode(data, flags)
    orientation = _orientation(head, exif)
    bits = None
    if deep:
        bits = int(image.max()).bit_length()
        image = cv2.cvtColor(_high_bytes(image, depth_of(bits)), cv2.COLOR_BGR2RGB)
    if head.format != "TIFF":  # which OpenCV turns whatever its flags
        image = _turned(image, orientation)
    return _decoded(head, image, orientation, bits)


def _imdecode(data: bytes, flags: int) -> tuple[np.ndarray, bytes]:
    """The three channels of an image as they are stored, and its EXIF."""
    image, kinds, metadata = cv2.imdecodeWithMetadata(
        np.frombuffer(data, np.uint8), flags=flags | cv2.IMREAD_IGNORE_ORIENTATION
    )
    if image is None:
        raise InputError(_unreadable(data))
    found = dict(zip(kinds, metadata, strict=True)).get(cv2.IMAGE_METADATA_EXIF)
    return image, b"" if found is None else found.tobytes()


def _by_pillow(head: Image.Image) -> Decoded:
    orientation = _orientation(head)
    head.load()  # turns a TIFF, and takes its tag away
    shown = ImageOps.exif_transpose(head) if orientation > 1 else head
    return _decoded(head, np.array(shown.convert("RGB")), orientation, None)


def _decoded(head: Image.Image, image: np.ndarray, orientation: int, bits: int | None) -> Decoded:
    kind = VARIANTS.get(str(head.format), str(head.format))
    further = kind != "JPEG" and getattr(head, "is_animated", False)
    return Decoded(image, kind, orientation, further, bits)


def _has_end(data: bytes) -> bool:
    """Whether a JPEG's segments lead to its end marker; what follows it does not matter."""
    position = 2
    while marker := MARKER.search(data, position):
        if marker[1] == END or not SEGMENT.match(marker[1]):
            return marker[1] == END
        start = marker.end()
        position = start + int.from_bytes(data[start : start + 2])
    return False


def _orientation(head: Image.Image, exif: bytes = b"") -> int:
    """EXIF's orientation: of what OpenCV found, which may lie behind a PNG's pixels, or Pillow."""
    if isinstance(head, TiffImageFile):
        found = head.tag_v2.get(ORIENTATION)
    else:
        tags = Image.Exif()
        try:
            tags.load(exif or head.info.get("exif", b""))
            found = tags.get(ORIENTATION)
        except BROKEN:  # no whole EXIF
            return 1
    return next((number for number in range(1, 9) if number == found), 1)


def _turned(image: np.ndarray, orientation: int) -> np.ndarray:
    image = cv2.transpose(image) if orientation >= 5 else image
    return cv2.flip(image, FLIPS[orientation]) if orientation in FLIPS else image


def _high_bytes(image: np.ndarray, depth: int) -> np.ndarray:
    return (image >> (depth - 8)).astype(np.uint8)


def depth_of(bits: int) -> int:
    """How many bits the samples of an image have whose greatest needs so many."""
    return next((depth for depth in DEPTHS if 0 < bits <= depth), 16)
