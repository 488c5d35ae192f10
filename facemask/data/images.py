"""Images: decoding, and an inventory of them."""

import hashlib
import io
import math
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from facemask.data.issues import Issue
from facemask.data.near_duplicates import difference_hash, same_scene
from facemask.errors import InputError

# Of one image, before anything of it is decoded: 400 MB of memory. Phones make 108 million.
MAX_PIXELS = 130_000_000
Image.MAX_IMAGE_PIXELS = None  # Pillow's own, which warns at 89 million and raises at twice that
Image.init()  # loads its readers, which threads should not do at once
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".webp": "WEBP"}
UNREADABLE = "not a readable image (PNG, JPEG, BMP or WebP); replace or remove it"
ORIENTATION = 0x0112  # the EXIF tag; 2 to 8 turn or mirror an image


def read_rgb(path: Path) -> np.ndarray:
    """Decode an image to uint8 RGB, shape (height, width, 3); 16-bit and alpha are reduced.

    It is rotated by its EXIF orientation.

    Raises:
        InputError: the file is missing, is no complete image, or has more than MAX_PIXELS.
    """
    data = _read(path)
    try:
        _head(data)
        return _decode(data)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; put the image there") from error


def _head(data: bytes) -> Image.Image:
    """The head of an image file, with nothing decoded."""
    try:
        head = Image.open(io.BytesIO(data), formats=sorted(set(FORMATS.values())))
    except (OSError, EOFError, ValueError, SyntaxError, struct.error):
        raise InputError(UNREADABLE) from None
    if math.prod(head.size) > MAX_PIXELS:
        raise InputError(
            f"{head.width} x {head.height} pixels are more than {MAX_PIXELS:,}; make it smaller"
        )
    return head


def _orientation(head: Image.Image) -> int | None:
    # Not head.getexif(), which decodes a PNG that has none.
    exif = Image.Exif()
    try:
        exif.load(head.info.get("exif", b""))
        return exif.get(ORIENTATION)
    except (OSError, EOFError, ValueError, SyntaxError, struct.error):  # no whole EXIF
        return None


def _decode(data: bytes) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:  # sides that OpenCV does not take
        raise InputError(UNREADABLE) from None
    if image is None or _is_cut_jpeg(data):
        raise InputError(UNREADABLE)
    return image


def _is_cut_jpeg(data: bytes) -> bool:
    # OpenCV fills what a JPEG lacks with grey; only the missing end marker shows it.
    return data.startswith(b"\xff\xd8") and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")


def inventory(paths: list[Path], workers: int) -> tuple[pd.DataFrame, list[Issue]]:
    """Describe each image, decoding it once, in as many threads as there are workers.

    Returns:
        One row per readable image: image (file name), width, height (px), sha256 of the file,
        hash (the difference hash, hexadecimal) and group (the same number for images of one
        scene); and the issues of all.
    """
    with ThreadPoolExecutor(workers) as pool:
        results = list(tqdm(pool.map(_describe, paths), "verify", len(paths), unit="image"))
    rows = [row for row, _ in results if row]
    table = pd.DataFrame(rows, columns=["image", "width", "height", "sha256", "hash"])
    table["group"] = same_scene(table["hash"])
    return table, [issue for _, issues in results for issue in issues]


def _describe(path: Path) -> tuple[tuple[str, int, int, str, str] | None, list[Issue]]:
    try:
        data = _read(path)
        head = _head(data)
        image = _decode(data)
    except InputError as error:
        return None, [Issue(path.name, None, "error", str(error))]
    found = []
    # MPO is what phones call a JPEG with further images appended.
    kind = "JPEG" if head.format == "MPO" else head.format
    if kind != FORMATS[path.suffix.lower()]:
        found.append(f"is a {kind} image, whatever its suffix")
    if _orientation(head) in range(2, 9):
        found.append("has an EXIF orientation: boxes are taken to be of the image as it is shown")
    height, width = image.shape[:2]
    digest = hashlib.sha256(data).hexdigest()
    row = path.name, width, height, digest, difference_hash(image).hex()
    return row, [Issue(path.name, None, "warning", what) for what in found]
