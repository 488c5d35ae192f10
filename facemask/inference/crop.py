"""A trained network as a function: from a crop of any size to a label and a box."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from facemask.config import Config
from facemask.config.localizer import ResolvedLocalizer
from facemask.config.training import ResolvedExperiment
from facemask.data.arrays import resize, shrunk
from facemask.errors import InputError
from facemask.inference.localizer import predict_crops
from facemask.models import boxes
from facemask.models.backbones import assemble, build_backbone


class Prediction(NamedTuple):
    """The probability of a mask, and the face's box: x0, y0, x1, y1 in px of the crop."""

    probability: float
    box: tuple[float, float, float, float]


Predict = Callable[[np.ndarray], Prediction]


def load(folder: Path, config: Config) -> Predict:
    """Load a network of the study or a localizer, to predict as it was evaluated.

    Args:
        folder: of the network, as its training wrote it.
        config: the parameters it was trained with: its backbone, the dataset's weights and the
            size of crops are taken from there.

    Returns:
        A function of a crop, uint8 (h, w, 3), RGB, of any size.

    Raises:
        InputError: there is no trained network in the folder, or `build_backbone` finds its
            weights missing.
    """
    if not (folder / "config.json").exists():
        raise InputError(f"{folder} holds no trained network: dvc repro trains them")
    settings = json.loads((folder / "config.json").read_bytes())
    # A localizer has its input size and passes there, an experiment its inputs.
    if "model_input" in settings:
        return _localizer(folder, ResolvedLocalizer.model_validate(settings), config)
    return _experiment(folder, ResolvedExperiment.model_validate(settings), config)


def _localizer(folder: Path, localizer: ResolvedLocalizer, config: Config) -> Predict:
    model = keras.saving.load_model(folder / "model.keras", compile=False)

    def predict(crop: np.ndarray) -> Prediction:
        label, box, _ = predict_crops(model, [shrunk(crop, config.arrays.max_side)], localizer)
        return _prediction(crop, label[0], box[0])

    return predict


def _experiment(folder: Path, experiment: ResolvedExperiment, config: Config) -> Predict:
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    kind, _, name = experiment.inputs.partition("/")
    if kind == "features":
        weights = config.datasets[config.dataset].weights
        model = assemble(build_backbone(config.backbones[name], weights)[0], model)
    size = experiment.input_size

    def predict(crop: np.ndarray) -> Prediction:
        outputs = model.predict_on_batch(resize(crop, size, size)[None])
        box = boxes.convert(outputs["box"], experiment.box_format, "rel_xyxy", size)
        return _prediction(crop, outputs["label"][0], keras.ops.convert_to_numpy(box)[0])

    return predict


def _prediction(crop: np.ndarray, label: np.ndarray, box: np.ndarray) -> Prediction:
    """The outputs of a network on a crop; the label's last neuron is with_mask."""
    height, width = crop.shape[:2]
    x0, y0, x1, y1 = (box.astype(float) * [width, height, width, height]).tolist()
    return Prediction(float(label[-1]), (x0, y0, x1, y1))
