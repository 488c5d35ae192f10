"""Targets of a detector: against a slow loop over cells, and what each cell of a face weighs."""

import math

import numpy as np
import pytest

from facemask.training.heatmaps import IGNORED, LEAST_SIGMA, SHARE, targets

SIZE, STRIDE = 128, 4
SIDE = SIZE // STRIDE
CLASS_WEIGHTS = [1.0, 1.5, 2.0]
NONE = np.zeros((0, 4))


def made(boxes, labels=None, ignored=NONE):
    boxes = np.array(boxes, float).reshape(-1, 4)
    labels = np.zeros(len(boxes), int) if labels is None else np.array(labels)
    return targets(boxes, labels, np.array(ignored), SIZE, STRIDE, CLASS_WEIGHTS)


def cell_of(box):
    """Row and column of the cell that the centre is in."""
    x0, y0, x1, y1 = box
    return math.floor((y0 + y1) / 2 / STRIDE), math.floor((x0 + x1) / 2 / STRIDE)


def slow_value(box, row, column):
    """The normal distribution around a centre in one cell, over that in the cell of the centre."""
    value = 1.0
    for cell, centre_cell, low, high in zip(
        (row, column), cell_of(box), (box[1], box[0]), (box[3], box[2]), strict=True
    ):
        if abs(cell - centre_cell) > max(math.floor(SHARE * (high - low) / STRIDE / 2), 1):
            return 0.0
        sigma = max(SHARE * (high - low) / STRIDE / 6, LEAST_SIGMA)
        centre = (low + high) / 2 / STRIDE
        away, least = (each + 0.5 - centre for each in (cell, centre_cell))
        value *= math.exp((least**2 - away**2) / 2 / sigma**2)
    return value


def random_faces(count, seed):
    rng = np.random.default_rng(seed)
    sides = np.exp(rng.uniform(math.log(3), math.log(60), (count, 2)))
    low = rng.uniform(0, SIZE - sides)
    return np.column_stack([low, low + sides])


# On a grid of 40 px: none is near another.
APART = np.array([[8.3, 9, 31, 33], [50, 52.6, 55, 58], [90, 5, 117, 31.5], [10, 87, 37, 124]])


@pytest.mark.parametrize("seed", range(5))
def test_every_cell_is_as_a_slow_loop_has_it(seed):
    faces = random_faces(8, seed)
    labels = np.random.default_rng(seed).integers(0, 3, 8)
    maps = made(faces, labels)
    values = np.array(
        [[[slow_value(face, r, c) for c in range(SIDE)] for r in range(SIDE)] for face in faces]
    )
    np.testing.assert_allclose(maps["heatmap"][..., 0], values.max(axis=0), rtol=1e-4)
    for row, column in np.ndindex(SIDE, SIDE):
        here = values[:, row, column]
        face = here.argmax()
        if here[face] == 0:
            assert (maps["box"][row, column, -1], maps["label"][row, column, -1]) == (0, 0)
            continue
        share = here[face] / values[face].sum()
        np.testing.assert_allclose(maps["box"][row, column], [*faces[face], share], rtol=1e-4)
        one_hot = np.eye(3)[labels[face]]
        share *= CLASS_WEIGHTS[labels[face]]
        np.testing.assert_allclose(maps["label"][row, column], [*one_hot, share], rtol=1e-4)
    np.testing.assert_array_equal(maps["quality"], maps["box"])


def test_maps_are_of_the_grid_and_of_32_bits():
    maps = made(APART)
    assert {name: (values.shape, str(values.dtype)) for name, values in maps.items()} == {
        "heatmap": ((SIDE, SIDE, 1), "float32"),
        "box": ((SIDE, SIDE, 5), "float32"),
        "label": ((SIDE, SIDE, 4), "float32"),
        "quality": ((SIDE, SIDE, 5), "float32"),
    }


def test_one_cell_of_a_face_is_1_that_of_its_centre():
    heatmap = made(APART)["heatmap"][..., 0]
    assert {(row, column) for row, column in np.argwhere(heatmap == 1)} == set(map(cell_of, APART))


