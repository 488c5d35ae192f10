"""Crop regions of faces, against plain Python loops over every pixel."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemask.columns import BOX, CROP_REGION
from facemask.data.crops import DESCRIBED, crop_table, describe, partition, regions
from facemask.errors import InputError

METRICS = {
    "manhattan": lambda dx, dy: dx + dy,
    "euclidean": lambda dx, dy: dx**2 + dy**2,  # squared: the same order, and no rounding
    "chebyshev": max,
}
CASES = {  # width, height, boxes (inclusive), grid_stride, grid_offset
    "one face": (17, 11, [(4, 3, 8, 6)], 5, 2),
    "box is the image": (9, 7, [(0, 0, 8, 6)], 5, 2),
    "opposite corners": (20, 14, [(0, 0, 3, 2), (16, 11, 19, 13)], 5, 2),
    "all four edges": (
        21,
        15,
        [(8, 0, 12, 2), (8, 12, 12, 14), (0, 5, 2, 9), (18, 5, 20, 9)],
        5,
        2,
    ),
    "boxes of one pixel": (15, 15, [(0, 0, 0, 0), (14, 14, 14, 14), (7, 7, 7, 7)], 3, 1),
    "the same box twice": (16, 12, [(5, 4, 9, 8), (5, 4, 9, 8)], 5, 2),
    "ties along the centre": (21, 9, [(2, 3, 4, 5), (16, 3, 18, 5)], 1, 0),
    "ties, the right face first": (21, 9, [(16, 3, 18, 5), (2, 3, 4, 5)], 1, 0),
    "overlapping": (18, 16, [(2, 2, 10, 10), (6, 6, 14, 14)], 5, 2),
    "one inside another": (18, 16, [(1, 1, 16, 14), (6, 6, 9, 9)], 4, 3),
    "even grid_stride": (13, 19, [(1, 2, 4, 6), (8, 11, 11, 16)], 2, 1),
    "large grid_stride": (22, 17, [(3, 3, 6, 7), (12, 8, 19, 15)], 7, 0),
    # Squared distances beyond 32 bits.
    "a very wide image": (50_000, 1, [(0, 0, 0, 0), (49_000, 0, 49_002, 0)], 5, 2),
    "no pixel is in the grid": (6, 5, [(1, 1, 2, 2), (4, 3, 5, 4)], 97, 96),
}


def random_case(seed):
    rng = np.random.default_rng(seed)
    width, height = (int(side) for side in rng.integers(6, 26, 2))
    boxes = []
    for _ in range(rng.integers(1, 6)):
        xmin, ymin = int(rng.integers(0, width)), int(rng.integers(0, height))
        xmax, ymax = int(rng.integers(xmin, width)), int(rng.integers(ymin, height))
        boxes.append((xmin, ymin, xmax, ymax))
    grid_stride = int(rng.integers(1, 8))
    return width, height, boxes, grid_stride, int(rng.integers(0, grid_stride))


CASES |= {f"random {seed}": random_case(seed) for seed in range(12)}
# Wide ones, whose distances are of one byte, of two, and of more.
CASES |= {
    f"{width} px wide": (width, 1, [(0, 0, 0, 0), (width - 1, 0, width - 1, 0)], 1, 0)
    for width in (*range(31, 37), *range(8192, 8196))
}


def owner_by_hand(width, height, boxes, metric, grid_stride, grid_offset):
    """Distance of a pixel to a box: the least of its distances to the box's own pixels."""
    owner = [[-1] * width for _ in range(height)]
    for y, x in itertools.product(range(height), range(width)):
        if (x + y) % grid_stride != grid_offset:
            continue
        distances = [
            min(
                METRICS[metric](abs(x - column), abs(y - row))
                for column in range(xmin, xmax + 1)
                for row in range(ymin, ymax + 1)
            )
            for xmin, ymin, xmax, ymax in boxes
        ]
        owner[y][x] = distances.index(min(distances))  # the first of the nearest
    return owner


def region_by_hand(owner, boxes, face):
    xmin, ymin, xmax, ymax = boxes[face]
    mine = [(x, y) for y, row in enumerate(owner) for x, who in enumerate(row) if who == face]
    columns = [x for x, _ in mine] + [xmin, xmax]
    rows = [y for _, y in mine] + [ymin, ymax]
    return [min(columns), min(rows), max(columns) + 1, max(rows) + 1]


