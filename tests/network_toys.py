"""What tests of networks share: backbones of random weights, heads of experiments, images."""

from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from facemask import params
from facemask.config.training import Backbone, Experiment
from facemask.models import backbones, study_networks

ROOT = Path(__file__).parents[1]
CONFIG = params.read(ROOT)
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
        return study_networks.build(experiment, backbone(source).output_shape[1:])
    return study_networks.build(experiment, (int(source), int(source), 3))


def edited(name: str, **changes: Any) -> Experiment:
    return Experiment.model_validate(CONFIG.experiments[name].model_dump() | changes)


def outputs(model: keras.Model, images: np.ndarray) -> dict[str, np.ndarray] | np.ndarray:
    """Call a model without the seconds that predict needs to trace it."""
    return keras.tree.map_structure(
        keras.ops.convert_to_numpy, model(images.astype(np.float32), training=False)
    )


def layers_to(head: str, model: keras.Model) -> list[layers.Layer]:
    """The layers from the input, which is left out, to one head."""
    found, layer = [], model.get_layer(head)
    while not isinstance(layer, layers.InputLayer):
        found.append(layer)
        layer = layer.input._keras_history.operation
    return found[::-1]
