"""Networks: published parameter counts, the layers each experiment asks for, backbones and heads.

Backbones carry random weights; one test takes real ones from the folder in FACEMASK_WEIGHTS.
"""

import hashlib
import os
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers

from facemask import params, resolve
from facemask.config import Backbone, Experiment
from facemask.errors import InputError
from facemask.models import backbones, heads

ROOT = Path(__file__).parents[1]
CONFIG = params.read(ROOT)
PUBLISHED = pd.read_csv(ROOT / "reference" / "published_results.csv", index_col="id")

# Layers from the input to the label head and to the box head, as the study describes them:
# cN convolution, p pool, f flatten, dN dense, %.N dropout; the heads' neurons and s softmax,
# g sigmoid or l linear.
BIG = "c32 p c64 p c128 p c256 p f"
PATHS = {
    "scratch_1": ("c2 p c4 p c8 f 2s", "c2 p c4 p c8 f 4g"),
    "scratch_2": ("c2 p c4 p c8 f %.5 2s", "c2 p c4 p c8 f %.5 4g"),
    "scratch_3": (f"{BIG} %.5 2s", f"{BIG} %.5 4g"),
    "scratch_4_mse": (f"{BIG} %.6 2s", f"{BIG} %.1 4l"),
    "scratch_4_smooth_l1": (f"{BIG} %.6 2s", f"{BIG} %.1 4l"),
    "scratch_5": (f"{BIG} %.8 1g", f"{BIG} %.5 4g"),
    "scratch_6": (f"{BIG} %.8 d32 1g", f"{BIG} %.7 4g"),
    "scratch_7": (f"{BIG} %.8 d32 1g", f"{BIG} %.7 4g"),
    "mobilenet_1": ("d256 %.5 1g", "d256 %.5 4g"),
    "mobilenet_2": ("d256 %.7 1g", "d256 %.8 4g"),
    "mobilenet_3": ("d256 %.5 1g", "d256 %.5 4g"),
    "mobilenet_4": ("d256 d256 d256 %.5 1g", "d256 d256 d256 %.5 4g"),
    "mobilenet_5": ("d1536 d1536 %.5 1g", "d1536 d1536 %.5 4g"),
    "mobilenet_6": ("d1536 %.5 d1536 %.5 1g", "d1536 %.5 d1536 %.5 4g"),
    "xception_1": ("d256 %.5 1g", "d256 %.5 4g"),
    "xception_2": ("d256 %.8 1g", "d256 %.7 4g"),
    "xception_3": ("d256 %.8 1g", "d256 %.7 4g"),
    "xception_4": ("d256 d256 d256 %.8 1g", "d256 d256 d256 %.7 4g"),
    "xception_5": ("d1536 d1536 d1536 %.8 1g", "d1536 d1536 d1536 %.8 4g"),
}
# The least sides, about, that these applications take: quick, and the counts do not depend on them.
BACKBONES = {
    "mobilenet_v2": Backbone(application="MobileNetV2", input_size=64),
    "xception": Backbone(application="Xception", input_size=71),
}


@cache
def backbone(name: str) -> keras.Model:
    return backbones.build_backbone(BACKBONES[name], "random")[0]


