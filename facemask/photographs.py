"""Whole photographs: are they readable, how large are they, and which show the same scene?"""

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from facemask.errors import InputError

HASH_SIDE = 16
# On the 853 photographs of the study, 14 pairs lie at 0-11 of 256 bits and show the same scene; the
# next pair lies at 24 and does not.
MAX_HASH_DISTANCE = 16


def read_rgb(path: Path) -> np.ndarray:
    """Decode a photograph to uint8 RGB, shape (height, width, 3); 16-bit and alpha are reduced.

    Raises:
        InputError: the file is missing or is no complete image.
    """
    return _decode(_read(path), path)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; put the photograph there") from error


def _decode(data: bytes, path: Path) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if data else None
    if image is None or _is_cut_jpeg(data):
        raise InputError(f"{path}: not a readable image; replace it or take it out")
    return image


def _is_cut_jpeg(data: bytes) -> bool:
    # OpenCV fills what a JPEG lacks with grey; only the missing mark of its end tells.
    return data.startswith(b"\xff\xd8") and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")


def survey(paths: list[Path], workers: int) -> pd.DataFrame:
    """Describe each photograph, decoding it once, as many at a time as there are workers.

    Returns:
        One row a photograph: image (file name), width, height (px), sha256 of the file, hash (the
        difference hash, hexadecimal) and group (the same number for photographs of one scene).

    Raises:
        InputError: lists every file that cannot be decoded.
    """
    with ThreadPoolExecutor(workers) as pool:
        results = list(tqdm(pool.map(_describe, paths), "verify", len(paths), unit="image"))
    broken = [str(result) for result in results if isinstance(result, InputError)]
    if broken:
        raise InputError("\n".join(broken))
    table = pd.DataFrame(results, columns=["image", "width", "height", "sha256", "hash"])
    table["group"] = same_scene(table["hash"])
    return table


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


def _describe(path: Path) -> tuple[str, int, int, str, str] | InputError:
    try:
        data = _read(path)
        image = _decode(data, path)
    except InputError as error:
        return error
    height, width = image.shape[:2]
    digest = hashlib.sha256(data).hexdigest()
    return path.name, width, height, digest, difference_hash(image).hex()