def pixels(x0, y0, x1, y1):
    return {(x, y) for x in range(x0, x1) for y in range(y0, y1)}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("case", CASES)
def test_every_pixel_goes_to_the_nearest_box(case, metric):
    width, height, boxes, grid_stride, grid_offset = CASES[case]
    owner = partition(np.array(boxes), width, height, metric, grid_stride, grid_offset)
    by_hand = owner_by_hand(width, height, boxes, metric, grid_stride, grid_offset)
    np.testing.assert_array_equal(owner, by_hand)

    found = regions(np.array(boxes), width, height, metric, grid_stride, grid_offset)
    expected = [region_by_hand(by_hand, boxes, face) for face in range(len(boxes))]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("case", CASES)
def test_a_region_holds_its_box_and_lies_in_the_image(case, metric):
    width, height, boxes, grid_stride, grid_offset = CASES[case]
    boxes = np.array(boxes)
    found = regions(boxes, width, height, metric, grid_stride, grid_offset)
    table = described(found, boxes)
    for row, (xmin, ymin, xmax, ymax) in zip(table.itertuples(), boxes, strict=True):
        assert 0 <= row.x0 <= xmin <= xmax < row.x1 <= width
        assert 0 <= row.y0 <= ymin <= ymax < row.y1 <= height
        # The box in the crop is as large as in the image and lies where it lay.
        assert (row.box_x0 + row.x0, row.box_y0 + row.y0) == (xmin, ymin)
        assert (row.box_x1 + row.x0 - 1, row.box_y1 + row.y0 - 1) == (xmax, ymax)


def described(found, boxes):
    return pd.DataFrame(describe(found, boxes), columns=DESCRIBED)


@pytest.mark.parametrize("case", CASES)
def test_enclosed_and_touched_boxes_against_sets_of_pixels(case):
    width, height, boxes, grid_stride, grid_offset = CASES[case]
    found = regions(np.array(boxes), width, height, "manhattan", grid_stride, grid_offset)
    table = described(found, np.array(boxes))
    box_pixels = [pixels(x0, y0, x1 + 1, y1 + 1) for x0, y0, x1, y1 in boxes]
    for face, row in enumerate(table.itertuples()):
        region = pixels(row.x0, row.y0, row.x1, row.y1)
        others = box_pixels[:face] + box_pixels[face + 1 :]
        assert row.enclosed == sum(other <= region for other in others)
        assert row.touched == sum(bool(other & region) for other in others)


def test_boxes_that_only_share_an_edge_do_not_touch():
    # Columns 0-4 and 5-9: neighbours without a common pixel.
    boxes = np.array([[0, 0, 4, 9], [5, 0, 9, 9]])
    table = described(boxes + np.array([0, 0, 1, 1]), boxes)
    assert list(table["touched"]) == [0, 0]
    assert list(table["enclosed"]) == [0, 0]


def test_the_three_distances_differ_where_they_should():
    # Seen from pixel (0, 9): 9 down to the first box; 6 right and 4 down to the second.
    boxes = np.array([[0, 0, 0, 0], [6, 13, 6, 13]])
    owners = {m: partition(boxes, 14, 14, m, 1, 0)[9, 0] for m in METRICS}
    assert owners == {"manhattan": 0, "euclidean": 1, "chebyshev": 1}
    # From (0, 6): 6 down, or 6 right and 7 down: 9.2 away, 7 in Chebyshev's sense.
    assert partition(boxes, 14, 14, "euclidean", 1, 0)[6, 0] == 0


@pytest.fixture
def faces():
    return pd.DataFrame(
        {
            "image": ["b.png", "b.png", "a.png"],
            "face": [0, 2, 0],  # object 1 of b.png was of a dropped class
            "width": [40, 40, 10],
            "height": [20, 20, 10],
            "name": "with_mask",
            "label": [1, 0, 1],
            "xmin": [2, 30, 3],
            "ymin": [5, 5, 3],
            "xmax": [6, 35, 5],
            "ymax": [9, 9, 5],
        }
    )


def test_crop_table_row_by_row(faces):
    crops, _ = crop_table(faces, "manhattan", 1, 0, 0)
    expected = pd.DataFrame(
        # Columns 6 and 30 are the boxes' edges; 18 is as far from both, and goes to the first.
        [
            ("b.png", 0, 1, 0, 0, 19, 20, 2, 5, 7, 10, 0, 0),
            ("b.png", 2, 0, 19, 0, 40, 20, 11, 5, 17, 10, 0, 0),
            ("a.png", 0, 1, 0, 0, 10, 10, 3, 3, 6, 6, 0, 0),
        ],
        columns=[
            "image",
            "face",
            "label",
            "x0",
            "y0",
            "x1",
            "y1",
            "box_x0",
            "box_y0",
            "box_x1",
            "box_y1",
            "enclosed",
            "touched",
        ],
    )
    pd.testing.assert_frame_equal(crops, expected, check_dtype=False)