def pixels(size: int, count: int = 4, seed: int = 0) -> np.ndarray:
    """Random images of several contrasts, uint8."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, size, size, 3))
    return (images * np.linspace(0.2, 1, count)[:, None, None, None]).astype(np.uint8)


def head_of(name: str, **changes: Any) -> keras.Model:
    """The trained part of an experiment of params.yaml, with some of its keys replaced."""
    experiment = edited(name, **changes)
    kind, _, source = experiment.inputs.partition("/")
    if kind == "features":
        return heads.build(experiment, backbone(source).output_shape[1:])
    return heads.build(experiment, (int(source), int(source), 3))


def edited(name: str, **changes: Any) -> Experiment:
    return Experiment.model_validate(CONFIG.experiments[name].model_dump() | changes)


def answer(model: keras.Model, images: np.ndarray) -> dict[str, np.ndarray] | np.ndarray:
    """Call a model without the seconds that predict needs to trace it."""
    return keras.tree.map_structure(
        keras.ops.convert_to_numpy, model(images.astype(np.float32), training=False)
    )


def count(weights: list[keras.Variable]) -> int:
    return sum(int(np.prod(weight.shape)) for weight in weights)


def layers_to(head: str, model: keras.Model) -> list[layers.Layer]:
    """The layers from the input, which is left out, to one head."""
    found, layer = [], model.get_layer(head)
    while not isinstance(layer, layers.InputLayer):
        found.append(layer)
        layer = layer.input._keras_history.operation
    return found[::-1]


def word_for(layer: layers.Layer) -> str:
    if isinstance(layer, layers.Dropout):
        return f"%{layer.rate:g}".replace("0.", ".")
    if isinstance(layer, layers.MaxPooling2D):
        return "p"
    if isinstance(layer, layers.Flatten):
        return "f"
    activation = layer.activation.__name__
    if isinstance(layer, layers.Conv2D):
        assert (layer.kernel_size, layer.padding, activation) == ((3, 3), "valid", "relu")
        return f"c{layer.filters}"
    assert isinstance(layer, layers.Dense)
    return {
        "relu": f"d{layer.units}",
        "softmax": f"{layer.units}s",
        "sigmoid": f"{layer.units}g",
        "linear": f"{layer.units}l",
    }[activation]


def test_every_published_experiment_is_there() -> None:
    assert list(PUBLISHED.index) == list(PATHS)
    assert [name for name in CONFIG.experiments if name in PATHS] == list(PATHS)
    assert len(PATHS) == 19


@pytest.mark.parametrize("name", PUBLISHED.index)
def test_parameters_are_the_published_ones(name: str) -> None:
    model = head_of(name)
    if source := resolve.backbone(CONFIG, name):
        model = backbones.assemble(backbone(source), model)
    assert count(model.weights) == model.count_params() == PUBLISHED.total_params[name]
    assert count(model.trainable_weights) == PUBLISHED.trainable_params[name]


@pytest.mark.parametrize("name", PATHS)
def test_layers_are_the_described_ones(name: str) -> None:
    model = head_of(name)
    found = (" ".join(map(word_for, layers_to(head, model))) for head in ("label", "box"))
    assert tuple(found) == PATHS[name]


SMALL = {"filters": [4, 4], "pools": 1, "dense": [8], "label_dense": [8]}
RATES = dict.fromkeys(("dense", "shared", "label", "box"), 0.5)


@pytest.mark.parametrize("label", ["binary_crossentropy", "categorical_crossentropy"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("inputs", ["crops", "features"])
def test_layers_compute_in_the_precision_asked_for(inputs: str, precision: str, label: str) -> None:
    changes = {"precision": precision, "dropout": RATES, "network": SMALL}
    if inputs == "features":
        changes["network"] = SMALL | {"filters": [], "pools": 0}
    losses = CONFIG.experiments["scratch_3"].losses.model_dump()
    losses["label"]["name"] = label
    experiment = edited(
        {"crops": "scratch_3", "features": "mobilenet_6"}[inputs], losses=losses, **changes
    )
    model = heads.build(experiment, {"crops": (16, 16, 3), "features": (6,)}[inputs])
    inner = [
        layer
        for layer in model.layers
        if not isinstance(layer, layers.InputLayer) and layer.name not in ("label", "box")
    ]
    assert len(inner) == {"crops": 10, "features": 6}[inputs]
    assert {layer.compute_dtype for layer in inner} == {precision}
    assert {model.get_layer(head).compute_dtype for head in ("label", "box")} == {"float32"}
    assert {weight.dtype for weight in model.weights} == {"float32"}
    shown = pixels(16) if inputs == "crops" else np.ones((4, 6))
    for head, width in (("label", 1 + label.startswith("categorical")), ("box", 4)):
        found = answer(model, shown)[head]
        assert (found.shape, found.dtype) == ((4, width), np.float32)


def test_half_the_bits_make_little_difference() -> None:
    """The same weights in both precisions: nearly the same answers, but not the same."""
    exact, rough = (
        heads.build(edited("scratch_3", network=SMALL, precision=precision), (16, 16, 3))
        for precision in ("float32", "bfloat16")
    )
    rough.set_weights(exact.get_weights())
    images = pixels(16) // 16
    for head, values in answer(exact, images).items():
        error = np.abs(answer(rough, images)[head] - values).max()
        assert 1e-6 < error < 0.02


@pytest.mark.parametrize("name", ["scratch_1", "mobilenet_1"])
def test_precision_changes_no_count_of_parameters(name: str) -> None:
    assert head_of(name, precision="bfloat16").count_params() == head_of(name).count_params()


@pytest.mark.parametrize("before", ["float32", "mixed_bfloat16", "float16"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("size", [16, 4], ids=["built", "too small to be built"])
def test_the_policy_of_everything_else_stays(before: str, precision: str, size: int) -> None:
    experiment = edited("scratch_3", network=SMALL, precision=precision)
    keras.config.set_dtype_policy(before)
    try:
        if size == 4:
            with pytest.raises(ValueError, match="Computed output size would be"):
                heads.build(experiment, (size, size, 3))
        else:
            model = heads.build(experiment, (size, size, 3))
            assert model.get_layer(index=1).compute_dtype == precision
        assert keras.config.dtype_policy().name == before
        assert layers.Dense(1).dtype_policy.name == before
    finally:
        keras.config.set_dtype_policy("float32")


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
    whole = answer(backbones.assemble(frozen, head), images)
    # As the pipeline does it: uint8 crops, features kept, the head on its own.
    in_two_steps = head.predict_on_batch(frozen.predict_on_batch(images))
    independent = end_to_end(source, frozen, head).predict_on_batch(images.astype(np.float32))
    for output in ("label", "box"):
        np.testing.assert_allclose(whole[output], independent[output], atol=1e-5)
        np.testing.assert_allclose(in_two_steps[output], independent[output], atol=1e-5)
        assert np.ptp(independent[output], axis=0).min() > 1e-3  # the images matter


@pytest.mark.parametrize("name", BACKBONES)
def test_random_backbone_tells_images_apart(name: str) -> None:
    size = BACKBONES[name].input_size
    features = answer(backbone(name), pixels(size, count=6))
    assert np.isfinite(features).all()
    # Their size matters: unsettled, MobileNetV2 answers about 1e-12 to everything.
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
    expected, found = answer(whole, images), answer(again, images)
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
    features = answer(model, images)
    np.testing.assert_allclose(features, answer(base, swapped), rtol=1e-3, atol=1e-3)
    model.save(tmp_path / "backbone.keras")
    again = keras.saving.load_model(tmp_path / "backbone.keras", compile=False, safe_mode=True)
    np.testing.assert_allclose(answer(again, images), features, rtol=1e-5, atol=1e-5)


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


@pytest.mark.parametrize("files", [[], ["mobilenet_v2.a.h5", "mobilenet_v2.b.h5"]])
def test_not_exactly_one_weights_file_is_told(files: list[str], tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(InputError) as told:
        backbones.build_backbone(BACKBONES["mobilenet_v2"], str(tmp_path))
    for word in (str(tmp_path), "mobilenet_v2", "datasets.<name>.weights", *(files or ["none"])):
        assert word in str(told.value)


def test_a_weights_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no-such-folder") as told:
        backbones.build_backbone(BACKBONES["xception"], str(tmp_path / "no-such-folder"))
    assert "datasets.<name>.weights" in str(told.value)


def test_a_corrupted_weights_file_is_told_with_a_remedy(tmp_path: Path) -> None:
    file = tmp_path / "mobilenet_v2.weights.h5"
    file.write_bytes(b"not HDF5")
    with pytest.raises(InputError) as told:
        backbones.build_backbone(BACKBONES["mobilenet_v2"], str(tmp_path))
    assert str(file) in str(told.value)
    assert "datasets.<name>.weights" in str(told.value)
    assert file.read_bytes() == b"not HDF5"


@pytest.mark.filterwarnings("ignore:.*input_shape")
def test_a_failed_download_is_told_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> str:
        raise OSError("URL fetch failure")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", no_network)
    with pytest.raises(InputError, match=r"MobileNetV2.*imagenet.*URL fetch failure") as told:
        backbones.build_backbone(BACKBONES["mobilenet_v2"], "imagenet")
    assert "datasets.<name>.weights" in str(told.value)


@pytest.mark.parametrize("name", ["MobileNetV9", "mobilenet_v2", "__doc__"])
def test_an_unknown_application_is_told(name: str) -> None:
    with pytest.raises(InputError, match=r"keras\.applications") as told:
        backbones.build_backbone(Backbone(application=name, input_size=64), "random")
    assert repr(name) in str(told.value)


def test_an_input_too_small_for_the_application_is_told() -> None:
    with pytest.raises(InputError, match=r"Xception.*71x71"):
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
    features = answer(model, pixels(size))
    assert np.isfinite(features).all() and features.std(axis=0).mean() > 1e-3
    assert np.abs(features - answer(backbone(name), pixels(size))).max() > 0.1
