"""What localizer and detector share: a backbone's feature levels, merged from coarse to fine."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers

from facemask.errors import InputError

Convolve = Callable[[keras.KerasTensor, int], keras.KerasTensor]


def feature_levels(
    inputs: keras.KerasTensor,
    application: keras.Model,
    preprocess: Callable[[Any], Any],
    names: Sequence[str],
    freeze_until: str,
) -> list[keras.KerasTensor]:
    """Return the outputs of some layers of a backbone, which is partly frozen.

    Args:
        inputs: (N, h, w, 3), raw values 0-255.
        application: of keras.applications, without its top.
        preprocess: from pixels 0-255 to what the application expects.
        names: of the layers, from fine to coarse.
        freeze_until: the last layer that keeps its weights.

    Raises:
        InputError: the backbone has no layer of one of the names.
    """
    levels = keras.Model(application.input, [_layer(application, name).output for name in names])
    _freeze(application, freeze_until)
    maps = levels(preprocess(layers.Identity()(inputs)))
    return maps if isinstance(maps, list) else [maps]


def merge(
    maps: Sequence[keras.KerasTensor], names: Sequence[str], channels: int, convolve: Convolve
) -> keras.KerasTensor:
    """Merge maps from coarse to fine, as feature pyramids do (Lin et al. 2017): the finest.

    Args:
        maps: of `feature_levels`.
        names: of their layers, for the message.
        channels: of the result.
        convolve: what follows each sum, from a map and a number of channels.

    Raises:
        InputError: a map is not of twice the resolution of the next.
    """
    fine, *coarser = [layers.Conv2D(channels, 1)(x) for x in maps]
    if not coarser:
        return fine
    merged = coarser[-1]
    for x in [*coarser[-2::-1], fine]:
        if any(side and 2 * small != side for small, side in _sides(merged, x)):
            raise InputError(
                f"feature_levels {', '.join(names)}: a map of "
                f"{merged.shape[1:3]} does not double to {x.shape[1:3]}; give one level a "
                "resolution, the finest first"
            )
        merged = convolve(layers.Add()([layers.UpSampling2D()(merged), x]), channels)
    return merged


def _sides(small: keras.KerasTensor, large: keras.KerasTensor) -> list[tuple[Any, Any]]:
    return list(zip(small.shape[1:3], large.shape[1:3], strict=True))


def _freeze(application: keras.Model, last: str) -> None:
    """Freeze a backbone up to one of its layers, which is included, and its normalisation wholly.

    The statistics of a small batch are worse than those that the weights came with. A frozen layer
    keeps them; Keras gives a part called with training=False the outer model's mode all the same.
    """
    until = application.layers.index(_layer(application, last))
    for number, layer in enumerate(application.layers):
        normalises = isinstance(layer, layers.BatchNormalization)
        layer.trainable = number > until and not normalises


def _layer(application: keras.Model, name: str) -> layers.Layer:
    try:
        return application.get_layer(name)
    except ValueError:
        raise InputError(
            f"the backbone {application.name} has no layer {name!r}: correct feature_levels or "
            "freeze_until; it has " + ", ".join(layer.name for layer in application.layers)
        ) from None