@pytest.mark.parametrize(("min_area", "kept"), [(100, 3), (101, 2), (380, 2), (381, 1), (420, 1)])
def test_the_area_threshold_is_the_least_area_kept(faces, min_area, kept):
    crops, extra = crop_table(faces, "manhattan", 1, 0, min_area)
    assert len(crops) == kept
    every, none = crop_table(faces, "manhattan", 1, 0, 0)
    assert none.empty
    for part in (crops, extra):
        assert part.index.tolist() == list(range(len(part)))
    keys = ["image", "face"]
    both = pd.concat([crops, extra]).sort_values(keys, ignore_index=True)
    pd.testing.assert_frame_equal(both, every.sort_values(keys, ignore_index=True))
    area = (extra["x1"] - extra["x0"]) * (extra["y1"] - extra["y0"])
    assert (area < min_area).all()


def test_the_area_is_that_of_the_region_wherever_it_lies():
    # A face in each corner of 40 x 30 px: the regions begin at 0 or beyond in both directions.
    corners = [(2, 2, 4, 4), (30, 2, 32, 4), (2, 20, 4, 22), (30, 20, 32, 22)]
    faces = pd.DataFrame(corners, columns=BOX)
    faces = faces.assign(image="a.png", face=range(4), width=40, height=30, label=1)
    crops, _ = crop_table(faces, "manhattan", 1, 0, 0)
    cut = crops[CROP_REGION].to_numpy()
    assert (cut[:, :2] > 0).all(axis=1).any()
    areas = [len(pixels(*region)) for region in cut]
    assert len(set(areas)) == 4
    for least in areas:
        kept, _ = crop_table(faces, "manhattan", 1, 0, least)
        assert list(kept["face"]) == [face for face in range(4) if areas[face] >= least]
    with pytest.raises(InputError, match=f"{max(areas) + 1} px².*largest region has {max(areas)}"):
        crop_table(faces, "manhattan", 1, 0, max(areas) + 1)


def test_a_face_is_cut_by_all_faces_of_its_own_image_only(faces):
    alone = faces.assign(image=["b.png", "c.png", "a.png"])
    crops, _ = crop_table(alone, "manhattan", 1, 0, 0)
    assert list(crops["x1"] - crops["x0"]) == [40, 40, 10]


@st.composite
def images(draw):
    """Any image of up to 24 px with any boxes, and any grid."""
    width, height = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    boxes = []
    for _ in range(draw(st.integers(1, 6))):
        xmin, ymin = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        xmax, ymax = draw(st.integers(xmin, width - 1)), draw(st.integers(ymin, height - 1))
        boxes.append((xmin, ymin, xmax, ymax))
    grid_stride = draw(st.integers(1, 30))
    return width, height, boxes, grid_stride, draw(st.integers(0, grid_stride - 1))


@given(case=images(), metric=st.sampled_from(sorted(METRICS)))
def test_any_image_as_by_hand(case, metric):
    width, height, boxes, grid_stride, grid_offset = case
    grid = (width, height, metric, grid_stride, grid_offset)
    by_hand = owner_by_hand(width, height, boxes, metric, grid_stride, grid_offset)
    np.testing.assert_array_equal(partition(np.array(boxes), *grid), by_hand)
    expected = [region_by_hand(by_hand, boxes, face) for face in range(len(boxes))]
    np.testing.assert_array_equal(regions(np.array(boxes), *grid), expected)


@given(case=images(), metric=st.sampled_from(sorted(METRICS)))
def test_a_mirrored_image_has_mirrored_regions(case, metric):
    width, height, boxes, *_ = case
    boxes = np.array(boxes)
    mirrored = boxes.copy()
    mirrored[:, [0, 2]] = width - 1 - boxes[:, [2, 0]]
    every_pixel = (width, height, metric, 1, 0)
    found = regions(boxes, *every_pixel)
    again = regions(mirrored, *every_pixel)
    again[:, [0, 2]] = width - again[:, [2, 0]]
    np.testing.assert_array_equal(again, found)
