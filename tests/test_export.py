"""Exported detectors: every format finds what Keras does, in images of any size."""

import json

import keras
import numpy as np
import onnx
import pytest

from facemask import params
from facemask.config.detector import Detector
from facemask.errors import InputError
from facemask.inference import detect, export, parity, runtime
from facemask.inference.detector import runner
from facemask.models.detector import build_detector

CLASSES = ("with_mask", "without_mask", "mask_weared_incorrect")
ABOUT = {"classes": CLASSES, "size": 96, "confidence": 0.05, "dataset": "toy"}
POWER = 0.3
SHAPES = [(60, 96), (96, 40), (30, 47), (90, 70), (1, 50), (64, 64)]
LARGE = [(200, 150), (131, 310)]  # are shrunk


@pytest.fixture(scope="module")
def model():
    """A small detector whose maps vary from cell to cell, as those of a trained one do."""
    keras.utils.set_random_seed(2)
    inputs = keras.Input((None, None, 3))
    conv = keras.layers.Conv2D
    x = conv(8, 5, strides=4, padding="same", activation="relu", name="first")(inputs)
    x = conv(24, 3, strides=2, padding="same", activation="relu", name="last")(x)
    entry = params.read().detectors["detector"].model_dump()
    entry |= {"feature_levels": ["last"], "freeze_until": "first", "channels": 24}
    application = keras.Model(inputs, x)
    made = build_detector(
        Detector.model_validate(entry), 3, application, keras.layers.Rescaling(1 / 60, offset=-2)
    )
    for name, scale in (("heatmap", 9), ("quality_logits", 9), ("class_logits", 9), ("ltrb", 2)):
        layer = made.get_layer(name)
        kernel, bias = layer.get_weights()
        layer.set_weights([scale * kernel, bias + (name == "heatmap") * 2])
    return made


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    return export.write(model, POWER, ABOUT, tuple(export.FILES), tmp_path_factory.mktemp("made"))


def images(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (*shape, 3), np.uint8) for shape in shapes]


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("onnx_float32", SHAPES + LARGE),
        ("saved_model", SHAPES + LARGE),
        ("litert", SHAPES),
    ],
)
def test_a_format_finds_what_keras_finds(model, files, name, shapes):
    run = parity.runner(name, files[name])
    found = parity.parity(runner(model, POWER), run, images(shapes), 96, 0.05)
    assert found["images"] == len(shapes) and found["faces"] > 3 * len(shapes)
    assert found["missing"] == found["extra"] == 0
    assert found["box_px"] < 0.02 and found["score"] < 1e-3


def test_weights_in_half_precision_take_half_the_place_and_hardly_differ(model, files):
    half, whole = (files[name] for name in ("onnx", "onnx_float32"))
    weights = [
        onnx.numpy_helper.to_array(each) for each in onnx.load(half).graph.initializer
        if each.data_type == onnx.TensorProto.FLOAT16
    ]  # fmt: skip
    large = [each.size for each in model.get_weights() if each.size >= export.LARGE]
    assert sum(each.size for each in weights) >= 0.9 * sum(large)
    saved = whole.stat().st_size - half.stat().st_size
    assert saved == pytest.approx(sum(each.nbytes for each in weights), rel=0.2)
    run = parity.runner("onnx", half)
    found = parity.parity(runner(model, POWER), run, images(SHAPES), 96, 0.05)
    assert found["missing"] + found["extra"] <= 0.02 * found["faces"]
    assert found["score"] < 0.05


def test_the_same_detector_makes_the_same_bytes(model, files, tmp_path):
    again = export.write(model, POWER, ABOUT, ("onnx", "onnx_float32"), tmp_path)
    assert all(path.read_bytes() == files[name].read_bytes() for name, path in again.items())


def test_boxes_lie_in_the_image_and_confidence_is_that_of_the_class(files):
    for image in images(SHAPES + LARGE):
        boxes, scores = runtime.load(files["onnx"]).run(image, 96)
        height, width = image.shape[:2]
        assert (boxes >= 0).all() and (boxes <= [width, height, width, height]).all()
        assert scores.shape == (300, 3)
    session = onnx.load(files["onnx"])
    assert [each.name for each in session.graph.output] == [
        "boxes", "confidence", "class_id", "scores"
    ]  # fmt: skip


def test_a_file_says_what_it_is_of(files):
    detector = runtime.load(files["onnx"])
    assert (detector.classes, detector.size, detector.confidence) == (CLASSES, 96, 0.05)
    props = {each.key: json.loads(each.value) for each in onnx.load(files["onnx"]).metadata_props}
    assert props["dataset"] == "toy"


