"""The models that predict takes: exported files, and trained networks of all kinds."""

import pickle
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from network_toys import edited, pixels
from predict_toys import EXAMPLE, ROOT, example, predict
from toys import packed_crops

from facemask import params
from facemask.config.detector import ResolvedDetector
from facemask.config.training import ResolvedExperiment
from facemask.errors import InputError
from facemask.inference import crop, detector, runtime
from facemask.inference.detect import detect
from facemask.models import study_networks
from facemask.models.detector import build_detector
from facemask.predict import networks
from facemask.predict.networks import Settings

CONFIG = params.read(ROOT)


def write(folder, model, settings):
    folder.mkdir()
    model.save(folder / "model.keras")
    (folder / "config.json").write_text(settings.model_dump_json())
    return folder


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    resolved = ResolvedExperiment(**edited("scratch_1").model_dump(), seed=1, input_size=128)
    keras.utils.set_random_seed(1)  # its box holds something
    model = study_networks.build(resolved, (128, 128, 3))
    root = tmp_path_factory.mktemp("project")
    (root / "models").mkdir()
    for file in (*ROOT.glob("params.yaml"), *ROOT.glob("pipelines/*/params.yaml")):
        copy = root / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    return write(root / "models/scratch_1", model, resolved)


@pytest.fixture(scope="module")
def small_detector(tmp_path_factory):
    """Of two convolutions; it finds what it likes."""
    keras.utils.set_random_seed(1)
    entry = CONFIG.detectors["detector"].model_dump()
    entry |= {"feature_levels": ["fine", "coarse"], "freeze_until": "fine", "channels": 8}
    entry |= {"seed": 3, "application": "Small", "weights": "random", "size": 128}
    entry["classes"] = {"with_mask": "with_mask", "without_mask": "without_mask"}
    settings = ResolvedDetector.model_validate(entry)
    inputs = keras.Input((None, None, 3))
    conv = keras.layers.Conv2D
    x = conv(8, 5, strides=4, padding="same", activation="relu", name="fine")(inputs)
    x = conv(16, 3, strides=2, padding="same", activation="relu", name="coarse")(x)
    application = keras.Model(inputs, x)
    model = build_detector(settings, 2, application, keras.layers.Rescaling(1 / 127.5, offset=-1))
    return write(tmp_path_factory.mktemp("detector") / "small", model, settings)


def test_a_networks_face_is_that_of_its_own_preprocessing(scratch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the project is found from the network's folder
    image = pixels(96, 1)[0].astype(np.uint8)
    expected = crop.load(scratch, CONFIG)(image)
    found = networks.load(scratch, Settings())
    face = found.find(image)
    with_mask = expected.probability >= 0.5
    assert found.classes[face.class_id[0]] == ("with_mask" if with_mask else "without_mask")
    sure = max(expected.probability, 1 - expected.probability)
    assert face.confidence[0] == pytest.approx(sure, abs=1e-6)
    np.testing.assert_allclose(face.xyxy[0], np.clip(expected.box, 0, 96), atol=1e-3)
    assert len(networks.load(scratch, Settings(conf=1.0)).find(image).xyxy) == 0


def test_the_command_takes_a_network(scratch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (record,) = predict(EXAMPLE, "--model", scratch, "--json").records
    assert len(record["faces"]) == 1
    for options in (["--size", 640], ["--tiles", 640], ["--multi-scale"]):
        wrong = predict(EXAMPLE, "--model", scratch, *options, code=1).stderr
        assert "leave out --size, --tiles and --multi-scale" in wrong


def test_a_trained_detector_is_that_of_its_folder(small_detector):
    found = networks.load(small_detector, Settings(0.001, 96, 200))
    run, settings = detector.load(small_detector)
    run = pickle.loads(pickle.dumps(run))  # as a cluster's worker gets it
    expected = detect(run, example(), 96, 0.001, 200)
    assert found.classes == tuple(settings.classes)
    for one, other in zip(found.find(example()), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(expected.xyxy)


def test_tables_of_a_trained_detector_hold_what_it_finds(small_detector, tmp_path):
    """Of packed images, in pixels as they were before; of crops, the strongest face."""
    run, settings = detector.load(small_detector)
    images = [
        np.ascontiguousarray(each) for each in (example()[::2, ::2], example()[20:120, 30:160])
    ]
    crops = packed_crops(tmp_path, images)
    samples = pd.DataFrame(
        {
            "sample": [1, 0], "image": ["b.png", "a.png"], "split": ["test", "val"],
            "width": [2 * images[1].shape[1], images[0].shape[1]],
            "height": [3 * images[1].shape[0], images[0].shape[0]],
        }
    )  # fmt: skip
    table = detector.detect_images(run, settings, crops, samples)
    assert list(table["image"].unique()) == ["b.png", "a.png"]
    for row, scale in ((0, (2, 3, 2, 3)), (1, (1, 1, 1, 1))):
        each = samples.iloc[row]
        expected = detect(run, images[each["sample"]], settings.size, detector.LEAST)
        found = table[table["image"] == each["image"]]
        assert {*found["split"]} == {each["split"]}
        boxes = found[["x0", "y0", "x1", "y1"]].to_numpy()
        np.testing.assert_allclose(boxes, expected.xyxy * scale, atol=0.006)
        scores = found[["score_with_mask", "score_without_mask"]].to_numpy()
        np.testing.assert_allclose(scores, expected.scores, atol=6e-6)
    faces = pd.DataFrame({"sample": [0, 1], "image": "a.png", "face": [0, 1], "flip": 0})
    faces = faces.assign(split="test", label=[1, 0], x0=0, y0=0, x1=90, y1=60)
    faces = faces.assign(box_x0=9, box_y0=6, box_x1=45, box_y1=30)
    strongest = detector.strongest(run, settings, crops, faces)
    for row, image in enumerate(images):
        best = detect(run, image, settings.crop_view, 0)
        with_mask, without = best.scores[0] ** 2
        probability = with_mask / (with_mask + without)
        assert strongest["probability"][row] == pytest.approx(probability, abs=1e-5)
        assert strongest["predicted"][row] == ("with_mask" if probability > 0.5 else "without_mask")


def test_another_file_is_that_of_its_path(tmp_path):
    copy = tmp_path / "another.onnx"
    copy.write_bytes(runtime.SHIPPED.read_bytes())
    found = networks.load(copy, Settings()).find(example())
    expected = networks.load(None, Settings()).find(example())
    np.testing.assert_array_equal(found.xyxy, expected.xyxy)


def test_without_tensorflow_it_is_said_what_installs_it(scratch, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    monkeypatch.delitem(sys.modules, "facemask.inference.crop")
    monkeypatch.delattr("facemask.inference.crop")
    with pytest.raises(
        InputError, match=r'keras is not installed: pip install "facemask\[train\]"'
    ):
        networks.load(scratch, Settings())


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"crop_view": 1}', "not json"])
def test_a_folder_of_something_else_is_reported(tmp_path, content):
    Path(tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match="holds no trained network"):
        networks.load(tmp_path, Settings())
    Path(tmp_path / "model.keras").write_text("no model")
    with pytest.raises(InputError, match="holds no network that can be loaded"):
        networks.load(tmp_path, Settings())