@pytest.mark.parametrize("box", [[16, 16, 48, 48], [20, 21, 60, 67], [7, 30, 9, 34]])
def test_a_centre_between_cells_is_in_one_of_them_too(box):
    heatmap = made([box])["heatmap"]
    assert (heatmap == 1).sum() == 1
    assert heatmap[cell_of(box)] == 1


def test_the_cells_of_a_face_weigh_together_what_its_class_counts():
    labels = [0, 1, 2, 1]
    maps = made(APART, labels)
    for face, label in zip(APART, labels, strict=True):
        own = (maps["box"][..., :4] == face.astype(np.float32)).all(axis=-1)
        assert maps["box"][own][:, -1].sum() == pytest.approx(1, rel=1e-5)
        expected = CLASS_WEIGHTS[label]
        assert maps["label"][own][:, -1].sum() == pytest.approx(expected, rel=1e-5)
        assert (maps["label"][own][:, :3].argmax(axis=-1) == label).all()
    assert maps["box"][..., -1].sum() == pytest.approx(len(APART), rel=1e-5)


def test_a_cell_of_two_faces_is_that_of_the_nearer_centre():
    faces = [[20, 40, 60, 80], [40, 40, 80, 80]]  # centres at x 40 and 60
    for order in ([0, 1], [1, 0]):
        box = made([faces[n] for n in order])["box"]
        row = box[14]  # through both centres, near enough
        owned = {column: row[column, 0] for column in np.flatnonzero(row[:, -1])}
        assert min(owned) < 10 and max(owned) > 15
        for column, x0 in owned.items():
            middle = (column + 0.5) * STRIDE
            if middle != 50:
                assert x0 == (20 if middle < 50 else 40)


def test_a_small_face_keeps_its_centre_in_a_large_one():
    large, small = [10, 10, 110, 110], [57, 61, 66, 70]
    for faces in ([large, small], [small, large]):
        maps = made(faces)
        for face in faces:
            assert maps["heatmap"][cell_of(face)] == 1
            np.testing.assert_array_equal(maps["box"][cell_of(face)][:4], face)


def test_ignored_areas_do_not_count_but_where_a_face_is():
    face = [30, 30, 60, 60]
    alone, ignored = made([face])["heatmap"], made([face], ignored=[[16, 40, 80, 128]])["heatmap"]
    expected = alone.copy()
    for row, column in np.ndindex(SIDE, SIDE):
        if 10 <= row < 32 and 4 <= column < 20 and alone[row, column] == 0:
            expected[row, column] = IGNORED
    np.testing.assert_array_equal(ignored, expected)
    assert (ignored == IGNORED).sum() > 100
    for name in ("box", "label"):
        others = made([face], ignored=[[16, 40, 80, 128]])[name]
        np.testing.assert_array_equal(others, made([face])[name])


@pytest.mark.parametrize(
    "box",
    [
        [0, 0, 20, 30],
        [SIZE - 3, 40, SIZE, 44],
        [100, SIZE - 50, SIZE, SIZE],
        [0, 0, SIZE - 3, SIZE - 2],
        [0, 60, 1, 61],
        [SIZE - 1, SIZE - 1, SIZE, SIZE],
        [SIZE, SIZE, SIZE, SIZE],
    ],
)
def test_a_face_at_the_edge_is_whole_in_weight(box):
    maps = made([box])
    assert (maps["heatmap"] == 1).sum() == 1
    row, column = (min(cell, SIDE - 1) for cell in cell_of(box))
    assert maps["heatmap"][row, column] == 1
    assert maps["box"][..., -1].sum() == pytest.approx(1, rel=1e-5)
    assert all(np.isfinite(values).all() for values in maps.values())


def test_without_faces_all_is_nothing():
    assert all((values == 0).all() for values in made([]).values())
    heatmap = made([], ignored=[[0, 0, 8, 4]])["heatmap"]
    assert np.argwhere(heatmap[..., 0] == IGNORED).tolist() == [[0, 0], [0, 1]]


def test_a_cell_that_an_ignored_box_touches_does_not_count():
    heatmap = made([], ignored=[[STRIDE - 1, STRIDE + 1, 2 * STRIDE + 1, STRIDE + 2]])["heatmap"]
    assert np.argwhere(heatmap[..., 0] == IGNORED).tolist() == [[1, 0], [1, 1], [1, 2]]
