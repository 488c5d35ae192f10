"""Frozen backbones of keras.applications, run once for all their heads."""

import hashlib
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from facemask.config.training import Backbone
from facemask.errors import InputError, nearest
from facemask.io import user_path

RANDOM_SEED = 0
NOISE_SIDE = 224  # px, on which the statistics of a network for any size are measured


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
        InputError: no such application, too small an input, or weights that are missing or do not
            fit.
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
    name: str, size: int | None, weights: str
) -> tuple[keras.Model, Callable[[Any], Any], str]:
    """Build a network of keras.applications without its top.

    Args:
        name: a class of keras.applications.
        size: side of its input, px; None: of any size that its strides divide.
        weights: as for `build_backbone`.

    Returns:
        The network, its preprocessing of raw values 0-255, and what was loaded.

    Raises:
        InputError: as `build_backbone`.
    """
    application = getattr(keras.applications, name, None)
    if not inspect.isfunction(application):
        raise InputError(
            f"backbones: keras.applications has no network {name!r}"
            f"{nearest(name, vars(keras.applications))}; give a name as it stands there"
        )
    # An application's module also holds its preprocessing.
    module = sys.modules[application.__module__]
    loaded = weights
    if weights not in ("imagenet", "random"):
        names = [module.__name__.split(".")[-1], name.lower()]
        loaded = str(_weights_file(user_path(weights), names))
    keras.utils.set_random_seed(RANDOM_SEED)
    shape = {"include_top": False, "input_shape": (size, size, 3)}
    try:
        network = application(**shape, weights=None)
    except ValueError as error:
        raise InputError(
            f"{name} does not take images of {size} px: {error}\n"
            "Give backbones.<name>.input_size another size, which arrays.sizes holds too"
        ) from error
    if weights == "random":
        _settle_normalisation(network, module.preprocess_input)
    elif weights == "imagenet":
        network = _with_downloaded_weights(lambda: application(**shape, weights=weights), name)
    else:
        _load_weights(network, loaded, name)
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


def _with_downloaded_weights(build: Callable[[], keras.Model], name: str) -> keras.Model:
    try:
        return build()
    except Exception as error:  # Keras raises no other for a failed download
        raise InputError(
            f"{name}: the weights imagenet could not be loaded: {error}\n"
            "Keras downloads them into ~/.keras/models; if a file there is not whole, delete it. "
            "Without a network, download the file of that address elsewhere, put it into a folder, "
            "and give -S 'datasets.<name>.weights=\"FOLDER\"'"
        ) from error


def _load_weights(network: keras.Model, file: str, name: str) -> None:
    try:
        network.load_weights(file)
    except (OSError, ValueError, KeyError) as error:
        first = str(error).partition("\n")[0]
        raise InputError(
            f"{file} does not hold the weights of {name} without its top: {first}\n"
            "Put a whole file of that network there (Keras' own end in _notop.h5), or set "
            "datasets.<name>.weights to imagenet, random or another folder"
        ) from error


def _weights_file(folder: Path, names: Sequence[str]) -> Path:
    """Return the one file of a network, which has several names, in a folder."""
    wanted = " or ".join(f"{name}*.h5" for name in dict.fromkeys(names))
    if folder.is_file():
        raise InputError(
            f"weights {folder} is a file, and a folder is wanted: set datasets.<name>.weights to "
            f"{folder.absolute().parent}, and name the file {names[0]}.weights.h5 if it is not "
            f"{wanted}"
        )
    if not folder.is_dir():
        hint = nearest(folder.name, ["imagenet", "random"])
        raise InputError(
            f"there is no folder of weights {folder.absolute()}{hint}: set datasets.<name>.weights "
            f"to a folder that holds {wanted}, to imagenet or to random"
        )
    for name in names:
        if (exact := folder / f"{name}.weights.h5").exists():
            return exact
    found = sorted({path for name in names for path in folder.glob(f"{name}*.h5")})
    if len(found) != 1:
        holds = ", ".join(path.name for path in found) or "none"
        raise InputError(
            f"weights folder {folder}: one file {wanted} is wanted, found {holds}; put it there, "
            "or set datasets.<name>.weights to another folder, imagenet or random"
        )
    return found[0]


def _settle_normalisation(network: keras.Model, preprocess: Callable[[Any], Any]) -> None:
    """Measure the batch-normalisation statistics of a randomly initialised network on noise.

    Without it the signal of a deep random network fades to a constant before the last layer.
    """
    cells = np.random.default_rng(RANDOM_SEED).integers(0, 256, (16, 16, 16, 3), dtype=np.uint8)
    sides = tuple(side or NOISE_SIDE for side in network.input_shape[1:3])
    noise = keras.ops.image.resize(cells.astype("float32"), sides)
    norms = [layer for layer in network.layers if isinstance(layer, layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    network(preprocess(noise), training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
