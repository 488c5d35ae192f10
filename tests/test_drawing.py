"""Faces that are drawn, blurred and cut out, in images of all sizes."""

import cv2
import numpy as np
import pytest

from facemask.inference.detect import Detections
from facemask.predict.drawing import PALETTE, STYLES, annotate, blur, cut_out, style_of

CLASSES = ("with_mask", "without_mask", "mask_weared_incorrect", "another_class")


def found(*boxes, classes=None):
    count = len(boxes)
    kinds = np.array(classes or [0] * count, int)
    confidence = np.linspace(0.9, 0.5, count)
    return Detections(
        np.array(boxes, float).reshape(-1, 4), confidence, kinds, np.zeros((count, 4))
    )


def noise(width, height, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def drawn(image, faces):
    copy = image.copy()
    annotate(copy, faces, CLASSES)
    return copy


@pytest.mark.parametrize(
    ("width", "height"),
    [(1, 1), (3, 200), (20, 20), (100, 80), (640, 480), (4000, 3000), (9000, 40)],
)  # fmt: skip
def test_images_of_all_sizes_are_drawn_into(width, height):
    image = np.full((height, width, 3), 90, np.uint8)
    inside = [width * 0.3, height * 0.3, width * 0.7, height * 0.7]
    faces = found(inside, [0, 0, width, height], [-9, -9, width + 9, height + 9], classes=[0, 1, 3])
    assert drawn(image, faces).shape == image.shape
    assert (drawn(image, found(inside)) != image).any() or min(width, height) < 20


def test_nothing_is_drawn_without_faces():
    image = noise(90, 60)
    np.testing.assert_array_equal(drawn(image, found()), image)


@pytest.mark.parametrize(("side", "face"), [(100, 40), (400, 40), (4000, 40), (4000, 900)])
def test_lines_grow_with_image_and_face(side, face):
    image = np.full((side, side, 3), 90, np.uint8)
    start = side // 2
    copy = drawn(image, found([start, start, start + face, start + face]))
    row = copy[start + face // 2, :start]
    width = (row == PALETTE[0]).all(axis=1).sum()
    least, most = max(1, side // 1000), max(1, side // 400)
    assert least <= width <= most
    if face > side / 5:
        assert width == most
    # A line lies around its face.
    inside = copy[start + 1 : start + face - 1, start + 1 : start + face - 1]
    assert (inside == 90).all()


def test_a_label_is_legible_and_no_wider_than_some_faces():
    image = np.full((400, 400, 3), 90, np.uint8)
    for face, words in ((20, False), (150, True)):
        copy = drawn(image, found([200, 200, 200 + face, 200 + face]))
        rows, columns = np.nonzero((copy[:199] == PALETTE[0]).all(axis=2))
        assert rows.max() - rows.min() >= 9
        assert columns.max() - columns.min() < 2.5 * max(face, 20)
        assert (columns.max() - columns.min() > 60) == words


def test_a_label_lies_in_the_image_wherever_the_face_is():
    image = np.full((120, 160, 3), 90, np.uint8)
    for x in (0, 60, 130):
        for y in (0, 40, 90):
            copy = drawn(image, found([x, y, x + 30, y + 30]))
            ground = (copy == PALETTE[0]).all(axis=2).sum()
            assert ground > 4 * 30 + 9 * 15


def test_classes_have_colours_of_their_own_that_differ_in_brightness():
    colours = [style_of(name, number).colour for number, name in enumerate(CLASSES)]
    assert len(set(colours)) == len(CLASSES)
    assert style_of("another_class", 3).text == "another class"
    bright = sorted(np.dot(colour, [0.299, 0.587, 0.114]) for _, colour in STYLES.values())
    assert np.diff(bright).min() > 30


@pytest.mark.parametrize("side", [4, 8, 30, 100, 700])
def test_a_blurred_face_keeps_some_average_colours_alone(side):
    image = noise(side * 3, side * 3)
    # A checkerboard: what a network would recognise, in any size.
    tile = max(1, side // 10)
    board = (np.indices((side, side)) // tile).sum(axis=0) % 2 * 255
    image[side : 2 * side, side : 2 * side] = board[..., None]
    copy = image.copy()
    blur(copy, found([side, side, 2 * side, 2 * side]))
    inside = copy[side : 2 * side, side : 2 * side].astype(float)
    assert inside.std() < board.std() / 3
    assert cv2.Laplacian(inside, cv2.CV_64F).std() < 30
    outside = np.ones(image.shape[:2], bool)
    margin = int(np.ceil(0.2 * side))
    outside[side - margin : 2 * side + margin, side - margin : 2 * side + margin] = False
    np.testing.assert_array_equal(copy[outside], image[outside])


def test_faces_at_the_edge_are_blurred_and_cut_out():
    image = noise(50, 40)
    faces = found([-5, -5, 10, 10], [45.5, 35.5, 50, 40], [20, 10, 20.5, 10.5])
    copy = image.copy()
    blur(copy, faces)
    assert (copy[:10, :10] != image[:10, :10]).any()
    shapes = [face.shape for face in cut_out(image, faces)]
    assert shapes == [(10, 10, 3), (5, 5, 3), (1, 1, 3)]
