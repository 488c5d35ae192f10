"""Pairs of images that look alike from afar: of these a closer look finds the near-duplicates.

What is compared are the lowest frequencies of brightness, as in perceptual hashes.
"""

import itertools
import math

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree
from tqdm import tqdm

FREQUENCIES = 8  # along each side: coefficients of a discrete cosine transform (DCT)
# A hash of an image has a bit for each coefficient: whether it is positive, and in another hash
# whether it is above the median of all images, which differ in little before one camera. In a copy
# of the whole image at most FLIPS of the 64 bits differ, and coefficients correlate by COPY at
# least. Hashes are sorted in ORDERS ways, each by its own order of bits, and compared with the
# WINDOW before and after their place. A copy with few flips is found nearly always, one with ten or
# more the less often the more images there are.
FLIPS, COPY = 18, 0.8
ORDERS, WINDOW = 16, 8
# Crops resemble the image less: a k-d tree finds those of a correlation of CROP, in a time that
# grows with the square of the number of images. Of the NEIGHBOURS nearest it misses none at less
# than 1 / (1 + SLACK) of that distance (a correlation of 0.92), and few of the others.
CROP, CROP_FREQUENCIES, SLACK = 0.7, 6, 1.0
NEIGHBOURS = 50  # of each image, those most like it, are pairs with it
BLOCK = 1 << 16  # pairs in memory, with their coefficients
FLATTEST = 1e-6  # a norm

Turn = tuple[bool, bool, bool]  # transposed, then mirrored, then upside down
TURNS: list[Turn] = [(a, b, c) for a, b, c in itertools.product((False, True), repeat=3)]


def turned(planes: np.ndarray, turn: Turn) -> np.ndarray:
    """Return planes (…, s, s) transposed, mirrored and put upside down, as a turn says."""
    transposed, mirrored, upside_down = turn
    planes = planes.swapaxes(-1, -2) if transposed else planes
    return planes[..., :: -1 if upside_down else 1, :: -1 if mirrored else 1]


def lookalikes(coefficients: np.ndarray, crops: bool) -> list[tuple[int, int, int]]:
    """Find pairs of images that may be copies, also if one of them is mirrored or turned by 90°.

    Args:
        coefficients: of `low_frequencies`, one row per image.
        crops: also look for crops of one another, which takes longer.

    Returns:
        first, second, turn: rows, and the number in TURNS of the turn of the second that makes it
        most like the first. Each pair is named once, the most alike come first. Crops are compared
        by fewer frequencies than copies.
    """
    if len(coefficients) < 2:
        return []
    searches = [_near_copies, _near_crops] if crops else [_near_copies]
    rows = np.concatenate([search(coefficients) for search in searches], axis=1)
    places = dict(zip(("first", "second", "turn"), rows[:3].astype(int), strict=True))
    found = pd.DataFrame(places | {"correlation": rows[3]})
    found = found[found["first"] != found["second"]]
    found = found.sort_values("correlation", ascending=False, kind="stable")
    # A turn of the first is the reverse turn of the second.
    unordered = pd.DataFrame(np.sort(found[["first", "second"]], axis=1), found.index)
    found = found[~unordered.duplicated()].reset_index(drop=True)
    images = pd.concat([found["first"], found["second"]]).sort_index(kind="stable")
    near = images.groupby(images).cumcount() < NEIGHBOURS
    found = found[near.groupby(level=0).any()]
    return [*found[["first", "second", "turn"]].itertuples(index=False, name=None)]


def low_frequencies(planes: np.ndarray) -> np.ndarray:
    """Return the first coefficients of the DCT-II of planes (N, s, s): (N, f, f)."""
    side = planes.shape[1]
    cosines = np.cos(np.pi * np.outer(range(FREQUENCIES), np.arange(side) + 0.5) / side)
    cosines[0] *= math.sqrt(0.5)  # as all rows are, of one length
    cosines = cosines.astype(np.float32)
    return cosines @ planes.astype(np.float32) @ cosines.T


def _near_copies(coefficients: np.ndarray) -> np.ndarray:
    """Pairs that are near one another in one of several sorted lists: a time of N log N.

    Source: M. Charikar, "Similarity Estimation Techniques from Rounding Algorithms", STOC 2002;
    D. Ravichandran, P. Pantel, E. Hovy, "Randomized Algorithms and NLP", ACL 2005.

    Returns:
        first, second, turn and correlation of each: (4, n); some twice.
    """
    units, rng = _units(coefficients), np.random.default_rng(0)
    thresholds = np.zeros(units.shape[1:], units.dtype), np.median(units, axis=0)
    return np.concatenate([_near_hashes(units, threshold, rng) for threshold in thresholds], axis=1)


