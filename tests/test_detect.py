"""From an image to its faces: a stand-in that sees coloured squares stands for the network."""

import cv2
import numpy as np
import pytest

from facemask.data.affine import PADDING
from facemask.inference.detect import EDGE, MULTIPLE, OVERLAP, detect, model_input, views

COLOURS = [(255, 0, 0), (0, 0, 255)]  # of the classes


def seen(image, size, least_side=0, confidence=None):
    """Boxes and scores of the coloured squares in an image; more confident if larger."""
    assert image.dtype == np.uint8
    image, scale = model_input(image, size)
    assert image.dtype == np.float32
    assert all(side % MULTIPLE == 0 for side in image.shape[:2])
    boxes, scores = [np.zeros((0, 4))], [np.zeros((0, 2))]
    for label, (channel, other) in enumerate(((0, 2), (2, 0))):
        mask = (image[..., channel] - image[..., other] > 127).astype(np.uint8)
        found = cv2.connectedComponentsWithStats(mask, connectivity=4)[2][1:, :4].astype(float)
        found = found[found[:, 2:].min(axis=1) >= least_side]
        boxes.append(np.column_stack([found[:, :2], found[:, :2] + found[:, 2:]]))
        sure = 1 - 1 / (2 + found[:, 2:].max(axis=1)) if confidence is None else confidence
        score = np.full((len(found), 2), 0.001)
        score[:, label] = sure
        scores.append(score)
    boxes, scores = np.concatenate(boxes), np.concatenate(scores)
    # As a network gives them: more than there are faces.
    boxes, scores = (np.pad(each, [(0, 3), (0, 0)]) for each in (boxes, scores))
    return boxes / np.tile(scale, 2), scores


def seen_above_8_px(image, size):
    return seen(image, size, 8)


def scene(width, height, faces):
    """A grey image with squares (x0, y0, x1, y1, class)."""
    image = np.full((height, width, 3), 90, np.uint8)
    for x0, y0, x1, y1, label in faces:
        image[y0:y1, x0:x1] = COLOURS[label]
    return image


def check_found(found, faces, atol):
    """Every face once, of its class, and nothing else."""
    assert len(found.xyxy) == len(found.confidence) == len(found.class_id) == len(faces)
    left = [*zip(found.xyxy, found.class_id, strict=True)]
    for *box, label in faces:
        near = [
            number
            for number, (other, kind) in enumerate(left)
            if kind == label and np.abs(other - box).max() <= atol
        ]
        assert len(near) == 1, (box, found.xyxy)
        left.pop(near[0])
    assert (np.diff(found.confidence) <= 0).all()
    np.testing.assert_array_equal(found.scores.max(axis=1), found.confidence)
    np.testing.assert_array_equal(found.scores.argmax(axis=1), found.class_id)


SCENES = {
    (37, 211): [(3, 10, 30, 44, 0), (0, 100, 20, 130, 1), (12, 180, 37, 211, 0)],
    (211, 37): [(50, 2, 80, 30, 1), (190, 0, 211, 37, 0)],
    (640, 480): [(0, 0, 100, 80, 0), (300, 200, 360, 290, 1), (600, 400, 640, 480, 1)],
    (101, 101): [(20, 30, 60, 71, 0)],
    (1, 1): [(0, 0, 1, 1, 1)],
}


@pytest.mark.parametrize("size", [128, 320, 500])
@pytest.mark.parametrize("sides", SCENES)
def test_boxes_are_in_pixels_of_the_image(sides, size):
    found = detect(seen, scene(*sides, SCENES[sides]), size, 0.1)
    scale = size / max(sides)
    check_found(found, SCENES[sides], atol=1.01 / scale if scale != 1 else 0)
    assert (found.xyxy >= 0).all() and (found.xyxy <= [*sides, *sides]).all()


def test_at_its_own_size_boxes_are_exact():
    for sides, faces in SCENES.items():
        check_found(detect(seen, scene(*sides, faces), max(sides), 0.1), faces, atol=0)


