"""Train one detector on whole images."""

from stages.keras_import import keras

# isort: split
import shutil
from functools import partial
from pathlib import Path

import pandas as pd

from facemask.config.detector import ResolvedDetector
from facemask.data.image_faces import faces_of
from facemask.io import write_csv, write_json, write_text
from facemask.shards import Crops
from facemask.training import detector
from facemask.training.loop import parameters
from facemask.training.scenes import Scenes
from stages.common import DATA, MODELS, STATE, config_file, detector_folder, run_stage
from stages.repeats import train_repeats


def train_detector(pipeline: str, name: str) -> None:
    """Write models/<name>: the network, its history and its parameters, of each repeat.

    A run that was stopped goes on from the last state of the repeat it was at. A variant of the
    ablation, of the pipeline detector_ablation, lies in a folder of that name.
    """
    settings = ResolvedDetector.model_validate_json(config_file(pipeline, name).read_bytes())
    models, state = detector_folder(MODELS, pipeline, name), STATE / pipeline / name
    train_repeats(partial(train_one, state), settings, models)
    write_text(settings.model_dump_json(indent=2) + "\n", models / "config.json")
    shutil.rmtree(state)


def train_one(state: Path, repeat: tuple[ResolvedDetector, Path]) -> None:
    """Train one repeat."""
    settings, folder = repeat
    images, samples = Crops(DATA / "whole_images"), pd.read_csv(DATA / "whole_images.csv")
    annotated = pd.read_csv(DATA / "image_faces.csv")
    faces = faces_of(samples, annotated, list(settings.classes), images.shapes)
    file = folder / "model.keras"
    history = detector.train(
        settings, Scenes(images, faces), samples, file, state / str(settings.seed)
    )
    write_csv(history, folder / "history.csv")
    model = keras.saving.load_model(file, compile=False)
    write_json(parameters(model, 0), folder / "parameters.json")


if __name__ == "__main__":
    run_stage(train_detector)
