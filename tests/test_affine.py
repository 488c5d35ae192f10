"""Crops on model inputs: against points followed by hand, and pixels that lie where boxes do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemask.data import affine

SIZE = 64
SIDES = st.integers(1, 300)


def followed(transform, x, y):
    return (transform @ [x, y, 1])[:2]


@given(SIDES, SIDES)
def test_a_letterbox_keeps_the_aspect_and_touches_two_sides(width, height):
    transform = affine.resizing(width, height, SIZE, "letterbox")
    (x0, y0), (x1, y1) = followed(transform, 0, 0), followed(transform, width, height)
    assert (x1 - x0) / (y1 - y0) == pytest.approx(width / height)
    assert max(x1 - x0, y1 - y0) == pytest.approx(SIZE)
    assert (x0 + x1, y0 + y1) == pytest.approx((SIZE, SIZE))


@given(SIDES, SIDES)
def test_a_stretched_crop_covers_the_model_input(width, height):
    transform = affine.resizing(width, height, SIZE, "stretch")
    assert followed(transform, 0, 0) == pytest.approx([0, 0])
    assert followed(transform, width, height) == pytest.approx([SIZE, SIZE])


@given(st.floats(0, 200), st.floats(0, 200), st.floats(5, 100), st.floats(5, 100))
def test_zooming_in_puts_the_box_in_the_centre(x0, y0, width, height):
    box = np.array([x0, y0, x0 + width, y0 + height])
    (seen,) = affine.transformed(box[None], affine.zoom_in(box, SIZE, 0.4))
    assert seen[:2] + seen[2:] == pytest.approx([SIZE, SIZE])
    assert max(seen[2:] - seen[:2]) == pytest.approx(0.4 * SIZE)


def test_zooming_in_shows_no_less_than_some_pixels():
    point = np.full(4, 10.0)
    transform = affine.zoom_in(point, SIZE, 0.5)
    assert followed(transform, 10, 10) == pytest.approx([SIZE / 2, SIZE / 2])
    assert transform[0, 0] == pytest.approx(0.5 * SIZE / affine.MIN_SIDE)


def test_boxes_are_transformed_alone_or_each_by_its_own():
    boxes = np.array([[1.0, 2, 5, 9], [0, 0, 4, 3]])
    mirrored = [[5, 2, 9, 9], [6, 0, 10, 3]]
    np.testing.assert_allclose(affine.transformed(boxes, affine.mirror(10)), mirrored)
    each = np.stack([affine.mirror(10), affine.translation(2, 3)])
    np.testing.assert_allclose(affine.transformed(boxes, each), [mirrored[0], [2, 3, 6, 6]])


@given(SIDES, SIDES, st.floats(0.2, 3), st.floats(-20, 20))
def test_there_and_back(width, height, scale, right):
    transform = affine.mirror(SIZE) @ affine.translation(right, 1) @ affine.scaling(scale, scale)
    transform = transform @ affine.resizing(width, height, SIZE, "letterbox")
    box = np.array([[0.1 * width, 0.3 * height, 0.5 * width, 0.8 * height]])
    there = affine.transformed(box, transform)
    back = affine.transformed(there, np.linalg.inv(transform))
    np.testing.assert_allclose(back, box, atol=1e-6 * max(width, height))


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("mode", ["stretch", "letterbox"])
@pytest.mark.parametrize("shape", [(40, 20), (20, 40), (100, 90)])
def test_a_bright_box_lies_where_its_corners_do(shape, mode, mirrored):
    height, width = shape
    crop = np.full((height, width, 3), affine.PADDING, np.uint8)
    crop[4:15, 6:17] = 255
    transform = affine.resizing(width, height, SIZE, mode)
    if mirrored:
        transform = affine.mirror(SIZE) @ transform
    drawn = affine.draw(crop, transform, SIZE)
    assert drawn.shape == (SIZE, SIZE, 3)
    (x0, y0, x1, y1) = affine.transformed(np.array([[6.0, 4, 17, 15]]), transform)[0]
    # Bright pixels weigh as much as the box has area, around its centre.
    grey = affine.PADDING[0]
    bright = (drawn[..., 0].astype(float) - grey) / (255 - grey)
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    assert bright.sum() == pytest.approx((x1 - x0) * (y1 - y0), rel=0.05)
    assert (bright * x).sum() / bright.sum() == pytest.approx((x0 + x1) / 2, abs=0.15)
    assert (bright * y).sum() / bright.sum() == pytest.approx((y0 + y1) / 2, abs=0.15)


def test_around_the_crop_is_padding():
    drawn = affine.draw(
        np.zeros((10, 40, 3), np.uint8), affine.resizing(40, 10, SIZE, "letterbox"), SIZE
    )
    assert (drawn[:20] == affine.PADDING).all()
    assert (drawn[30:34, 1:-1] == 0).all()  # at the rims it is mixed with what lies around


def test_nothing_to_do_changes_no_pixel():
    crop = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    np.testing.assert_array_equal(affine.draw(crop, np.eye(3), SIZE), crop)
    mirrored = affine.draw(crop, affine.mirror(SIZE), SIZE)
    np.testing.assert_array_equal(mirrored, crop[:, ::-1])


def test_what_is_shrunk_is_the_mean_of_all_pixels_and_none_is_skipped():
    crop = np.random.default_rng(0).integers(0, 256, (3 * SIZE, 3 * SIZE, 3), np.uint8)
    drawn = affine.draw(crop, affine.resizing(*crop.shape[:2], SIZE, "letterbox"), SIZE)
    means = crop.reshape(SIZE, 3, SIZE, 3, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(drawn, means, atol=1)
    # Of a fine chequer only grey is left, wherever it lies and however little it is shrunk.
    squares = np.indices((90, 90)).sum(axis=0) % 2 * 255
    chequer = np.stack([squares] * 3, axis=2).astype(np.uint8)
    for scale in (0.3, 0.45):
        transform = affine.translation(3.3, 2.8) @ affine.scaling(scale, scale)
        inner = affine.draw(chequer, transform, SIZE)[6:24, 6:24].astype(float)
        assert inner.std() < 255 / 10
