"""Near-duplicate images: difference hashes, and groups of images of one scene."""

from collections.abc import Iterable

import cv2
import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

HASH_SIDE = 16
# On the 853 images of the study, 14 pairs lie at 0-11 of 256 bits and show the same scene; the
# next pair lies at 24 and does not.
MAX_HASH_DISTANCE = 16


def difference_hash(image: np.ndarray) -> bytes:
    """Return 256 bits: where brightness rises from left to right.

    Args:
        image: uint8 RGB, shape (height, width, 3).

    Source: N. Krawetz, "Kind of Like That", hackerfactor.com, 2013 (dHash), at 16 x 16 cells.
    """
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    cells = cv2.resize(gray, (HASH_SIDE + 1, HASH_SIDE), interpolation=cv2.INTER_AREA)
    return np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes()


def same_scene(hashes: Iterable[str]) -> np.ndarray:
    """Group images whose hashes differ in at most MAX_HASH_DISTANCE bits, chains joined.

    Args:
        hashes: hexadecimal difference hashes, one per image.

    Returns:
        int array: the group of each image, numbered from 0.
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
    # Numbered in the order of the images.
    return pd.factorize(scene[which])[0]


def _candidates(bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of rows among which are all that differ in at most MAX_HASH_DISTANCE bits.

    If at most MAX_HASH_DISTANCE bits differ, at least one of MAX_HASH_DISTANCE + 1 parts is equal:
    only rows that share a part are paired.
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
