"""An inventory of images: what each is, and what is odd about it."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from facemask import cluster
from facemask.data.decode import FORMATS, Decoded, decode, depth_of, read
from facemask.data.issues import Issue
from facemask.errors import InputError
from facemask.io import atomic_write, new_array

THUMBNAIL = 128  # side, px
DOUBTFUL = (13, 14)  # bits of samples that may have been taken with 14


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Return the brightness of an RGB image, stretched to a square of THUMBNAIL px, uint8."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.resize(gray, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)


def inventory(
    paths: Sequence[Path], workers: int, thumbnails: Path
) -> tuple[pd.DataFrame, list[Issue]]:
    """Describe each image, decoding it once, in as many threads as there are workers.

    Args:
        paths: of the images.
        workers: how many threads.
        thumbnails: the .npy file to write, of the `thumbnail` of each row: uint8 (N, s, s).

    Returns:
        One row per readable image: image (file name), width, height (px, as it is shown),
        orientation (EXIF's, 1 to 8; 1 if there is none), sha256 of the file; and the issues of all
        images.
    """
    rows: list[tuple[str, int, int, int, str]] = []
    issues: list[Issue] = []
    with atomic_write(thumbnails) as part:
        small = new_array(part, np.uint8, (len(paths), THUMBNAIL, THUMBNAIL))
        for row, plane, found in cluster.map(_describe, paths, "verify", "image", workers):
            issues += found
            if row:
                small[len(rows)] = plane
                rows.append(row)
        small.flush()
        if len(rows) < len(paths):
            np.save(part, np.array(small[: len(rows)]))
    columns = ["image", "width", "height", "orientation", "sha256"]
    return pd.DataFrame(rows, columns=columns), issues


def _describe(
    path: Path,
) -> tuple[tuple[str, int, int, int, str] | None, np.ndarray | None, list[Issue]]:
    try:
        data = read(path)
        decoded = decode(data)
    except InputError as error:
        return None, None, [Issue(path.name, None, "error", str(error))]
    height, width = decoded.image.shape[:2]
    digest = hashlib.sha256(data).hexdigest()
    row = path.name, width, height, decoded.orientation, digest
    return row, thumbnail(decoded.image), list(_issues(path, decoded))


def _issues(path: Path, decoded: Decoded) -> Iterator[Issue]:
    def warning(message: str) -> Issue:
        return Issue(path.name, None, "warning", message)

    if decoded.format != FORMATS[path.suffix.lower()]:
        yield warning(f"is a {decoded.format} image, whatever its suffix")
    if decoded.orientation > 1:
        # An AVIF's is no EXIF tag, but a part of its structure.
        removed = (
            ""
            if decoded.format == "AVIF"
            else "remove the orientation (exiftool -Orientation= FILE) or "
        )
        yield warning(
            "has an EXIF orientation, which turns or mirrors it when it is shown. Boxes drawn on "
            "the image as shown are right; if they were drawn on the image as stored, "
            f"{removed}draw them again"
        )
    if decoded.further:
        yield warning("holds several frames or pages, of which the first is read")
    if decoded.bits in DOUBTFUL:
        yield warning(
            "has samples of 16 bits that need no more than 14: if they were taken with 14, it is "
            "read too dark; multiply them by 4"
        )
    if decoded.bits is not None and depth_of(decoded.bits) < 16:
        yield Issue(
            path.name, None, "repaired",
            f"has samples of 16 bits that need no more than {depth_of(decoded.bits)}: read as such",
        )  # fmt: skip
