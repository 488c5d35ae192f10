"""A trained network as a function: from a crop of any size to a label and a box."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from facemask.config import Config
from facemask.config.localizer import ResolvedLocalizer
from facemask.config.training import ResolvedExperiment
from facemask.data.affine import resize
from facemask.data.arrays import shrunk
from facemask.errors import InputError
from facemask.inference.localizer import predict_crops
from facemask.io import read_json
from facemask.models import boxes
from facemask.models.backbones import assemble, build_backbone, weights_digest


class Prediction(NamedTuple):
    """The probability of a mask, and the face's box: x0, y0, x1, y1 in px of the crop."""

    probability: float
    box: tuple[float, float, float, float]


Predict = Callable[[np.ndarray], Prediction]


def load(folder: Path, config: Config) -> Predict:
    """Load a network of the study or a localizer, to predict as it was evaluated.

    Args:
        folder: of the network or of one of its repeats, as its training wrote it.
        config: the parameters it was trained with: its backbone, the dataset's weights and the
            size of crops are taken from there.

    Returns:
        A function of a crop, uint8 (h, w, 3), RGB, of any size. It raises InputError if the crop is
        none.

    Raises:
        InputError: there is no trained network in the folder, its backbone is missing from the
            parameters, or its weights are missing or others than it was trained on.
    """
    # A repeat shares the settings of the network, in the folder above.
    found = [each for each in (folder, folder.parent) if (each / "config.json").exists()]
    if not found or not (folder / "model.keras").exists():
        raise InputError(
            f"{folder} holds no trained network: dvc repro trains those of the study, dvc repro "
            "pipelines/NAME/dvc.yaml others"
        )
    settings = read_json(found[0] / "config.json")
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    # A localizer has its input size and passes there, an experiment its inputs.
    if "model_input" in settings:
        return _localizer(model, ResolvedLocalizer.model_validate(settings), config)
    experiment = ResolvedExperiment.model_validate(settings)
    kind, _, name = experiment.inputs.partition("/")
    if kind == "features":
        backbone = _backbone(name, experiment.input_size, config, found[0] / "backbone.json")
        model = assemble(backbone, model)
    return _experiment(model, experiment)


def _backbone(name: str, size: int, config: Config, record: Path) -> keras.Model:
    """Build the backbone that a network's features came from, for crops of `size` px."""
    if name not in config.backbones:
        raise InputError(f"params.yaml has no backbones.{name}, on which the network was trained")
    if not record.exists():
        raise InputError(f"there is no {record}: train the network again (dvc repro -f)")
    weights = config.datasets[config.dataset].weights
    # The parameters may name another size by now.
    chosen = config.backbones[name].model_copy(update={"input_size": size})
    backbone, loaded = build_backbone(chosen, weights)
    if weights_digest(backbone, loaded) != read_json(record)["sha256"]:
        raise InputError(
            f"{chosen.application} with the weights {weights!r} of datasets.{config.dataset} is "
            f"not what {record} was made with: set dataset, weights and backbones.{name} as they "
            "were then, or train again (dvc repro)"
        )
    return backbone


def _localizer(model: keras.Model, localizer: ResolvedLocalizer, config: Config) -> Predict:
    def predict(crop: np.ndarray) -> Prediction:
        small = shrunk(_checked(crop), config.arrays.max_side)
        label, box, _ = predict_crops(model, [small], localizer)
        return _prediction(crop, label[0], box[0])

    return predict


def _experiment(model: keras.Model, experiment: ResolvedExperiment) -> Predict:
    size = experiment.input_size

    def predict(crop: np.ndarray) -> Prediction:
        # Twice: the sums of a batch of one are rounded otherwise than those of more.
        inputs = np.stack([resize(_checked(crop), size, size)] * 2)
        outputs = model.predict_on_batch(inputs)
        box = boxes.convert(outputs["box"], experiment.box_format, "rel_xyxy", size)
        return _prediction(crop, outputs["label"][0], keras.ops.convert_to_numpy(box)[0])

    return predict


def _checked(crop: np.ndarray) -> np.ndarray:
    if crop.ndim != 3 or crop.shape[2] != 3 or crop.dtype != np.uint8 or not crop.size:
        raise InputError(
            f"a crop is RGB, uint8 (height, width, 3), and this one is {crop.dtype} {crop.shape}: "
            "read images with facemask.data.decode.read_rgb"
        )
    return np.ascontiguousarray(crop)


def _prediction(crop: np.ndarray, label: np.ndarray, box: np.ndarray) -> Prediction:
    """The outputs of a network on a crop; the label's last neuron is with_mask."""
    height, width = crop.shape[:2]
    x0, y0, x1, y1 = (box.astype(float) * [width, height, width, height]).tolist()
    return Prediction(float(label[-1]), (x0, y0, x1, y1))
