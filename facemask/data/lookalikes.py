"""Pairs of images that look alike from afar: of these a closer look finds the near-duplicates.

What is compared are the lowest frequencies of brightness, as in perceptual hashes.
"""

import itertools
import math

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree
from tqdm import tqdm

FREQUENCIES = 8  # of waves, along each side
# Of a copy of the whole image, at most FLIPS of the 64 waves have another sign (a hash of 64 bits),
# and the waves correlate by COPY at least. Each hash is compared with the WINDOW before it and as
# many after it in ORDERS sorted lists, each of which begins with other bits.
FLIPS, COPY = 18, 0.8
ORDERS, WINDOW = 32, 8
# Crops resemble the image less. A k-d tree finds the nearest NEIGHBOURS of each, in a time that
# grows with the square of the number of images. It misses no pair at less than 1 / (1 + SLACK) of
# the distance (a correlation of 0.92), and few of the others.
CROP, CROP_FREQUENCIES, NEIGHBOURS, SLACK = 0.7, 6, 50, 1.0
BLOCK = 1 << 16  # pairs in memory, as vectors
FLATTEST = 1e-6  # a norm

Turn = tuple[bool, bool, bool]  # transposed, then mirrored, then upside down
TURNS: list[Turn] = [(a, b, c) for a, b, c in itertools.product((False, True), repeat=3)]


def turned(planes: np.ndarray, turn: Turn) -> np.ndarray:
    """Return planes (…, s, s) transposed, mirrored and put upside down, as a turn says."""
    transposed, mirrored, upside_down = turn
    planes = planes.swapaxes(-1, -2) if transposed else planes
    return planes[..., :: -1 if upside_down else 1, :: -1 if mirrored else 1]


def lookalikes(waves: np.ndarray, crops: bool) -> list[tuple[int, int, int]]:
    """Find pairs of images that may be copies, also if one of them is mirrored or turned by 90°.

    Args:
        waves: of `low_frequencies`, one row per image.
        crops: also look for crops of one another, which takes longer.

    Returns:
        first, second, turn: rows, and the number in TURNS of the turn of the second that makes it
        most like the first. Each pair is named once, the most alike come first.
    """
    if len(waves) < 2:
        return []
    found = _near_crops(waves) if crops else _near_copies(waves)
    columns = ["first", "second", "turn", "correlation"]
    pairs = pd.DataFrame(dict(zip(columns, found, strict=True)))
    pairs = pairs[pairs["first"] != pairs["second"]]
    pairs = pairs.sort_values("correlation", ascending=False, kind="stable")
    # A turn of the first is the reverse turn of the second.
    unordered = pd.DataFrame(np.sort(pairs[["first", "second"]], axis=1), pairs.index)
    best = pairs[~unordered.duplicated()]
    return [*best[["first", "second", "turn"]].itertuples(index=False, name=None)]


def low_frequencies(planes: np.ndarray) -> np.ndarray:
    """Return the first coefficients of the DCT-II of planes (N, s, s): (N, f, f)."""
    side = planes.shape[1]
    cosines = np.cos(np.pi * np.outer(range(FREQUENCIES), np.arange(side) + 0.5) / side)
    cosines[0] *= math.sqrt(0.5)  # as all rows are, of one length
    cosines = cosines.astype(np.float32)
    return cosines @ planes.astype(np.float32) @ cosines.T


Found = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _near_copies(waves: np.ndarray) -> Found:
    """Pairs that are near one another in one of several sorted lists: a time of N log N.

    Source: G. Manku, A. Jain, A. Das Sarma, "Detecting Near-Duplicates for Web Crawling", WWW 2007.
    """
    count = len(waves)
    signs = [(_turned_waves(waves, turn) > 0).reshape(count, -1) for turn in TURNS]
    hashes = [_packed(each) for each in signs]
    steps, rng = np.arange(-WINDOW, WINDOW), np.random.default_rng(0)
    found = []
    for _ in tqdm(range(ORDERS), "lookalikes", unit="list", delay=2):
        order = rng.permutation(FREQUENCIES**2)
        keys = [_packed(each[:, order]) for each in signs]
        by_key = np.argsort(keys[0], kind="stable")
        for turn, key in enumerate(keys):
            place = np.searchsorted(keys[0][by_key], key)
            near = by_key[np.clip(place[:, None] + steps, 0, count - 1)]
            flips = np.bitwise_count(hashes[turn][:, None] ^ hashes[0][near])
            row, column = np.nonzero(flips <= FLIPS)
            found.append((near[row, column] * count + row) * len(TURNS) + turn)
    codes = np.sort(np.concatenate(found))
    # Each once: np.unique takes a hundred times as long.
    pairs, turns = np.divmod(codes[np.diff(codes, prepend=-1) > 0], len(TURNS))
    first, second = np.divmod(pairs, count)
    correlation = _correlations(waves, first, second, turns)
    alike = correlation >= COPY
    return first[alike], second[alike], turns[alike], correlation[alike]


def _packed(signs: np.ndarray) -> np.ndarray:
    """Signs (N, 64) as the bits of one number each, the first the highest."""
    return np.packbits(np.ascontiguousarray(signs), axis=1).view(">u8")[:, 0].astype(np.uint64)


def _correlations(
    waves: np.ndarray, first: np.ndarray, second: np.ndarray, turns: np.ndarray
) -> np.ndarray:
    """How alike each first is to the second, turned."""
    found = np.zeros(len(first), np.float32)
    vectors = _vectors(waves)
    for number, how in enumerate(TURNS):
        others, rows = _vectors(_turned_waves(waves, how)), np.flatnonzero(turns == number)
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            found[block] = np.einsum("nk,nk->n", vectors[first[block]], others[second[block]])
    return found


def _near_crops(waves: np.ndarray) -> Found:
    """The nearest of each image, and of each of its turns."""
    waves = waves[:, :CROP_FREQUENCIES, :CROP_FREQUENCIES]
    reach, nearest = math.sqrt(2 - 2 * CROP), min(NEIGHBOURS, len(waves))
    found = []
    for turn, how in enumerate(TURNS):
        tree = cKDTree(_vectors(_turned_waves(waves, how)))
        distance, near = tree.query(
            _vectors(waves), nearest, eps=SLACK, distance_upper_bound=reach, workers=-1
        )
        first, rank = np.nonzero(near < len(waves))
        apart, second = distance[first, rank], near[first, rank]
        found.append(np.stack([first, second, np.full(len(first), turn), 1 - apart**2 / 2]))
    first, second, turns, correlation = np.concatenate(found, axis=1)
    return first.astype(int), second.astype(int), turns.astype(int), correlation


def _turned_waves(waves: np.ndarray, turn: Turn) -> np.ndarray:
    """The coefficients of `turned` planes: reversed, a cosine of odd frequency changes its sign."""
    transposed, mirrored, upside_down = turn
    signs = ((-1.0) ** np.arange(waves.shape[-1])).astype(waves.dtype)
    waves = waves.swapaxes(1, 2) if transposed else waves
    waves = waves * signs if mirrored else waves
    return waves * signs[:, None] if upside_down else waves


def _vectors(waves: np.ndarray) -> np.ndarray:
    """Without the mean, and of length 1: a distance d of two is a correlation of 1 - d² / 2."""
    vectors = waves.reshape(len(waves), -1)[:, 1:]
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), FLATTEST)
