"""Networks of the study: published parameter counts, the layers of each experiment, precision."""

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from network_toys import CONFIG, ROOT, backbone, edited, head_of, layers_to, outputs, pixels

from facemask import resolve
from facemask.models import backbones, study_networks

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


def count(weights: list[keras.Variable]) -> int:
    return sum(int(np.prod(weight.shape)) for weight in weights)


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
def test_layers_compute_in_the_wanted_precision(inputs: str, precision: str, label: str) -> None:
    changes = {"precision": precision, "dropout": RATES, "network": SMALL}
    if inputs == "features":
        changes["network"] = SMALL | {"filters": [], "pools": 0}
    losses = CONFIG.experiments["scratch_3"].losses.model_dump()
    losses["label"]["name"] = label
    experiment = edited(
        {"crops": "scratch_3", "features": "mobilenet_6"}[inputs], losses=losses, **changes
    )
    model = study_networks.build(experiment, {"crops": (16, 16, 3), "features": (6,)}[inputs])
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
        found = outputs(model, shown)[head]
        assert (found.shape, found.dtype) == ((4, width), np.float32)


def test_half_the_bits_make_little_difference() -> None:
    """The same weights in both precisions: nearly the same outputs, but not the same."""
    exact, rough = (
        study_networks.build(edited("scratch_3", network=SMALL, precision=precision), (16, 16, 3))
        for precision in ("float32", "bfloat16")
    )
    rough.set_weights(exact.get_weights())
    images = pixels(16) // 16
    for head, values in outputs(exact, images).items():
        error = np.abs(outputs(rough, images)[head] - values).max()
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
                study_networks.build(experiment, (size, size, 3))
        else:
            model = study_networks.build(experiment, (size, size, 3))
            assert model.get_layer(index=1).compute_dtype == precision
        assert keras.config.dtype_policy().name == before
        assert layers.Dense(1).dtype_policy.name == before
    finally:
        keras.config.set_dtype_policy("float32")
