"""Images that look alike from afar: all pairs of random ones, and a camera that does not move."""

import cv2
import numpy as np
import pytest

from facemask.data.lookalikes import (
    FREQUENCIES,
    NEIGHBOURS,
    TURNS,
    lookalikes,
    low_frequencies,
    turned,
)

SIDE, ALONE, COPIED = 32, 300, 60


@pytest.fixture(scope="module")
def planes():
    """Random images, and copies of some of them, each turned in one of the eight ways."""
    rng = np.random.default_rng(0)
    alone = [cv2.GaussianBlur(rng.normal(size=(SIDE, SIDE)), (0, 0), 3) for _ in range(ALONE)]
    copies = [turned(each, TURNS[n % len(TURNS)]) for n, each in enumerate(alone[:COPIED])]
    every = np.stack([*alone, *copies])
    every = every + rng.normal(0, 0.1 * every.std(), every.shape)
    low, high = every.min(), every.max()
    return ((every - low) * 255 / (high - low)).astype(np.uint8)


def spectrum(plane):
    """The low frequencies of an image but its mean, by OpenCV."""
    lowest = cv2.dct(plane.astype(np.float64))[:FREQUENCIES, :FREQUENCIES].ravel()[1:]
    return lowest / np.linalg.norm(lowest)


def likeness(planes, first, second, turn):
    return spectrum(planes[first]) @ spectrum(turned(planes[second], TURNS[turn]))


def test_low_frequencies_are_those_of_a_dct(planes):
    found = low_frequencies(planes)[5].ravel()[1:]
    np.testing.assert_allclose(found / np.linalg.norm(found), spectrum(planes[5]), atol=1e-5)


def test_turns_are_the_eight_of_a_square():
    corner = np.arange(4).reshape(2, 2)
    every = {turned(corner, turn).tobytes() for turn in TURNS}
    rotated = (np.rot90(side, k) for side in (corner, corner.T) for k in range(4))
    assert every == {np.ascontiguousarray(each).tobytes() for each in rotated}


@pytest.mark.parametrize("crops", [False, True])
def test_copies_are_found_with_their_turn(planes, crops):
    found = lookalikes(low_frequencies(planes), crops)
    turns = {frozenset(pair): (*pair, turn) for *pair, turn in found}
    for number in range(COPIED):
        first, second, turn = turns[frozenset((number, ALONE + number))]
        assert likeness(planes, first, second, turn) > 0.9


def test_each_pair_is_named_once_the_most_alike_first_and_nothing_else(planes):
    found = lookalikes(low_frequencies(planes), crops=False)
    alike = [likeness(planes, *pair) for pair in found]
    assert len({frozenset(pair[:2]) for pair in found}) == len(found)
    assert all(first != second for first, second, _ in found)
    assert min(alike) > 0.79
    np.testing.assert_allclose(alike, sorted(alike, reverse=True), atol=1e-4)


def test_all_pairs_that_are_very_much_alike_are_found(planes):
    """Each pair in each turn, one by one."""
    found = {frozenset(pair[:2]) for pair in lookalikes(low_frequencies(planes), crops=False)}
    one = np.stack([spectrum(each) for each in planes])
    for turn in TURNS:
        others = np.stack([spectrum(turned(each, turn)) for each in planes])
        first, second = np.nonzero(np.triu(one @ others.T > 0.95, 1))
        assert {frozenset(pair) for pair in zip(first, second, strict=True)} <= found


def frames(moments, room, noise):
    """Two images each of moments before a camera that does not move."""
    rng = np.random.default_rng(1)

    def soft():
        return cv2.GaussianBlur(rng.normal(size=(SIDE, SIDE)), (0, 0), 3)

    behind = room * soft()
    planes = np.repeat([behind + soft() for _ in range(moments)], 2, axis=0)
    planes = planes * 200 / np.abs(planes).max() + 128 + rng.normal(0, noise, planes.shape)
    return planes.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("room", [0, 10, 50])
def test_copies_among_many_lookalikes_are_found(room):
    """The more of a room, the more alike are all images."""
    found = lookalikes(low_frequencies(frames(500, room, 0.1)), crops=False)
    pairs = {frozenset(pair[:2]) for pair in found}
    assert {frozenset((number, number + 1)) for number in range(0, 1000, 2)} <= pairs


@pytest.mark.parametrize("count", [2, 3, 200])
def test_copies_of_one_image_have_pairs_with_neighbours_alone(planes, count):
    noise = np.random.default_rng(2).integers(0, 3, (count, SIDE, SIDE), np.uint8)
    found = lookalikes(low_frequencies(planes[0] // 2 + noise), crops=False)
    assert {number for pair in found for number in pair[:2]} == {*range(count)}
    assert len(found) <= count * min(count - 1, NEIGHBOURS)


@pytest.mark.parametrize("crops", [False, True])
@pytest.mark.parametrize("count", [0, 1])
def test_no_image_and_one_have_no_pair(planes, count, crops):
    assert lookalikes(low_frequencies(planes[:count]), crops) == []
