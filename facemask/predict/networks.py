"""The model that predicts: the one of the package, another file, or a trained network's folder."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from facemask.errors import TRAIN, InputError
from facemask.inference import runtime
from facemask.inference.detect import Detections
from facemask.inference.detect import detect as detect_with
from facemask.io import read_json

CLASSES = ("with_mask", "without_mask")  # of networks that see the crop of one face
CONFIDENCE = 0.3  # from which on a detector that was not exported reports a face


class Settings(NamedTuple):
    """How a model predicts, as of `runtime.detect`; numbers that are None are the model's own."""

    conf: float | None = None
    size: int | None = None
    tiles: int | None = None
    multi_scale: bool = False


class Predictor(NamedTuple):
    """find: from an image, uint8 (h, w, 3), RGB, to its faces; classes: names, by class_id."""

    find: Callable[[np.ndarray], Detections]
    classes: tuple[str, ...]


def load(model: Path | None, how: Settings) -> Predictor:
    """Load a model.

    Args:
        model: an exported file, or the folder of a network; None: the model of the package.
        how: it predicts.

    Raises:
        InputError: there is no such model, its packages are not installed, or it does not support
            a setting.
    """
    try:
        if model is not None and model.is_dir():
            return _of_folder(model, how)
        if model is not None and model.suffix == ".keras":
            raise InputError(f"{model}: give the folder it lies in, {model.parent}")
        detector = runtime.load(runtime.SHIPPED if model is None else model)
    except OSError as error:
        raise InputError(f"{model}: {error.strerror}; give a model that can be read") from None
    find = partial(runtime.detect, **how._asdict(), detector=detector)
    return Predictor(find, detector.classes)


def _of_folder(folder: Path, how: Settings) -> Predictor:
    # A repeat shares the settings of the network, in the folder above.
    found = [each for each in (folder, folder.parent) if (each / "config.json").is_file()]
    if not found or not (folder / "model.keras").is_file():
        raise InputError(
            f"{folder} holds no trained network (config.json, model.keras): give models/NAME, or "
            "an .onnx file"
        )
    # TensorFlow tells of its build and of GPUs that it does not find.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        if "crop_view" in read_json(found[0] / "config.json"):
            return _detector(folder, how)
        return _crop_network(folder, how)
    except InputError:
        raise
    except ModuleNotFoundError as error:
        raise InputError(
            f"{folder} needs TensorFlow and Keras, and {error.name} is not installed: {TRAIN}"
        ) from None
    except Exception as error:  # Keras' own are of many kinds
        raise InputError(
            f"{folder} holds no network that can be loaded: train it again (dvc repro -f)"
        ) from error


def _detector(folder: Path, how: Settings) -> Predictor:
    from facemask.inference import detector

    single, settings = detector.load(folder)
    run = runtime.at_scales(single, how.multi_scale)
    size = settings.size if how.size is None else how.size
    least = CONFIDENCE if how.conf is None else how.conf

    def find(image: np.ndarray) -> Detections:
        return detect_with(run, np.ascontiguousarray(image), size, least, how.tiles)

    return Predictor(find, tuple(settings.classes))


def _crop_network(folder: Path, how: Settings) -> Predictor:
    """A network that takes each image for the crop of one face."""
    if how != Settings(how.conf):
        raise InputError(
            f"{folder} sees the crop of one face as it was trained: leave out --size, --tiles and "
            "--multi-scale"
        )
    from facemask import params
    from facemask.inference import crop

    roots = [each for each in folder.absolute().parents if (each / "params.yaml").is_file()]
    predict = crop.load(folder, params.read(roots[0] if roots else Path()))

    def find(image: np.ndarray) -> Detections:
        probability, box = predict(image)
        return _one_face(probability, box, image.shape, how.conf or 0.0)

    return Predictor(find, CLASSES)


def _one_face(
    probability: float,
    box: tuple[float, float, float, float],
    shape: tuple[int, ...],
    least: float,
) -> Detections:
    """The face of a crop, unless its confidence is too low or its box empty."""
    height, width = shape[:2]
    corners = np.clip(np.array([box], float), 0, [width, height, width, height])
    scores = np.array([[probability, 1 - probability]])
    kept = (scores.max(axis=1) >= least) & (corners[:, 2:] > corners[:, :2]).all(axis=1)
    corners, scores = corners[kept], scores[kept]
    return Detections(corners, scores.max(axis=1, initial=0), scores.argmax(axis=1), scores)