@pytest.mark.parametrize("sides", [(37, 211), (640, 480), (1, 1), (33, 32), (1, 300)])
@pytest.mark.parametrize("size", [64, 100, 320])
def test_the_model_input_is_the_image_with_padding_right_and_below(sides, size):
    width, height = sides
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    padded, scale = model_input(image, size)
    inner = np.rint(np.array(sides) * scale).astype(int)
    assert inner.max() == size
    np.testing.assert_allclose(inner, np.array(sides) * scale)
    assert np.abs(inner - np.array(sides) * size / max(sides)).max() < 1
    assert all(
        side % MULTIPLE == 0 and 0 <= side - least < MULTIPLE
        for side, least in zip(padded.shape[1::-1], inner, strict=True)
    )
    assert (padded[:, inner[0] :] == PADDING).all()
    assert (padded[inner[1] :] == PADDING).all()
    seen_part = padded[: inner[1], : inner[0]]
    np.testing.assert_allclose(seen_part.mean(axis=(0, 1)), image.mean(axis=(0, 1)), atol=12)


def fixed(*rows):
    """A network that always gives the same boxes and scores, of two classes."""
    table = np.array(rows, float).reshape(-1, 6)
    return lambda image, size: (table[:, :4], table[:, 4:])


IMAGE = np.zeros((64, 96, 3), np.uint8)


def test_boxes_are_clipped_and_those_outside_left_out():
    run = fixed(
        [-9, -5, 40, 30, 0.2, 0.1],
        [60, 40, 120, 90, 0.1, 0.9],
        [97, 10, 120, 30, 0.8, 0.1],
        [10, 65, 20, 90, 0.8, 0.1],
        [30, 20, 30, 40, 0.8, 0.1],
        [50, 20, 40, 40, 0.8, 0.1],
    )
    found = detect(run, IMAGE, 96, 0)
    np.testing.assert_array_equal(found.xyxy, [[60, 40, 96, 64], [0, 0, 40, 30]])
    np.testing.assert_array_equal(found.class_id, [1, 0])
    np.testing.assert_allclose(found.confidence, [0.9, 0.2])
    np.testing.assert_allclose(found.scores, [[0.1, 0.9], [0.2, 0.1]])


@pytest.mark.parametrize(("least", "count"), [(0, 4), (0.2, 3), (0.5, 2), (0.95, 0)])
def test_faces_below_the_least_confidence_are_left_out(least, count):
    confidences = [0.5, 0.125, 0.9, 0.25, 0.0]
    rows = [[9 * n, 9 * n, 9 * n + 9, 9 * n + 9, c, 0] for n, c in enumerate(confidences)]
    found = detect(fixed(*rows), IMAGE, 96, least)
    np.testing.assert_allclose(found.confidence, sorted(confidences)[::-1][:count])
    assert found.xyxy.shape == (count, 4)


@pytest.mark.parametrize("tile", [None, 100])
@pytest.mark.parametrize("run", [seen, fixed()], ids=["zeros", "none"])
def test_in_an_image_with_nothing_nothing_is_found(run, tile):
    found = detect(run, scene(300, 200, []), 320, 0, tile)
    assert found.xyxy.shape == (0, 4)
    assert found.scores.shape == (0, 2)
    assert len(found.confidence) == len(found.class_id) == 0


@pytest.mark.parametrize("tile", [40, 100, 101, 160])
@pytest.mark.parametrize("sides", [(300, 200), (160, 161), (90, 350), (101, 100), (401, 37)])
def test_tiles_cover_the_image_and_overlap(sides, tile):
    width, height = sides
    image = np.arange(width * height, dtype=np.int64).reshape(height, width)
    (whole, *first), *tiles = views(image, tile)
    assert whole is image
    assert first == [(0, 0), (False, False, False, False)]
    if max(sides) <= tile:
        assert tiles == []
        return
    counts = np.zeros((height, width), int)
    for part, (x, y), cut in tiles:
        assert part.shape == (min(tile, height), min(tile, width))
        np.testing.assert_array_equal(part, image[y : y + tile, x : x + tile])
        counts[y : y + tile, x : x + tile] += 1
        assert cut == (x > 0, y > 0, x + part.shape[1] < width, y + part.shape[0] < height)
    assert counts.min() == 1
    for axis in (0, 1):
        starts = sorted({start[axis] for _, start, _ in tiles})
        # Tiles begin at whole pixels.
        assert all(tile - step > OVERLAP * tile - 1 for step in np.diff(starts))
        assert len(starts) == 1 or tile - np.diff(starts).max() < tile


