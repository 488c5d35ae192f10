"""The localizer's network: its maps, where it is frozen, and what is pooled from them."""

import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from facemask import params
from facemask.config.localizer import Localizer
from facemask.errors import InputError
from facemask.models.backbones import build_application
from facemask.models.localizer import SoftArgmaxPooling, build_localizer, cell_centres

ROOT = Path(__file__).parents[1]
BASE = params.read(ROOT).localizers["localizer"].model_dump()
SIZE = 64


def settings(**changes):
    return Localizer.model_validate(BASE | {"channels": 8} | changes)


def built(**changes):
    application, preprocess, _ = build_application("MobileNetV2", SIZE, "random")
    return build_localizer(settings(**changes), application, preprocess)


@pytest.fixture(scope="module")
def application():
    """Of tests that do not change it."""
    return build_application("MobileNetV2", SIZE, "random")[:2]


@pytest.fixture(scope="module")
def model():
    return built()


def images(count):
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


def test_centres_of_cells_are_in_sides_of_the_input():
    expected = [
        (0.25, 1 / 6),
        (0.75, 1 / 6),
        (0.25, 0.5),
        (0.75, 0.5),
        (0.25, 5 / 6),
        (0.75, 5 / 6),
    ]
    np.testing.assert_allclose(cell_centres(3, 2), expected, rtol=1e-6)


def test_box_and_class_logits_are_means_by_the_softmax_of_the_heatmap():
    rng = np.random.default_rng(0)
    heatmap, ltrb, logits = (rng.normal(size=(2, 3, 2, c)).astype(np.float32) for c in (1, 4, 2))
    box, pooled = SoftArgmaxPooling()([heatmap, ltrb, logits])
    for n in range(2):
        weight = np.exp(heatmap[n, ..., 0]) / np.exp(heatmap[n]).sum()
        expected_box, expected_logits = np.zeros(4), np.zeros(2)
        for row in range(3):
            for column in range(2):
                x, y = (column + 0.5) / 2, (row + 0.5) / 3
                left, top, right, bottom = ltrb[n, row, column]
                cell = np.array([x - left, y - top, x + right, y + bottom])
                expected_box += weight[row, column] * cell
                expected_logits += weight[row, column] * logits[n, row, column]
        np.testing.assert_allclose(box[n], expected_box, rtol=1e-5)
        np.testing.assert_allclose(pooled[n], expected_logits, rtol=1e-5)


def test_one_high_cell_counts_alone():
    heatmap = np.zeros((1, 4, 4, 1), np.float32)
    heatmap[0, 2, 1] = 50
    ltrb = np.random.default_rng(0).random((1, 4, 4, 4)).astype(np.float32)
    box, _ = SoftArgmaxPooling()([heatmap, ltrb, heatmap])
    x, y, (left, top, right, bottom) = 1.5 / 4, 2.5 / 4, ltrb[0, 2, 1]
    np.testing.assert_allclose(box[0], [x - left, y - top, x + right, y + bottom], rtol=1e-5)


def test_outputs_are_those_of_the_maps(model):
    found = model.predict_on_batch(images(3))
    assert {name: value.shape for name, value in found.items()} == {
        "label": (3, 1), "box": (3, 4), "heatmap": (3, 64)
    }  # fmt: skip
    maps = [model.get_layer(name).output for name in ("heatmap_logits", "ltrb", "class_logits")]
    heatmap, ltrb, logits = keras.Model(model.input, maps).predict_on_batch(images(3))
    np.testing.assert_allclose(heatmap.reshape(3, 64), found["heatmap"], rtol=1e-5)
    box, pooled = SoftArgmaxPooling()([heatmap, ltrb, logits])
    np.testing.assert_allclose(box, found["box"], rtol=1e-4)
    np.testing.assert_allclose(1 / (1 + np.exp(-pooled)), found["label"], rtol=1e-4)
    assert (ltrb > 0).all()


def test_categorical_labels_have_two_neurons_that_add_up_to_one():
    losses = {
        "label": {"name": "categorical_crossentropy", "smoothing": 0.0, "focal_gamma": 0.0},
        "box": {"name": "giou", "threshold": 1.0},
    }
    label = built(losses=losses).predict_on_batch(images(2))["label"]
    assert label.shape == (2, 2)
    np.testing.assert_allclose(label.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("frozen", ["input_layer", "block_2_add", "out_relu"])
def test_layers_behind_the_frozen_ones_are_trained_but_for_their_statistics(frozen):
    application, preprocess, _ = build_application("MobileNetV2", SIZE, "random")
    first = application.layers[0].name
    last = first if frozen == "input_layer" else frozen
    model = build_localizer(settings(freeze_until=last), application, preprocess)
    names = [layer.name for layer in application.layers]
    trained = {weight.path for weight in model.trainable_weights}
    for number, layer in enumerate(application.layers):
        expected = number > names.index(last) and "BN" not in layer.name and "bn" not in layer.name
        assert all((weight.path in trained) == expected for weight in layer.weights)
    # Batch normalisation does the same in training and after it.
    one, other = (
        keras.ops.convert_to_numpy(model(images(2), training=training)["heatmap"])
        for training in (True, False)
    )
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_saved_localizer_is_the_same_and_holds_no_code(model, tmp_path):
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for name, value in model.predict_on_batch(images(2)).items():
        np.testing.assert_array_equal(value, again.predict_on_batch(images(2))[name])
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert "Lambda" not in json.dumps(json.loads(archive.read("config.json")))


def test_one_level_needs_no_merging():
    assert built(feature_levels=["block_13_expand_relu"]).output["heatmap"].shape == (None, 16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feature_levels": ["block_6_expand_relu", "nonsense"]}, "no layer 'nonsense'"),
        ({"freeze_until": "nonsense"}, "no layer 'nonsense'"),
        ({"feature_levels": ["out_relu", "block_6_expand_relu"]}, "the finest first"),
        ({"feature_levels": ["block_6_expand_relu", "out_relu"]}, "does not double"),
    ],
)
def test_feature_levels_that_do_not_fit_are_reported(changes, message, application):
    with pytest.raises(InputError, match=message):
        build_localizer(settings(**changes), *application)
