"""The detector's network: its maps, what is saved of it, and the faces that are read from maps."""

from pathlib import Path

import keras
import numpy as np
import pytest

from facemask import params
from facemask.config.detector import Detector
from facemask.errors import InputError
from facemask.models.backbones import build_application
from facemask.models.detector import (
    HEADS,
    MAX_FACES,
    SAME_FACE,
    Boxes,
    Decode,
    build_detector,
    stride,
    with_decoding,
)

ROOT = Path(__file__).parents[1]
BASE = params.read(ROOT).detectors["detector"].model_dump()
CLASSES = 3


def settings(**changes):
    small = {"feature_levels": ["fine", "coarse"], "freeze_until": "fine", "channels": 8}
    return Detector.model_validate(BASE | small | changes)


def small_application():
    """Two convolutions, for images of any size that 8 divides."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((None, None, 3))
    conv = keras.layers.Conv2D
    x = conv(8, 5, strides=4, padding="same", activation="relu", name="fine")(inputs)
    x = conv(16, 3, strides=2, padding="same", activation="relu", name="coarse")(x)
    return keras.Model(inputs, x), keras.layers.Rescaling(1 / 127.5, offset=-1)


def built(**changes):
    return build_detector(settings(**changes), CLASSES, *small_application())


@pytest.fixture(scope="module")
def model():
    """Of tests that do not change it; the heatmap is raised, so that there is something to find."""
    made = built()
    rng = np.random.default_rng(0)
    for name in ("heatmap", "ltrb", "class_logits", "quality_logits"):
        kernel, bias = made.get_layer(name).get_weights()
        made.get_layer(name).set_weights([rng.normal(0, 2, kernel.shape), 0 * bias])
    return made


def images(count, height=64, width=64, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 128)])
def test_maps_are_of_the_finest_levels_resolution(model, height, width):
    found = model.predict_on_batch(images(2, height, width))
    grid = 2, height // 4, width // 4
    assert {name: value.shape for name, value in found.items()} == {
        "heatmap": (*grid, 1), "box": (*grid, 4), "label": (*grid, CLASSES), "quality": (*grid, 5)
    }  # fmt: skip
    np.testing.assert_allclose(found["label"].sum(axis=-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(found["quality"][..., 1:], found["box"])


def test_a_network_of_keras_is_a_backbone_of_any_size():
    application, preprocess, _ = build_application("MobileNetV2", None, "random")
    chosen = Detector.model_validate(BASE | {"channels": 8})
    model = build_detector(chosen, CLASSES, application, preprocess)
    assert stride(model) == 4
    for height, width in ((64, 96), (32, 32)):
        found = model.predict_on_batch(images(1, height, width))
        assert found["heatmap"].shape == (1, height // 4, width // 4, 1)
        # An untrained network finds no face: about one in a hundred cells.
        assert 1 / (1 + np.exp(-found["heatmap"])).mean() < 0.1
    trained = {weight.path for weight in model.trainable_weights}
    frozen = application.get_layer("block_2_expand"), application.get_layer("block_6_expand_BN")
    assert not trained & {weight.path for layer in frozen for weight in layer.weights}
    assert application.get_layer("block_3_expand").kernel.path in trained


@pytest.mark.parametrize(
    ("levels", "px"), [(["fine", "coarse"], 4), (["fine"], 4), (["coarse"], 8)]
)
def test_the_stride_is_that_of_the_finest_level(levels, px):
    model = built(feature_levels=levels)
    assert stride(model) == px
    assert model.predict_on_batch(images(1))["heatmap"].shape == (1, 64 // px, 64 // px, 1)


def test_levels_that_do_not_exist_are_reported():
    with pytest.raises(InputError, match="no layer 'nonsense'"):
        built(feature_levels=["nonsense"])


def test_a_saved_detector_gives_the_same_bytes(model, tmp_path):
    for number, saved in enumerate((model, with_decoding(model, 0.3))):
        saved.save(tmp_path / f"{number}.keras")
        again = keras.saving.load_model(tmp_path / f"{number}.keras")
        for size in ((64, 64), (32, 96)):
            expected = saved.predict_on_batch(images(2, *size))
            found = again.predict_on_batch(images(2, *size))
            assert set(found) == set(expected)
            assert all(found[name].tobytes() == expected[name].tobytes() for name in expected)


def test_boxes_are_around_the_centres_of_cells():
    distances = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype(np.float32)
    found = np.asarray(Boxes(8)(distances))
    for sample, row, column in np.ndindex(2, 3, 5):
        x, y = 8 * (column + 0.5), 8 * (row + 0.5)
        left, top, right, bottom = 8 * np.exp(distances[sample, row, column].astype(float))
        expected = [x - left, y - top, x + right, y + bottom]
        np.testing.assert_allclose(found[sample, row, column], expected, rtol=1e-5)


def test_boxes_stay_finite_and_the_right_way_round():
    extreme = np.array([-1e4, 1e4, -50, 50], np.float32).reshape(1, 1, 1, 4)
    (x0, y0, x1, y1) = np.asarray(Boxes(4)(extreme))[0, 0, 0]
    assert np.isfinite([x0, y0, x1, y1]).all()
    assert x0 < x1 and y0 < y1


# Cells of hand-made maps and their logits, of heatmap and quality, the highest score last.
PEAKS = {(1, 1): (0.0, -1.0), (9, 9): (2.0, -1.5), (2, 9): (1.0, 1.0), (8, 3): (2.5, 2.0)}
SIDE = 12


def sigmoid(x):
    return 1 / (1 + np.exp(-np.float64(x)))


def hand_made(peaks=PEAKS, side=SIDE, seed=0):
    """Low maps with slopes around some peaks; boxes of 6 px that touch none other."""
    rng = np.random.default_rng(seed)
    heatmap = np.full((1, side, side, 1), -9.0, np.float32)
    quality = rng.normal(-2, 0.01, (1, side, side, 5)).astype(np.float32)
    for (row, column), (heat, sure) in peaks.items():
        rows, columns = (slice(max(n - 1, 0), n + 2) for n in (row, column))
        heatmap[0, rows, columns] = heat - 1
        quality[0, rows, columns, 0] = sure - 0.5
        heatmap[0, row, column], quality[0, row, column, 0] = heat, sure
    y, x = np.mgrid[:side, :side] * 10.0
    box = np.stack([x, y, x + 6, y + 6], axis=-1)[None].astype(np.float32)
    label = rng.dirichlet([1, 1, 1], (1, side, side)).astype(np.float32)
    return [heatmap, box, label, quality]


def decoded(maps, power=0.3):
    boxes, scores = (np.asarray(each) for each in Decode(power)(maps))
    assert boxes.shape[1:] == (MAX_FACES, 4)
    assert scores.shape[1:] == (MAX_FACES, CLASSES)
    return boxes, scores


def of_face(scores):
    return np.sqrt((scores**2).sum(axis=-1))


def above(scores, least=0.05):
    return int((of_face(scores) > least).sum())


@pytest.mark.parametrize("power", [0.0, 0.3, 1.0])
def test_peaks_are_found_the_best_first(power):
    maps = hand_made()
    _, box, label, _ = maps
    boxes, scores = decoded(maps, power)

    def score(cell):
        heat, sure = PEAKS[cell]
        return sigmoid(heat) ** (1 - power) * sigmoid(sure) ** power

    order = sorted(PEAKS, key=score, reverse=True)
    assert order[0] == (8, 3)
    for number, cell in enumerate(order):
        np.testing.assert_array_equal(boxes[0, number], box[0][cell])
        expected = score(cell) * np.sqrt(label[0][cell])
        np.testing.assert_allclose(scores[0, number], expected, rtol=1e-5)
    if power < 1:  # without the heatmap, other cells have a quality, too
        assert above(scores) == len(PEAKS)


def test_what_is_no_highest_cell_of_its_neighbours_is_not_found():
    maps = hand_made()
    boxes, scores = decoded(maps)
    score = sigmoid(maps[0][0, ..., 0]) ** 0.7 * sigmoid(maps[3][0, ..., 0]) ** 0.3  # of all cells
    peaks = {
        (row, column)
        for row, column in np.ndindex(SIDE, SIDE)
        if score[row, column]
        == score[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].max()
    }
    found = boxes[0][of_face(scores[0]) > 0][:, 1::-1] / 10
    assert {tuple(cell) for cell in found.astype(int)} == peaks
    totals = of_face(scores[0])
    assert (np.diff(totals) <= 1e-7).all()


def test_a_second_peak_on_the_same_face_scores_nothing():
    maps = hand_made()
    first, second, other = (8, 3), (9, 9), (2, 9)
    maps[1][0][first] = [0, 0, 100, 100]
    maps[1][0][second] = [10, 0, 110, 100]  # IoU 90 / 110
    maps[1][0][other] = [45, 0, 145, 100]  # 55 / 145 and 65 / 135
    boxes, scores = decoded(maps)
    assert above(scores) == len(PEAKS) - 1
    shown = boxes[0][of_face(scores[0]) > 0.05].tolist()
    assert [0, 0, 100, 100] in shown and [45, 0, 145, 100] in shown
    assert [10, 0, 110, 100] not in shown


@pytest.mark.parametrize(("shift", "count"), [(0.03, 3), (-0.03, 4)])
def test_boxes_are_of_one_face_from_an_overlap_on(shift, count):
    maps = hand_made()
    overlap = SAME_FACE + shift
    width = 100 * overlap  # a box in the other one
    maps[1][0][8, 3] = [200, 200, 300, 300]
    maps[1][0][2, 9] = [200, 200, 200 + width, 300]
    assert above(decoded(maps)[1]) == count


@pytest.mark.parametrize("side", [1, 2, 4])
def test_an_input_may_have_fewer_cells_than_there_may_be_faces(side):
    maps = hand_made({(0, 0): (3.0, 2.0)}, side)
    boxes, scores = decoded(maps)
    assert np.isfinite(boxes).all() and np.isfinite(scores).all()
    np.testing.assert_array_equal(boxes[0, 0], maps[1][0, 0, 0])
    assert above(scores) == 1


def test_of_more_faces_than_there_may_be_the_best_are_kept():
    cells = [(row, column) for row in range(1, 60, 3) for column in range(1, 60, 3)]
    heats = np.random.default_rng(0).permutation(np.linspace(0, 4, len(cells)))
    maps = hand_made({cell: (heat, 1.0) for cell, heat in zip(cells, heats, strict=True)}, 60)
    boxes, scores = decoded(maps, 0.0)
    np.testing.assert_allclose(
        of_face(scores[0]), sigmoid(np.sort(heats)[::-1][:MAX_FACES]), rtol=1e-5
    )
    best = [cells[n] for n in np.argsort(-heats)[:MAX_FACES]]
    np.testing.assert_array_equal(boxes[0, :, 1::-1] / 10, best)


def test_images_of_a_batch_do_not_know_of_one_another():
    one, other = hand_made(seed=1), hand_made({(3, 3): (1.0, 1.0), (3, 7): (2.0, 0.0)}, seed=2)
    both = decoded([np.concatenate(pair) for pair in zip(one, other, strict=True)])
    for number, maps in enumerate((one, other)):
        for together, alone in zip(both, decoded(maps), strict=True):
            np.testing.assert_array_equal(together[number], alone[0])


def test_a_detector_with_decoding_reads_its_own_maps(model):
    maps = model.predict_on_batch(images(2))
    boxes, scores = decoded([maps[name] for name in HEADS], 0.4)
    found = with_decoding(model, 0.4).predict_on_batch(images(2))
    np.testing.assert_allclose(found["boxes"], boxes, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found["scores"], scores, rtol=1e-4, atol=1e-6)
    assert above(found["scores"]) > 10
