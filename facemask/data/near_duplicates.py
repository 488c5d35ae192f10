"""Near-duplicate images: copies of one original, found by their names and by their faces."""

import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import PurePath

import cv2
import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from tqdm import tqdm

from facemask.columns import BOX
from facemask.config.data import NearDuplicates
from facemask.data.images import THUMBNAIL as SIDE

# The first look compares the lowest frequencies, FREQUENCIES along each side. Of the images whose
# correlation with another is above that of a candidate, the nearest ones get the second look.
FREQUENCIES, NEIGHBOURS = 6, 50
CANDIDATE, CROPPED_CANDIDATE = 0.85, 0.7
# It misses no pair at less than 1 / (1 + SLACK) of a candidate's distance (a correlation of 0.96),
# and few of the others: an exact search compares nearly all images with all others.
SLACK = 1.0
BLOCK = 256  # thumbnails that are in memory as float32
# The second look compares brightness relative to its surroundings (a standard deviation, px of a
# thumbnail) inside faces: within their boxes shrunk by this factor, as the edges of faces that were
# cut out look alike.
SURROUNDINGS, INSIDE = 3.0, 0.8
# Alignment: px of the planes it is found on, and the share of faces that both images must show.
ALIGNED, SHOWN = 64, 0.5
FLATTEST = 1e-6  # a norm

_SHAPE = (FREQUENCIES, FREQUENCIES)

Turn = tuple[bool, bool, bool]  # transposed, then mirrored, then upside down
TURNS: list[Turn] = [(a, b, c) for a, b, c in itertools.product((False, True), repeat=3)]
Pair = tuple[int, int]


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
    pairs = [*_of_one_name(images["image"]), *_of_same_faces(images, faces, thumbnails, how)]
    first, second = np.array(pairs, int).reshape(-1, 2).T
    edges = coo_array((np.ones(len(pairs), bool), (first, second)), shape=2 * (len(images),))
    labels = connected_components(edges, directed=False)[1]
    # Numbered in the order of the images.
    return pd.Series(pd.factorize(labels)[0], images["image"], name="group")


def original(name: str) -> str:
    """Return the name of the image that another is a copy of.

    Roboflow's exports name a copy of a.jpg a_jpg.rf.HASH.jpg.
    """
    before, mark, _ = name.partition(".rf.")
    path = PurePath(name)
    return before if mark else f"{path.stem}_{path.suffix[1:]}"


def turned(planes: np.ndarray, turn: Turn) -> np.ndarray:
    """Return planes (…, s, s) transposed, mirrored and put upside down, as a turn says."""
    transposed, mirrored, upside_down = turn
    planes = planes.swapaxes(-1, -2) if transposed else planes
    return planes[..., :: -1 if upside_down else 1, :: -1 if mirrored else 1]


def _of_one_name(names: pd.Series) -> Iterator[Pair]:
    for rows in pd.Series(range(len(names))).groupby(names.map(original).to_numpy()):
        yield from itertools.pairwise(rows[1])


def _of_same_faces(
    images: pd.DataFrame, faces: pd.DataFrame, thumbnails: np.ndarray, how: NearDuplicates
) -> Iterator[Pair]:
    boxes = _boxes(images, faces)
    rows = np.array(list(boxes), int)
    likeness = _aligned_likeness if how.crops else _likeness
    blocks = (thumbnails[rows[start : start + BLOCK]] for start in range(0, len(rows), BLOCK))
    waves = np.concatenate([np.zeros((0, *_SHAPE), np.float32), *map(_low_frequencies, blocks)])
    candidates = _candidates(waves, CROPPED_CANDIDATE if how.crops else CANDIDATE)
    for one, two, turn in tqdm(candidates, "near-duplicates", unit="pair", disable=not how.crops):
        first, second = rows[one], rows[two]
        other = (turned(each, TURNS[turn]) for each in (thumbnails[second], _mask(boxes[second])))
        if likeness(thumbnails[first], _mask(boxes[first]), *other) >= how.similarity:
            yield first, second


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


def _candidates(waves: np.ndarray, correlation: float) -> list[tuple[int, int, int]]:
    """Return pairs of rows that look alike from afar, and the turn of the second that does it."""
    if len(waves) < 2:
        return []
    reach, nearest = math.sqrt(2 - 2 * correlation), min(NEIGHBOURS, len(waves))
    found = []
    for turn, how in enumerate(TURNS):
        tree = cKDTree(_vectors(_turned_waves(waves, how)))
        distance, near = tree.query(
            _vectors(waves), nearest, eps=SLACK, distance_upper_bound=reach, workers=-1
        )
        first, rank = np.nonzero(near < len(waves))
        second = near[first, rank]
        found.append(np.stack([first, second, np.full(len(first), turn), distance[first, rank]]))
    columns = ["first", "second", "turn", "apart"]
    table = pd.DataFrame(np.concatenate(found, axis=1).T, columns=columns)
    pairs = table[table["first"] != table["second"]].sort_values("apart", kind="stable")
    # A turn of the first is the reverse turn of the second.
    unordered = pd.DataFrame(np.sort(pairs[["first", "second"]], axis=1), pairs.index)
    best = pairs[~unordered.duplicated()]
    return [*best[["first", "second", "turn"]].astype(int).itertuples(index=False, name=None)]


def _low_frequencies(planes: np.ndarray) -> np.ndarray:
    """Return the first coefficients of the DCT-II of planes (N, s, s): (N, f, f)."""
    side = planes.shape[1]
    cosines = np.cos(np.pi * np.outer(range(FREQUENCIES), np.arange(side) + 0.5) / side)
    cosines[0] *= math.sqrt(0.5)  # as all rows are, of one length
    cosines = cosines.astype(np.float32)
    return cosines @ planes.astype(np.float32) @ cosines.T


def _turned_waves(waves: np.ndarray, turn: Turn) -> np.ndarray:
    """The coefficients of `turned` planes: reversed, a cosine of odd frequency changes its sign."""
    transposed, mirrored, upside_down = turn
    signs = (-1.0) ** np.arange(FREQUENCIES)
    waves = waves.swapaxes(1, 2) if transposed else waves
    waves = waves * signs if mirrored else waves
    return waves * signs[:, None] if upside_down else waves


def _vectors(waves: np.ndarray) -> np.ndarray:
    """Without the mean, and of length 1: a distance d of two is a correlation of 1 - d² / 2."""
    vectors = waves.reshape(len(waves), -1)[:, 1:]
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), FLATTEST)


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