def test_without_tiles_the_whole_is_looked_at_alone():
    image = scene(300, 200, [])
    assert len([*views(image, None)]) == len([*views(image, 300)]) == 1
    assert len([*views(image, 299)]) > 1


def test_faces_that_a_tile_cuts_off_are_found_whole_in_another():
    """One at every place along a row, of a size that no overlap is smaller than."""
    tile = 100
    for x in range(0, 300 - 22):
        faces = [(x, 40 + x % 100, x + 22, 62 + x % 100, x % 2)]
        # The whole image is shrunk so far that nothing is seen in it.
        image = scene(300, 200, faces)
        found = detect(lambda *view: seen(*view, least_side=21), image, tile, 0.1, tile)
        check_found(found, faces, atol=0)


def test_what_an_inner_edge_cuts_off_is_dropped_and_at_the_edge_of_the_image_it_is_kept():
    tile = 100
    (_, *rest) = views(scene(300, 200, []), tile)
    starts = sorted({x for _, (x, _), _ in rest})
    edge = starts[0] + tile
    # So large that no tile but the whole image holds them; and one that the image ends.
    faces = [(edge - 50, 40, edge + 60, 150, 0), (0, 0, 20, 20, 1), (285, 180, 300, 200, 1)]
    found = detect(seen, scene(300, 200, faces), tile, 0.1, tile)
    check_found(found, faces, atol=3)

    def near_an_edge(distance):
        """In every tile a box that ends so near to its right edge; in the whole image nothing."""
        box = [10, 10, tile - distance, 30, 0.5, 0]

        def run(image, size):
            whole = image.shape[0] != image.shape[1]
            return fixed()(image, size) if whole else fixed(box)(image, size)

        return detect(run, scene(300, 100, []), tile, 0.1, tile).xyxy

    assert near_an_edge(EDGE - 0.5).tolist() == [[starts[-1] + 10, 10, 300 - EDGE + 0.5, 30]]
    assert len(near_an_edge(EDGE + 0.5)) == len(starts)


@pytest.mark.parametrize("confidence", [None, 0.5])
def test_a_face_of_several_views_is_returned_once(confidence):
    rng = np.random.default_rng(0)
    faces, width, height = [], 1000, 700
    for x in range(5, width - 65, 90):
        for y in range(5, height - 65, 90):
            side, (dx, dy) = rng.integers(30, 60), rng.integers(0, 20, 2)
            faces.append((x + dx, y + dy, x + dx + side, y + dy + side, int(rng.integers(2))))
    image = scene(width, height, faces)
    found = detect(lambda *view: seen(*view, confidence=confidence), image, 400, 0.1, 400)
    # Larger in a tile, and then more confident: its exact box is kept.
    check_found(found, faces, atol=0 if confidence is None else 3)


def test_tiny_faces_of_a_large_image_need_tiles():
    rng = np.random.default_rng(0)
    places = [(x, y) for x in range(0, 3960, 200) for y in range(0, 2960, 200)]
    faces = []
    for n in rng.choice(len(places), 60, replace=False):
        x, y = places[n] + rng.integers(0, 20, 2)
        faces.append((x, y, x + 20, y + 20, n % 2))
    faces.append((3980, 2980, 4000, 3000, 0))
    image = scene(4000, 3000, faces)
    assert len(detect(seen_above_8_px, image, 640, 0.1).xyxy) == 0
    check_found(detect(seen_above_8_px, image, 640, 0.1, 400), faces, atol=1.01 * 400 / 640)


@pytest.mark.parametrize("sides", [(3003, 1998), (1001, 2999)])
def test_of_a_far_larger_image_whole_pixels_are_averaged(sides):
    faces = [(300, 400, 600, 800, 0), (700, 1000, 900, 1150, 1)]
    shapes = []

    def run(image, size):
        shapes.append(image.shape[:2])
        return seen(image, size)

    found = detect(run, scene(*sides, faces), 320, 0.5)
    check_found(found, faces, max(sides) / 320 + 2)
    assert 640 <= max(shapes[0]) < 960


def test_what_is_averaged_has_the_mean_of_its_pixels():
    image = np.random.default_rng(0).integers(0, 256, (128, 256, 3), np.uint8)
    given = []
    detect(lambda small, size: (given.append(small), seen(small, size))[1], image, 32, 0.5)
    blocks = image.reshape(32, 4, 64, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(given[0], blocks, atol=0.51)
