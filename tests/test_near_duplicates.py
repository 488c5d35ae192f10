"""Near-duplicates: hashes and groups against loops."""

import hashlib

import numpy as np
import pandas as pd

from facemask.data import near_duplicates


def test_difference_hash_against_a_loop_over_cells():
    # A grey image whose 17 x 16 cells hold 4 x 5 px each, so that a cell's mean is exact.
    rng = np.random.default_rng(3)
    cells = rng.integers(10, 245, (16, 17))
    gray = np.kron(cells, np.ones((5, 4), int)) + rng.integers(-3, 4, (80, 68))
    bits = np.unpackbits(
        np.frombuffer(
            near_duplicates.difference_hash(np.repeat(gray[..., None], 3, 2).astype(np.uint8)),
            np.uint8,
        )
    ).reshape(16, 16)
    decided = 0
    for row in range(16):
        means = [gray[5 * row : 5 * row + 5, 4 * c : 4 * c + 4].mean() for c in range(17)]
        for column in range(16):
            rise = means[column + 1] - means[column]
            if abs(rise) > 1:  # less than one grey level is a matter of rounding
                decided += 1
                assert bits[row, column] == (rise > 0)
    assert decided > 240


def flipped(hash_, bits):
    """The hash with the given bits turned over, as hexadecimal text."""
    number = int(hash_, 16)
    for bit in bits:
        number ^= 1 << bit
    return f"{number:064x}"


def test_same_scene_is_16_bits_apart_and_chains_are_joined():
    base = hashlib.sha256(b"a scene").hexdigest()
    hashes = [
        base,
        flipped(base, range(16)),  # 16 from the first
        flipped(base, range(32)),  # 32 from the first, 16 from the second
        flipped(base, range(100, 117)),  # 17 from the first
        hashlib.sha256(b"another scene").hexdigest(),
    ]
    group = near_duplicates.same_scene(hashes)
    assert group[0] == group[1] == group[2]
    assert len(set(group)) == 3


def test_no_images_show_no_scene():
    assert near_duplicates.same_scene([]).tolist() == []


def test_same_scene_against_repeated_joining():
    rng = np.random.default_rng(5)
    hashes = [hashlib.sha256(bytes([n])).hexdigest() for n in range(12)]
    for _ in range(40):
        hashes.append(
            flipped(rng.choice(hashes), rng.choice(256, rng.integers(1, 24), False).tolist())
        )
    joined = list(range(len(hashes)))
    for _ in hashes:
        for i, first in enumerate(hashes):
            for j, second in enumerate(hashes):
                if (int(first, 16) ^ int(second, 16)).bit_count() <= 16:
                    joined[i] = joined[j] = min(joined[i], joined[j])
    found = pd.Series(near_duplicates.same_scene(pd.Series(hashes)))
    assert 12 < len(set(joined)) < len(hashes)
    assert found.groupby(joined).nunique().eq(1).all()
    assert found.nunique() == len(set(joined))
    assert sorted(set(found)) == list(range(found.nunique()))