def _near_hashes(units: np.ndarray, threshold: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As `_near_copies`: pairs whose hashes, bits above a threshold, are near one another."""
    count, steps = len(units), np.arange(-WINDOW, WINDOW)
    above = [(_turned(units, turn) > threshold).reshape(count, -1) for turn in TURNS]
    hashes = [_packed(each) for each in above]
    found = []
    for _ in tqdm(range(ORDERS), "lookalikes", unit="list", delay=2):
        bits = rng.permutation(FREQUENCIES**2)
        # Equal hashes lie in another order in each list.
        shuffled = rng.permutation(count)
        by_key = shuffled[np.argsort(_packed(above[0][shuffled][:, bits]), kind="stable")]
        keys = _packed(above[0][by_key][:, bits])
        for turn, own in enumerate(above):
            place = np.searchsorted(keys, _packed(own[:, bits]))
            near = by_key[np.clip(place[:, None] + steps, 0, count - 1)]
            flips = np.bitwise_count(hashes[turn][:, None] ^ hashes[0][near])
            second, column = np.nonzero(flips <= FLIPS)
            found.append(_alike(units, near[second, column], second, turn))
    return np.concatenate(found, axis=1)


def _packed(bits: np.ndarray) -> np.ndarray:
    """Bits (N, 64) as one number each, the first the highest."""
    return np.packbits(np.ascontiguousarray(bits), axis=1).view(">u8")[:, 0].astype(np.uint64)


def _alike(units: np.ndarray, first: np.ndarray, second: np.ndarray, turn: int) -> np.ndarray:
    """Those of some pairs that correlate by COPY at least: as `_near_copies` returns them."""
    apart = np.flatnonzero(first != second)
    found = [np.zeros((4, 0))]
    for start in range(0, len(apart), BLOCK):
        rows = apart[start : start + BLOCK]
        one, other = units[first[rows]], _turned(units[second[rows]], TURNS[turn])
        correlation = np.einsum("nij,nij->n", one, other)
        rows, correlation = (each[correlation >= COPY] for each in (rows, correlation))
        found.append(np.stack([first[rows], second[rows], np.full(len(rows), turn), correlation]))
    return np.concatenate(found, axis=1)


def _near_crops(coefficients: np.ndarray) -> np.ndarray:
    """The nearest of each image, and of each of its turns: as `_near_copies` returns them."""
    units = _units(coefficients[:, :CROP_FREQUENCIES, :CROP_FREQUENCIES])
    vectors, nearest = units.reshape(len(units), -1), min(NEIGHBOURS, len(units))
    # A distance d of units is a correlation of 1 - d² / 2.
    reach = math.sqrt(2 - 2 * CROP)
    found = []
    for turn, how in enumerate(TURNS):
        tree = cKDTree(_turned(units, how).reshape(vectors.shape))
        distance, near = tree.query(
            vectors, nearest, eps=SLACK, distance_upper_bound=reach, workers=-1
        )
        first, rank = np.nonzero(near < len(units))
        apart, second = distance[first, rank], near[first, rank]
        found.append(np.stack([first, second, np.full(len(first), turn), 1 - apart**2 / 2]))
    return np.concatenate(found, axis=1)


def _turned(coefficients: np.ndarray, turn: Turn) -> np.ndarray:
    """The coefficients of `turned` planes: reversed, a cosine of odd frequency changes its sign."""
    transposed, mirrored, upside_down = turn
    signs = ((-1.0) ** np.arange(coefficients.shape[-1])).astype(coefficients.dtype)
    rows = coefficients.swapaxes(1, 2) if transposed else coefficients
    rows = rows * signs if mirrored else rows
    return rows * signs[:, None] if upside_down else rows


def _units(coefficients: np.ndarray) -> np.ndarray:
    """The coefficients but the mean, which is 0 here, of length 1."""
    rest = coefficients.copy()
    rest[:, 0, 0] = 0
    return rest / np.maximum(np.linalg.norm(rest, axis=(1, 2), keepdims=True), FLATTEST)
