"""Detections of an image at two sizes as one: by hand, and by what holds for any."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_detect import SCENES, check_found, scene, seen

from facemask.inference.detect import detect
from facemask.inference.multi_scale import LEAST, SCALES, fuse, multi_scale


def one_pass(*rows):
    """Boxes and scores of two classes, from rows x0, y0, x1, y1, score, score."""
    table = np.array(rows, float).reshape(-1, 6)
    return table[:, :4], table[:, 4:]


def test_a_face_of_all_passes_is_their_average_weighted_by_confidence():
    boxes, scores = fuse(
        [
            one_pass([0, 0, 10, 10, 0.1, 0.6]),
            one_pass([1, 0, 11, 10, 0.3, 0.2]),
            one_pass([0, 2, 10, 12, 0.0, 0.1]),
        ]
    )
    np.testing.assert_allclose(boxes, [[0.3, 0.2, 10.3, 10.2]])
    np.testing.assert_allclose(scores, [[0.4 / 3, 0.3]])


def test_a_face_of_one_pass_counts_less():
    boxes, scores = fuse(
        [one_pass(), one_pass([50, 50, 60, 60, 0.9, 0.0], [0, 0, 9, 9, 0, 0.3]), one_pass()]
    )
    np.testing.assert_allclose(boxes, [[50, 50, 60, 60], [0, 0, 9, 9]])
    np.testing.assert_allclose(scores, [[0.3, 0], [0, 0.1]])


def test_two_faces_of_one_pass_stay_two_and_the_nearer_box_is_taken():
    one = one_pass([0, 0, 10, 10, 0.9, 0], [2, 0, 12, 10, 0.8, 0])
    other = one_pass([2, 0, 12, 10, 0.4, 0], [0, 0, 10, 10, 0.2, 0])
    boxes, scores = fuse([one, other])
    np.testing.assert_allclose(boxes, [[0, 0, 10, 10], [2, 0, 12, 10]])
    np.testing.assert_allclose(scores, [[0.55, 0], [0.6, 0]])


@pytest.mark.parametrize("shift, faces", [(3, 1), (4, 2)])
def test_boxes_of_one_face_overlap_by_more_than_half(shift, faces):
    # Squares of 10 px: an IoU of 7 / 13, and of 6 / 14.
    passes = [one_pass([x, 0, x + 10, 10, 0.5, 0.1]) for x in (0, shift)]
    assert len(fuse(passes)[0]) == faces


BOX = st.tuples(*[st.integers(0, 30)] * 2, *[st.integers(5, 30)] * 2, *[st.floats(0, 1)] * 2)


@given(st.lists(st.lists(BOX, max_size=6), min_size=1, max_size=3))
def test_no_score_is_lost_and_boxes_lie_within_those_of_the_passes(rows):
    passes = [one_pass(*[(x, y, x + w, y + h, *s) for x, y, w, h, *s in each]) for each in rows]
    boxes, scores = fuse(passes)
    every = np.concatenate([found for _, found in passes])
    counted = every[every.max(axis=1, initial=0) >= LEAST]
    np.testing.assert_allclose(scores.sum(axis=0) * len(passes), counted.sum(axis=0), atol=1e-9)
    assert max(map(len, rows)) >= (scores.max(axis=1, initial=0) > 0).sum() / len(rows)
    if len(boxes):
        corners = np.concatenate([found for found, _ in passes])
        assert (boxes >= corners.min(axis=0) - 1e-9).all()
        assert (boxes <= corners.max(axis=0) + 1e-9).all()


@pytest.mark.parametrize("sides", [sides for sides in SCENES if min(sides) > 1])
def test_an_image_is_seen_at_both_sizes_and_each_face_found_once(sides):
    sizes = []

    def run(image, size):
        sizes.append(size)
        return seen(image, size)

    found = detect(multi_scale(run), scene(*sides, SCENES[sides]), 320, 0.1)
    assert sizes == [256, 400] == [320 * scale for scale in SCALES]
    check_found(found, SCENES[sides], atol=1.01 * max(1, max(sides) / 256))


def test_it_can_be_sent_to_a_worker():
    assert pickle.loads(pickle.dumps(multi_scale(seen))).args == (seen,)
