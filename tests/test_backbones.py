"""Backbones: frozen, settled where their weights are random, and one network with their heads.

Weights are random; one test takes real ones from the folder in FACEMASK_WEIGHTS.
"""

import hashlib
import os
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from network_toys import BACKBONES, CONFIG, backbone, head_of, layers_to, outputs, pixels

from facemask import resolve
from facemask.config.training import Backbone
from facemask.errors import InputError
from facemask.models import backbones


def end_to_end(source: str, frozen: keras.Model, head: keras.Model) -> keras.Model:
    """The network as the study built it, pixels to heads in one graph, with copied weights."""
    size = frozen.input_shape[1]
    application = {
        "mobilenet_v2": keras.applications.MobileNetV2,
        "xception": keras.applications.Xception,
    }[source]
    base = application(include_top=False, weights=None, pooling="avg", input_shape=(size, size, 3))
    base.set_weights(frozen.get_weights())
    inputs = keras.Input((size, size, 3))
    features = base(layers.Rescaling(1 / 127.5, offset=-1)(inputs), training=False)
    reached = {}
    for name in ("label", "box"):
        x = features
        for layer in layers_to(name, head):
            if layer.name not in reached:
                copy = type(layer).from_config(layer.get_config())
                reached[layer.name] = copy(x)
                copy.set_weights(layer.get_weights())
            x = reached[layer.name]
    return keras.Model(inputs, {name: reached[name] for name in ("label", "box")})


@pytest.mark.parametrize("name", ["mobilenet_6", "xception_2"])
def test_assembled_network_is_the_end_to_end_network(name: str) -> None:
    source = resolve.backbone(CONFIG, name)
    frozen, head = backbone(source), head_of(name)
    images = pixels(frozen.input_shape[1])
    whole = outputs(backbones.assemble(frozen, head), images)
    # As the pipeline does it: uint8 crops, features kept, the head on its own.
    in_two_steps = head.predict_on_batch(frozen.predict_on_batch(images))
    independent = end_to_end(source, frozen, head).predict_on_batch(images.astype(np.float32))
    for output in ("label", "box"):
        np.testing.assert_allclose(whole[output], independent[output], atol=1e-5)
        np.testing.assert_allclose(in_two_steps[output], independent[output], atol=1e-5)
        assert np.ptp(independent[output], axis=0).min() > 1e-3  # the images matter


@pytest.mark.parametrize("name", BACKBONES)
def test_features_of_a_random_backbone_differ_by_image(name: str) -> None:
    size = BACKBONES[name].input_size
    features = outputs(backbone(name), pixels(size, count=6))
    assert np.isfinite(features).all()
    # Their size matters: unsettled, MobileNetV2 makes about 1e-12 of everything.
    assert features.std(axis=0).mean() > 0.05
    assert (features.std(axis=0) > 1e-3).mean() > 0.9


def test_random_weights_are_the_same_in_two_builds() -> None:
    first = backbone("mobilenet_v2")
    keras.utils.set_random_seed(99)  # what ran before must not matter
    second, loaded = backbones.build_backbone(BACKBONES["mobilenet_v2"], "random")
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    digest = backbones.weights_digest(first, loaded)
    assert loaded == "random" and digest == backbones.weights_digest(second, loaded)
    assert digest != backbones.weights_digest(backbone("xception"), "random")


