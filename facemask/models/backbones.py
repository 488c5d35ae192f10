"""Frozen backbones of keras.applications, run once for all their heads."""

import hashlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from facemask.config.training import Backbone
from facemask.errors import InputError

RANDOM_SEED = 0


def build_backbone(backbone: Backbone, weights: str) -> tuple[keras.Model, str]:
    """Build a frozen backbone from pixels to pooled features.

    Args:
        backbone: a class of keras.applications and the size s of its input.
        weights: `imagenet` (Keras downloads them), `random` (seeded), or a folder that holds
            mobilenet_v2.weights.h5 or Keras' own file mobilenet_v2*.h5, and so on.

    Returns:
        The model, (N, s, s, 3) raw values 0-255 to (N, d), with the application's own
        preprocessing inside; and what was loaded: imagenet, random, or the file's path.

    Raises:
        InputError: no such application, or its weights are missing or do not fit.
    """
    network, preprocess, loaded = build_application(
        backbone.application, backbone.input_size, weights
    )
    inputs = keras.Input(network.input_shape[1:], name="inputs")
    # The identity gives preprocessing a tensor of its own: some of it works in place.
    features = network(preprocess(layers.Identity()(inputs)))
    model = keras.Model(inputs, layers.GlobalAveragePooling2D(name="features")(features))
    model.trainable = False
    return model, loaded


def build_application(
    name: str, size: int, weights: str
) -> tuple[keras.Model, Callable[[Any], Any], str]:
    """Build a network of keras.applications without its top.

    Args:
        name: a class of keras.applications.
        size: side of its input, px.
        weights: as for `build_backbone`.

    Returns:
        The network, its preprocessing of raw values 0-255, and what was loaded.

    Raises:
        InputError: as `build_backbone`.
    """
    application = getattr(keras.applications, name, None)
    if not inspect.isfunction(application):
        raise InputError(
            f"backbones: keras.applications has no network {name!r}; "
            "give a name as it stands there, such as MobileNetV2"
        )
    # An application's module also holds its preprocessing.
    module = sys.modules[application.__module__]
    loaded = weights
    if weights not in ("imagenet", "random"):
        loaded = str(
            _weights_file(Path(weights).expanduser(), name.lower(), module.__name__.split(".")[-1])
        )
    keras.utils.set_random_seed(RANDOM_SEED)
    try:
        network = application(
            include_top=False,
            weights=None if weights == "random" else loaded,
            input_shape=(size, size, 3),
        )
    except Exception as error:
        raise InputError(
            f"{name} could not be built with the weights {loaded}: {error}\n"
            "Put a whole file there, or set datasets.<name>.weights to imagenet, random or a "
            "folder of files"
        ) from error
    if weights == "random":
        _settle_normalisation(network, module.preprocess_input)
    return network, module.preprocess_input, loaded


def assemble(backbone: keras.Model, head: keras.Model) -> keras.Model:
    """Put a head trained on features back onto its backbone: pixels 0-255 to label and box."""
    return keras.Model(backbone.input, head(backbone.output))


def weights_digest(model: keras.Model, loaded: str) -> str:
    """Return the sha256 of the user's weights file, or of the arrays where there is none."""
    if loaded not in ("imagenet", "random"):
        return hashlib.sha256(Path(loaded).read_bytes()).hexdigest()
    digest = hashlib.sha256()
    for array in model.get_weights():
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _weights_file(folder: Path, application: str, module: str) -> Path:
    for name in (application, module):
        if (exact := folder / f"{name}.weights.h5").exists():
            return exact
    found = sorted({*folder.glob(f"{module}*.h5"), *folder.glob(f"{application}*.h5")})
    if len(found) != 1:
        holds = ", ".join(path.name for path in found) or "none"
        raise InputError(
            f"weights folder {folder}: one file {module}*.h5 is wanted, found {holds}; "
            "put it there, or set datasets.<name>.weights to imagenet or random"
        )
    return found[0]


def _settle_normalisation(network: keras.Model, preprocess: Callable[[Any], Any]) -> None:
    """Measure the batch-normalisation statistics of a randomly initialised network on noise.

    Without it the signal of a deep random network fades to a constant before the last layer.
    """
    cells = np.random.default_rng(RANDOM_SEED).integers(0, 256, (16, 16, 16, 3), dtype=np.uint8)
    noise = keras.ops.image.resize(cells.astype("float32"), network.input_shape[1:3])
    norms = [layer for layer in network.layers if isinstance(layer, layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    network(preprocess(noise), training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
