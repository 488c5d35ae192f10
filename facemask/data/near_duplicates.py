"""Near-duplicate images: copies of one original, found by their names and by their faces."""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import PurePath

import cv2
import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import DisjointSet
from tqdm import tqdm

from facemask.columns import BOX
from facemask.config.data import NearDuplicates
from facemask.data.images import THUMBNAIL as SIDE
from facemask.data.lookalikes import FLATTEST, TURNS, lookalikes, low_frequencies, turned

BLOCK = 256  # thumbnails that are in memory as float32
# A closer look at images that look alike from afar compares brightness relative to its surroundings
# (a standard deviation, px of a thumbnail) inside faces: within their boxes shrunk by this factor,
# as the edges of faces that were cut out look alike.
SURROUNDINGS, INSIDE = 3.0, 0.8
# Alignment: px of the planes it is found on, and the share of faces that both images must show.
ALIGNED, SHOWN = 64, 0.5


def group(
    images: pd.DataFrame, faces: pd.DataFrame, thumbnails: np.ndarray, how: NearDuplicates
) -> pd.Series:
    """Group images that are copies of one original; chains are joined.

    Two images are copies if they are named after the same one, as in exports of augmented images,
    or if their faces look alike at the same places, also if one of them is mirrored or turned by
    90°. An image without faces is a copy by its name alone.

    Args:
        images: the table of `images.inventory`.
        faces: the table of `annotations.parse`.
        thumbnails: `images.thumbnail` of each image, uint8 (N, s, s).
        how: how alike the faces of copies are, and whether one may be a crop of the other.

    Returns:
        The group of each image, numbered from 0, indexed by the image's name.
    """
    groups = DisjointSet(range(len(images)))
    for first, second in _of_one_name(images["image"]):
        groups.merge(first, second)
    _join_of_same_faces(groups, images, faces, thumbnails, how)
    labels = np.array([groups[row] for row in range(len(images))], int)
    # Numbered in the order of the images.
    return pd.Series(pd.factorize(labels)[0], images["image"], name="group")


def original(name: str) -> str:
    """Return the name of the image that another is a copy of.

    Roboflow's exports name a copy of a.jpg a_jpg.rf.HASH.jpg.
    """
    before, mark, _ = name.partition(".rf.")
    path = PurePath(name)
    return before if mark else f"{path.stem}_{path.suffix[1:]}"


def _of_one_name(names: pd.Series) -> Iterator[tuple[int, int]]:
    for rows in pd.Series(range(len(names))).groupby(names.map(original).to_numpy()):
        yield from itertools.pairwise(rows[1])


def _join_of_same_faces(
    groups: DisjointSet,
    images: pd.DataFrame,
    faces: pd.DataFrame,
    thumbnails: np.ndarray,
    how: NearDuplicates,
) -> None:
    boxes = _boxes(images, faces)
    rows = np.array(list(boxes), int)
    likeness = _aligned_likeness if how.crops else _likeness
    blocks = (thumbnails[rows[start : start + BLOCK]] for start in range(0, len(rows), BLOCK))
    parts = [low_frequencies(thumbnails[:0]), *map(low_frequencies, blocks)]
    pairs = lookalikes(np.concatenate(parts), how.crops)
    for one, two, turn in tqdm(pairs, "near-duplicates", unit="pair", delay=2):
        first, second = rows[one], rows[two]
        if groups.connected(first, second):
            continue
        other = (turned(each, TURNS[turn]) for each in (thumbnails[second], _mask(boxes[second])))
        if likeness(thumbnails[first], _mask(boxes[first]), *other) >= how.similarity:
            groups.merge(first, second)


def _boxes(images: pd.DataFrame, faces: pd.DataFrame) -> Mapping[int, np.ndarray]:
    """The boxes of each row of images that has faces, half-open, in px of its thumbnail."""
    sides = np.tile(faces[["width", "height"]].to_numpy(), 2)
    boxes = SIDE * (faces[BOX].to_numpy() + np.array([0, 0, 1, 1])) / sides
    rows = pd.Series(range(len(images)), images["image"])
    return {rows[image]: boxes[of_it] for image, of_it in faces.groupby("image").indices.items()}


def _mask(boxes: np.ndarray) -> np.ndarray:
    """Where a thumbnail shows faces, bool (s, s)."""
    mask = np.zeros((SIDE, SIDE), bool)
    low, high = boxes[:, :2], boxes[:, 2:]
    centre, half = (low + high) / 2, np.maximum(INSIDE * (high - low) / 2, 2)
    corners = np.concatenate([centre - half, centre + half], axis=1)
    for x0, y0, x1, y1 in np.rint(corners).clip(0, SIDE).astype(int):
        mask[y0:y1, x0:x1] = True
    return mask


def _likeness(
    first: np.ndarray, faces: np.ndarray, second: np.ndarray, others: np.ndarray
) -> float:
    """Return the correlation of two thumbnails where either shows faces."""
    shown = faces | others
    one, other = _detail(first)[shown], _detail(second)[shown]
    return float(one @ other / max(np.linalg.norm(one) * np.linalg.norm(other), FLATTEST))


def _detail(thumbnail: np.ndarray) -> np.ndarray:
    plane = np.ascontiguousarray(thumbnail, np.float32)
    return plane - cv2.GaussianBlur(plane, (0, 0), SURROUNDINGS)


def _aligned_likeness(
    first: np.ndarray, faces: np.ndarray, second: np.ndarray, others: np.ndarray
) -> float:
    """Return the correlation as they are or, if that is higher, aligned in either direction."""
    one = _seen_in(first, faces, second, others)
    aligned = min(one, _seen_in(second, others, first, faces)) if one > 0 else 0.0
    return max(aligned, _likeness(first, faces, second, others))


def _seen_in(first: np.ndarray, faces: np.ndarray, second: np.ndarray, others: np.ndarray) -> float:
    """Return the correlation of a thumbnail with that part of another that shows the same."""
    warp = _alignment(first, second)
    if warp is None:
        return 0.0

    def moved(plane: np.ndarray, border: int) -> np.ndarray:
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(plane, warp, (SIDE, SIDE), flags=flags, borderMode=border)

    inside = moved(np.full((SIDE, SIDE), 255, np.uint8), cv2.BORDER_CONSTANT) == 255
    if (faces & inside).sum() < SHOWN * faces.sum():
        return 0.0
    theirs = moved(others.astype(np.uint8), cv2.BORDER_CONSTANT) > 0
    second = moved(np.ascontiguousarray(second), cv2.BORDER_REPLICATE)
    return _likeness(first, faces & inside, second, theirs & inside)


def _alignment(first: np.ndarray, second: np.ndarray) -> np.ndarray | None:
    """Return the affine map (2, 3) from px of one thumbnail to those of another, if there is one.

    Source: G. Evangelidis, E. Psarakis, "Parametric Image Alignment Using Enhanced Correlation
    Coefficient Maximization", PAMI 2008.
    """
    sides = (ALIGNED, ALIGNED)
    one, other = (cv2.resize(each, sides, interpolation=cv2.INTER_AREA) for each in (first, second))
    start = np.eye(2, 3, dtype=np.float32)
    until = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-3)
    try:
        found = cv2.findTransformECC(one, other, start, cv2.MOTION_AFFINE, until)[1]
    except cv2.error:  # it does not converge
        return None
    warp = np.array(found, np.float32)
    warp[:, 2] *= SIDE / ALIGNED
    return warp