def test_parity_counts_what_only_one_finds_and_measures_the_rest():
    boxes = np.array([[0, 0, 20, 20], [40, 40, 60, 60], [0, 40, 20, 60]], float)
    scores = np.array([[0.9, 0.1], [0.1, 0.8], [0.7, 0.2]])

    def one(image, size):
        return boxes, scores

    def other(image, size):
        moved = boxes + np.array([[0.25, 0, 0, 0], [0, 0, 0, 0], [10, 10, 10, 10]])
        return moved, scores - np.array([[0.02, 0], [0, 0], [0, 0]])

    found = parity.parity(one, other, images([(64, 64)] * 2), 64, 0.5)
    assert found == {
        "images": 2, "faces": 6, "missing": 2, "extra": 2,
        "box_px": pytest.approx(0.25), "score": pytest.approx(0.02),
    }  # fmt: skip
    nothing = parity.parity(one, lambda *_: (boxes[:0], scores[:0]), images([(64, 64)]), 64, 0.5)
    assert (nothing["missing"], nothing["extra"], nothing["box_px"]) == (3, 0, 0)
    swapped = parity.parity(one, lambda *_: (boxes, scores[:, ::-1]), images([(9, 64)]), 64, 0.5)
    assert swapped["missing"] == swapped["extra"] == swapped["faces"]


def test_images_are_detected_in_with_the_files_own_size_and_confidence(files):
    detector = runtime.load(files["onnx"])
    (image,) = images([(80, 64)])
    found = runtime.detect(image, detector=detector)
    expected = detect.detect(detector.run, image, 96, 0.05)
    np.testing.assert_array_equal(found.xyxy, expected.xyxy)
    assert len(found.xyxy) and (found.confidence >= 0.05).all()
    other = runtime.detect(image, conf=0, size=64, tiles=48, detector=detector)
    expected = detect.detect(detector.run, image, 64, 0, 48)
    np.testing.assert_array_equal(other.xyxy, expected.xyxy)
    records = json.loads(json.dumps(runtime.as_records(found, CLASSES)))
    assert [each["name"] for each in records] == [CLASSES[k] for k in found.class_id]
    assert [each["class"] for each in records] == found.class_id.tolist()
    np.testing.assert_allclose(
        [each["confidence"] for each in records], found.confidence, atol=1e-5
    )
    boxes = [[each["box"][key] for key in ("x1", "y1", "x2", "y2")] for each in records]
    np.testing.assert_allclose(boxes, found.xyxy, atol=0.006)


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (np.zeros((8, 8), np.uint8), {}, "an image is RGB"),
        (np.zeros((8, 8, 4), np.uint8), {}, "an image is RGB"),
        (np.zeros((8, 8, 3)), {}, "an image is RGB"),
        (np.zeros((0, 8, 3), np.uint8), {}, "an image is RGB"),
        ([[[0, 0, 0]]], {}, "this one is of type list"),
        (np.zeros((8, 8, 3), np.uint8), {"conf": "high"}, "conf is 'high'"),
        (np.zeros((8, 8, 3), np.uint8), {"size": 320.5}, "size is 320.5; give a whole number"),
        (np.zeros((8, 8, 3), np.uint8), {"conf": float("nan")}, "conf is nan"),
        (np.zeros((8, 8, 3), np.uint8), {"conf": 1.1}, "conf is 1.1"),
        (np.zeros((8, 8, 3), np.uint8), {"size": 0}, "size is 0"),
        (np.zeros((8, 8, 3), np.uint8), {"size": 9999}, "size is 9999"),
        (np.zeros((8, 8, 3), np.uint8), {"tiles": 8}, "tiles is 8"),
    ],
)
def test_wrong_inputs_are_named(files, image, options, message):
    with pytest.raises(InputError, match=message):
        runtime.detect(image, detector=runtime.load(files["onnx"]), **options)


def test_what_is_no_detector_is_named(tmp_path, files):
    with pytest.raises(InputError, match="there is no such model"):
        runtime.load(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(InputError, match="no detector of this project"):
        runtime.load(tmp_path / "text.onnx")
    other = onnx.load(files["onnx"])
    other.graph.output[0].name = "other"
    other.graph.node.append(onnx.helper.make_node("Identity", ["boxes"], ["other"]))
    onnx.save(other, tmp_path / "other.onnx")
    with pytest.raises(InputError, match="no detector of this project"):
        runtime.load(tmp_path / "other.onnx")
    other = onnx.load(files["onnx"])
    del other.metadata_props[:]
    onnx.save(other, tmp_path / "other.onnx")
    with pytest.raises(InputError, match="no detector of this project"):
        runtime.load(tmp_path / "other.onnx")
