"""A trained detector on packed images and on the study's crops: tables of what it finds."""

from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from facemask import cluster
from facemask.columns import CLASSES, CORNERS, SCORE, WITH, true_boxes
from facemask.config.detector import ResolvedDetector
from facemask.errors import InputError
from facemask.inference.detect import Detections, Run, detect, model_input
from facemask.inference.table import table_of
from facemask.models.detector import with_decoding
from facemask.shards import Crops

LEAST = 0.005  # confidence of the detections that are kept: average precision reads them all


def load(folder: Path) -> tuple[Run, ResolvedDetector]:
    """Load a trained detector.

    Args:
        folder: as of `load_model`.

    Returns:
        What `detect` runs, which other processes load from the folder too, and the settings it was
        trained with: size, classes.

    Raises:
        InputError: there is no trained detector in the folder.
    """
    settings = _settings(folder)
    return partial(_run, folder, (folder / "model.keras").stat().st_mtime_ns), settings


def _run(folder: Path, changed: int, image: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    return _loaded(folder, changed)(image, size)


@lru_cache(1)
def _loaded(folder: Path, changed: int) -> Run:
    """Load what a folder holds since it was changed, once in a process."""
    model, settings = load_model(folder)
    return runner(model, settings.quality_power)


def load_model(folder: Path) -> tuple[keras.Model, ResolvedDetector]:
    """Load the network of a trained detector, without decoding, and its settings.

    Args:
        folder: of the detector or of one of its repeats, as its training wrote it.

    Raises:
        InputError: there is no trained detector in the folder.
    """
    settings = _settings(folder)
    return keras.saving.load_model(folder / "model.keras", compile=False), settings


def _settings(folder: Path) -> ResolvedDetector:
    # A repeat shares the settings of the detector, in the folder above.
    found = [each for each in (folder, folder.parent) if (each / "config.json").exists()]
    if not found or not (folder / "model.keras").exists():
        raise InputError(
            f"{folder} holds no trained detector: dvc repro pipelines/detector/dvc.yaml trains one"
        )
    return ResolvedDetector.model_validate_json((found[0] / "config.json").read_bytes())


def runner(model: keras.Model, quality_power: float) -> Run:
    """Return a network of `models.detector` as what `detect` runs."""
    decoded = with_decoding(model, quality_power)

    def run(image: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        inputs, scale = model_input(image, size)
        outputs = decoded.predict_on_batch(inputs[None])
        return outputs["boxes"][0].astype(float) / np.tile(scale, 2), outputs["scores"][0]

    return run


def detect_images(
    run: Run, settings: ResolvedDetector, images: Crops, samples: pd.DataFrame
) -> pd.DataFrame:
    """Find the faces of packed images.

    Args:
        run: a detector with decoding.
        settings: size and classes.
        images: whole, as they are packed.
        samples: rows of the table of `image_faces.whole_images`, with split.

    Returns:
        One row per detection: image, split, x0, y0, x1, y1 (half-open px of the image as it was
        before it was packed), and score_NAME of each class.
    """
    find, tables = partial(_detect, run, images, settings.size), []
    every = cluster.map(find, samples["sample"].tolist(), "detect", "image")
    for row, found in zip(samples.itertuples(), every, strict=True):
        scale = np.array([row.width, row.height]) / images.shapes[row.sample]
        columns: dict[str, object] = {"image": row.image, "split": row.split}
        columns |= dict(zip(CORNERS, (found.xyxy * np.tile(scale, 2)).T.round(2), strict=True))
        columns |= _scores(found, settings.classes)
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def _detect(run: Run, images: Crops, size: int, number: int) -> Detections:
    return detect(run, images[number], size, LEAST)


def _scores(found: Detections, classes: Mapping[str, str]) -> dict[str, np.ndarray]:
    scores = found.scores.astype(float).round(5)
    return {f"{SCORE}{name}": scores[:, number] for number, name in enumerate(classes)}


def strongest(
    run: Run, settings: ResolvedDetector, crops: Crops, samples: pd.DataFrame
) -> pd.DataFrame:
    """Predict the one face of each crop: the detection of the highest confidence.

    Args:
        run: a detector with decoding.
        settings: crop_view and classes.
        crops: in their native aspect.
        samples: rows of the table of `splits.split`.

    Returns:
        The table of `predict.predict`. A crop without any detection has an empty box, and is said
        to be of the minority class with a probability of a half.
    """
    masked = [meaning == WITH for meaning in settings.classes.values()]
    probability, boxes = np.full(len(samples), 0.5), np.zeros((len(samples), 4), np.float32)
    find = partial(_strongest, run, crops, settings.crop_view)
    every = cluster.map(find, samples["sample"].tolist(), "crops", "crop")
    for row, found in enumerate(every):
        if found:
            boxes[row], scores = found
            squares = scores**2  # in the ratio of the classes' probabilities
            probability[row] = squares[masked].sum() / squares.sum()
    actual = np.array(CLASSES)[samples["label"].to_numpy()]
    return table_of(samples, actual, true_boxes(samples), probability, boxes)


def _strongest(
    run: Run, crops: Crops, size: int, number: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return box (rel_xyxy) and scores of the first detection in a crop, if there is one."""
    crop = crops[number]
    found = detect(run, crop, size, 0)
    if not len(found.confidence):
        return None
    return found.xyxy[0] / np.tile(crop.shape[1::-1], 2), found.scores[0]
