"""Augmented samples: the face stays whole, its box right, and colours are what formulas say."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemask.config.localizer import Augment
from facemask.data import affine
from facemask.training.augment import colour_jitter, place, random_erasing

SIZE = 64
NOTHING = {
    "flip": 0, "zoom": [1, 1], "shift": 0, "brightness": 0, "contrast": 0, "saturation": 0,
    "hue": 0, "blur": 0, "jpeg": 0, "erase": 0, "erase_mouth": 0,
}  # fmt: skip
FACES = st.tuples(
    st.floats(0, 50), st.floats(0, 50), st.floats(2, 64), st.floats(2, 64)
).map(lambda f: np.array([f[0], f[1], min(f[0] + f[2], SIZE), min(f[1] + f[3], SIZE)]))  # fmt: skip


def augment(**changes):
    return Augment.model_validate(NOTHING | changes)


def image(seed=0):
    cells = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return cv2.resize(cells, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)


@given(FACES, st.integers(0, 1000))
def test_the_whole_face_stays_in_the_model_input(face, seed):
    settings = augment(flip=0.5, zoom=[0.3, 4], shift=0.5)
    rng = np.random.default_rng(seed)
    (seen,) = affine.transformed(face[None], place(settings, face, SIZE, rng))
    assert (seen > -1e-6).all()
    assert (seen < SIZE + 1e-6).all()


def placed(count=400, **changes):
    face = np.array([28.0, 30, 36, 38])
    settings = augment(**changes)
    return np.array(
        [place(settings, face, SIZE, np.random.default_rng(seed)) for seed in range(count)]
    )


def test_nothing_is_moved_unless_wanted():
    np.testing.assert_allclose(placed(5), np.broadcast_to(np.eye(3), (5, 3, 3)), atol=1e-12)


def test_flips_zooms_and_shifts_are_as_often_and_as_far_as_wanted():
    flipped = placed(flip=0.25)[:, 0, 0] < 0
    assert flipped.mean() == pytest.approx(0.25, abs=0.07)
    np.testing.assert_allclose(placed(flip=1), np.broadcast_to(affine.mirror(SIZE), (400, 3, 3)))
    zoom = placed(zoom=[0.5, 2])[:, 0, 0]
    assert (zoom.min(), zoom.max()) == pytest.approx((0.5, 2), rel=0.03)
    assert (zoom < 1).mean() == pytest.approx(0.5, abs=0.08)  # as often smaller as larger
    shift = placed(shift=0.2)[:, :2, 2]
    assert np.abs(shift).max() == pytest.approx(0.2 * SIZE, rel=0.03)
    assert shift.mean(axis=0) == pytest.approx([0, 0], abs=1.2)


def test_the_centre_stays_in_the_centre_when_zoomed():
    for transform in placed(20, zoom=[0.5, 2]):
        assert transform @ [32, 32, 1] == pytest.approx([32, 32, 1])


def test_colours_are_left_alone_unless_wanted():
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(colour_jitter(image(), augment(), rng), image())


class Always:
    """A generator whose uniform draws are all at the upper end."""

    def uniform(self, low, high, size=None):
        return np.full(size, high) if size else high

    def random(self):
        return 1.0


@pytest.mark.parametrize(
    ("key", "formula"),
    [
        ("brightness", lambda x: x + 255 * 0.3),
        ("contrast", lambda x: 127.5 + 1.3 * (x - 127.5)),
        ("saturation", lambda x: (g := x.mean(axis=2, keepdims=True)) + 1.3 * (x - g)),
    ],
)
def test_colours_follow_formulas(key, formula):
    changed = colour_jitter(image(), augment(**{key: 0.3}), Always())
    expected = np.clip(formula(image().astype(float)), 0, 255)
    np.testing.assert_allclose(changed, expected, atol=1)  # OpenCV's integers


def test_a_third_of_a_turn_of_hue_moves_the_channels_on():
    grey = 90 + image() // 8  # no channel is cut off
    changed = colour_jitter(grey, augment(hue=1 / 3), Always())
    np.testing.assert_allclose(changed, np.roll(grey, 1, axis=2), atol=1)


def test_blur_and_jpeg_change_little_and_only_when_wanted():
    for key in ("blur", "jpeg"):
        rng = np.random.default_rng(0)
        changed = colour_jitter(image(), augment(**{key: 1}), rng)
        away = np.abs(changed.astype(int) - image())
        assert 0 < away.mean() < 12


@pytest.mark.parametrize("seed", range(30))
def test_what_is_erased_lies_beside_the_face_or_over_its_mouth(seed):
    face = np.array([20.0, 16, 44, 48])
    white = np.full((SIZE, SIZE, 3), 255, np.uint8)
    inside = np.zeros((SIZE, SIZE), bool)
    inside[16:48, 20:44] = True
    rng = np.random.default_rng(seed)
    beside = (random_erasing(white.copy(), face, augment(erase=1), rng) != 255).any(axis=2)
    assert not (beside & inside).any()
    over = (random_erasing(white.copy(), face, augment(erase_mouth=1), rng) != 255).any(axis=2)
    assert 0 < over.sum() <= 0.25 * inside.sum() / 2 + 40
    assert not over[:31].any()
    assert not (over & ~inside).any()


def test_erasing_beside_the_face_does_happen():
    face = np.array([20.0, 16, 44, 48])
    drawn = [
        (
            random_erasing(
                np.full((SIZE, SIZE, 3), 255, np.uint8),
                face,
                augment(erase=1),
                np.random.default_rng(s),
            )
            != 255
        ).any()
        for s in range(60)
    ]
    assert 0.2 < np.mean(drawn) < 0.9