def test_backbone_stays_frozen_when_the_whole_trains() -> None:
    frozen = backbone("mobilenet_v2")
    whole = backbones.assemble(frozen, head_of("mobilenet_1"))
    before = frozen.get_weights()
    whole.compile("sgd", loss={"label": "binary_crossentropy", "box": "mse"}, run_eagerly=True)
    whole.train_on_batch(
        pixels(64).astype(np.float32), {"label": np.ones((4, 1)), "box": np.ones((4, 4))}
    )
    # Not even the running means of batch normalisation move.
    for one, other in zip(before, frozen.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_assembled_network_reloads_in_safe_mode(tmp_path: Path) -> None:
    frozen = backbone("xception")
    whole = backbones.assemble(frozen, head_of("xception_2"))
    whole.save(tmp_path / "whole.keras")
    again = keras.saving.load_model(tmp_path / "whole.keras", compile=False, safe_mode=True)
    images = pixels(71)
    expected, found = outputs(whole, images), outputs(again, images)
    assert set(found) == {"label", "box"}
    for output, values in expected.items():
        np.testing.assert_allclose(found[output], values, atol=1e-6)


def test_another_application_works_by_its_name(tmp_path: Path) -> None:
    # Its preprocessing swaps the channels and subtracts a mean of each; few layers, soon built.
    model, loaded = backbones.build_backbone(Backbone(application="VGG16", input_size=32), "random")
    assert loaded == "random" and model.output_shape == (None, 512)
    base = keras.applications.VGG16(
        include_top=False, weights=None, pooling="avg", input_shape=(32, 32, 3)
    )
    base.set_weights(model.get_weights())
    images = pixels(32)
    swapped = images[..., ::-1].astype(np.float32) - [103.939, 116.779, 123.68]
    features = outputs(model, images)
    np.testing.assert_allclose(features, outputs(base, swapped), rtol=1e-3, atol=1e-3)
    model.save(tmp_path / "backbone.keras")
    again = keras.saving.load_model(tmp_path / "backbone.keras", compile=False, safe_mode=True)
    np.testing.assert_allclose(outputs(again, images), features, rtol=1e-5, atol=1e-5)


@cache
def other_weights() -> keras.Model:
    """An application with weights that are not those of `random`."""
    keras.utils.set_random_seed(7)
    return keras.applications.MobileNetV2(
        include_top=False, weights=None, pooling="avg", input_shape=(64, 64, 3)
    )


@pytest.mark.parametrize("name", ["mobilenet_v2.weights.h5", "mobilenet_v2_1.0.weights.h5"])
def test_weights_come_from_the_one_file_of_the_application(name: str, tmp_path: Path) -> None:
    base = other_weights()
    base.save_weights(tmp_path / "mobilenet_v2.weights.h5")
    file = (tmp_path / "mobilenet_v2.weights.h5").rename(tmp_path / name)
    (tmp_path / "xception.weights.h5").write_bytes(b"another application's")
    model, loaded = backbones.build_backbone(BACKBONES["mobilenet_v2"], str(tmp_path))
    assert Path(loaded) == file
    for one, other in zip(model.get_weights(), base.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert backbones.weights_digest(model, loaded) == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_weights_folder_is_found_from_home_and_from_a_queued_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC runs those of a queue in copies of the project below its own folder."""
    queued = tmp_path / ".dvc" / "tmp" / "exps" / "temp1"
    for folder in (queued, tmp_path / "weights"):
        folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(queued)
    for folder in ("~/weights", "weights", "./weights/"):
        with pytest.raises(InputError, match=f"^weights folder {tmp_path}/weights: one file"):
            backbones.build_application("MobileNetV2", 32, folder)


def test_a_file_of_weights_is_reported_with_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "mobilenet_v2.weights.h5"
    other_weights().save_weights(file)
    with pytest.raises(InputError, match="a folder is wanted") as caught:
        backbones.build_application("MobileNetV2", 64, str(file))
    assert f"weights to {tmp_path}, " in str(caught.value)
    # As advised.
    assert backbones.build_application("MobileNetV2", 64, str(tmp_path))[2] == str(file)


@pytest.mark.parametrize(
    ("name", "words"),
    [("imagnet", "did you mean 'imagenet'?"), ("no/such", "mobilenet_v2*.h5")],
)
def test_a_folder_that_is_not_there_is_reported_whole(
    name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"no folder of weights {tmp_path / name}") as caught:
        backbones.build_application("MobileNetV2", 64, name)
    assert words in str(caught.value)


@pytest.mark.parametrize("cut", [0, 5000, 100_000])
def test_half_a_file_of_weights_is_told_from_a_whole_one(cut: int, tmp_path: Path) -> None:
    file = tmp_path / "vgg16.weights.h5"
    other_weights().save_weights(file)
    with file.open("r+b") as opened:
        opened.truncate(cut or file.stat().st_size)  # all of another network
    with pytest.raises(InputError, match="does not hold the weights of VGG16") as caught:
        backbones.build_application("VGG16", 32, str(tmp_path))
    assert ("truncated" in str(caught.value)) == bool(cut)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("files", [[], ["mobilenet_v2.a.h5", "mobilenet_v2.b.h5"]])
def test_not_exactly_one_weights_file_is_reported(files: list[str], tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(InputError) as caught:
        backbones.build_backbone(BACKBONES["mobilenet_v2"], str(tmp_path))
    for word in (str(tmp_path), "mobilenet_v2", "datasets.<name>.weights", *(files or ["none"])):
        assert word in str(caught.value)


def test_a_weights_folder_that_is_not_there_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no-such-folder") as caught:
        backbones.build_backbone(BACKBONES["xception"], str(tmp_path / "no-such-folder"))
    assert "datasets.<name>.weights" in str(caught.value)


def test_a_corrupted_weights_file_is_reported_with_a_remedy(tmp_path: Path) -> None:
    file = tmp_path / "mobilenet_v2.weights.h5"
    file.write_bytes(b"not HDF5")
    with pytest.raises(InputError) as caught:
        backbones.build_backbone(BACKBONES["mobilenet_v2"], str(tmp_path))
    assert str(file) in str(caught.value)
    assert "datasets.<name>.weights" in str(caught.value)
    assert file.read_bytes() == b"not HDF5"


@pytest.mark.filterwarnings("ignore:.*input_shape")
def test_a_failed_download_is_reported_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> str:
        raise OSError("URL fetch failure")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", no_network)
    with pytest.raises(InputError, match=r"MobileNetV2.*imagenet.*URL fetch failure") as caught:
        backbones.build_backbone(BACKBONES["mobilenet_v2"], "imagenet")
    for words in ("-S 'datasets.<name>.weights=\"FOLDER\"'", "~/.keras/models"):
        assert words in str(caught.value)


@pytest.mark.parametrize("name", ["MobileNetV9", "mobilenet_v2", "__doc__"])
def test_an_unknown_application_is_reported(name: str) -> None:
    with pytest.raises(InputError, match=r"keras\.applications") as caught:
        backbones.build_backbone(Backbone(application=name, input_size=64), "random")
    assert repr(name) in str(caught.value)


def test_an_input_too_small_for_the_application_is_reported() -> None:
    with pytest.raises(InputError, match=r"Xception.*71x71[^$]*input_size"):
        backbones.build_backbone(Backbone(application="Xception", input_size=32), "random")


@pytest.mark.parametrize("name", BACKBONES)
def test_real_weights(name: str) -> None:
    folder = os.environ.get("FACEMASK_WEIGHTS")
    if not folder:
        pytest.skip("FACEMASK_WEIGHTS names no folder of weights")
    model, loaded = backbones.build_backbone(BACKBONES[name], folder)
    assert Path(loaded).parent == Path(folder)
    content = Path(loaded).read_bytes()
    assert backbones.weights_digest(model, loaded) == hashlib.sha256(content).hexdigest()
    assert model.count_params() == backbone(name).count_params()
    size = BACKBONES[name].input_size
    features = outputs(model, pixels(size))
    assert np.isfinite(features).all() and features.std(axis=0).mean() > 1e-3
    assert np.abs(features - outputs(backbone(name), pixels(size))).max() > 0.1
