"""Whole photographs: are they readable, how large are they, and which show the same scene?"""

import hashlib
import io
import math
import struct
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from facemask.data.issues import Defect
from facemask.errors import InputError

# Of one photograph, before anything of it is decoded: 400 MB of memory. Phones make 108 million.
MAX_PIXELS = 130_000_000
Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit, which warns of half and stops at the double
Image.init()  # loads its readers, which threads should not do at once
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".webp": "WEBP"}
UNREADABLE = "not a readable image (PNG, JPEG, BMP or WebP); replace it or take it out"
ORIENTATION = 0x0112  # the EXIF tag; 2 to 8 turn or mirror a photograph
HASH_SIDE = 16
# On the 853 photographs of the study, 14 pairs lie at 0-11 of 256 bits and show the same scene; the
# next pair lies at 24 and does not.
MAX_HASH_DISTANCE = 16


def read_rgb(path: Path) -> np.ndarray:
    """Decode a photograph to uint8 RGB, shape (height, width, 3); 16-bit and alpha are reduced.

    It is turned as its EXIF orientation says.

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
        raise InputError(f"{path}: {error.strerror}; put the photograph there") from error


def _head(data: bytes) -> Image.Image:
    """What a file says of itself, with nothing decoded."""
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
    # OpenCV fills what a JPEG lacks with grey; only the missing mark of its end tells.
    return data.startswith(b"\xff\xd8") and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")


def survey(paths: list[Path], workers: int) -> tuple[pd.DataFrame, list[Defect]]:
    """Describe each photograph, decoding it once, as many at a time as there are workers.

    Returns:
        One row a readable photograph: image (file name), width, height (px), sha256 of the file,
        hash (the difference hash, hexadecimal) and group (the same number for photographs of one
        scene); and the defects of all.
    """
    with ThreadPoolExecutor(workers) as pool:
        results = list(tqdm(pool.map(_describe, paths), "verify", len(paths), unit="image"))
    rows = [row for row, _ in results if row]
    table = pd.DataFrame(rows, columns=["image", "width", "height", "sha256", "hash"])
    table["group"] = same_scene(table["hash"])
    return table, [defect for _, defects in results for defect in defects]


def difference_hash(image: np.ndarray) -> bytes:
    """Return 256 bits that say where brightness rises from left to right.

    Args:
        image: uint8 RGB, shape (height, width, 3).

    Source: N. Krawetz, "Kind of Like That", hackerfactor.com, 2013 (dHash), at 16 x 16 cells.
    """
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    cells = cv2.resize(gray, (HASH_SIDE + 1, HASH_SIDE), interpolation=cv2.INTER_AREA)
    return np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes()


def same_scene(hashes: Iterable[str]) -> np.ndarray:
    """Group photographs whose hashes differ in at most MAX_HASH_DISTANCE bits, chains joined.

    Args:
        hashes: hexadecimal difference hashes, one a photograph.

    Returns:
        int array: the group of each photograph, numbered from 0.
    """
    packed = np.array([np.frombuffer(bytes.fromhex(text), np.uint8) for text in hashes])
    if not len(packed):
        return np.zeros(0, int)
    distinct, which = np.unique(packed, axis=0, return_inverse=True)
    first, second = _candidates(np.unpackbits(distinct, axis=1))
    apart = np.bitwise_count(distinct[first] ^ distinct[second]).sum(axis=1, dtype=np.int64)
    near = apart <= MAX_HASH_DISTANCE
    edges = coo_array(
        (np.ones(near.sum(), bool), (first[near], second[near])), shape=2 * (len(distinct),)
    )
    scene = connected_components(edges, directed=False)[1]
    # Numbered in the order of the photographs.
    return pd.factorize(scene[which])[0]


def _candidates(bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of rows among which are all that differ in at most MAX_HASH_DISTANCE bits.

    Of more parts than bits may differ, one at least is equal: only rows that share a part are
    paired, rather than each with all others.
    """
    pairs = [np.empty((2, 0), int)]
    parts = MAX_HASH_DISTANCE + 1
    for part in range(parts):
        key = np.packbits(bits[:, part::parts], axis=1)
        order = np.lexsort(key.T)
        key = key[order]
        shift = 1
        while (equal := (key[shift:] == key[:-shift]).all(axis=1)).any():
            pairs.append(np.stack([order[:-shift][equal], order[shift:][equal]]))
            shift += 1
    first, second = np.concatenate(pairs, axis=1)
    return first, second


def _describe(path: Path) -> tuple[tuple[str, int, int, str, str] | None, list[Defect]]:
    try:
        data = _read(path)
        head = _head(data)
        image = _decode(data)
    except InputError as error:
        return None, [Defect(path.name, None, "error", str(error))]
    found = []
    # MPO is what phones call a JPEG with further pictures behind it.
    kind = "JPEG" if head.format == "MPO" else head.format
    if kind != FORMATS[path.suffix.lower()]:
        found.append(f"holds a {kind} image, whatever its name ends in")
    if _orientation(head) in range(2, 9):
        found.append("EXIF says it is shown turned: boxes are taken to be of the turned photograph")
    height, width = image.shape[:2]
    digest = hashlib.sha256(data).hexdigest()
    row = path.name, width, height, digest, difference_hash(image).hex()
    return row, [Defect(path.name, None, "warning", what) for what in found]
