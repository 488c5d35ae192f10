"""Train one detector on whole images."""

from stages.keras_import import keras

# isort: split
import shutil

import pandas as pd

from facemask.config.detector import ResolvedDetector
from facemask.data.arrays import Crops
from facemask.data.image_faces import faces_of
from facemask.io import write_csv, write_json, write_text
from facemask.training import detector
from facemask.training.loop import parameters
from facemask.training.scenes import Scenes
from stages.common import DATA, MODELS, STATE, config_file, detector_folder, run_stage
from stages.repeats import repeats


def train_detector(pipeline: str, name: str) -> None:
    """Write models/<name>: the network, its history and its parameters, of each repeat.

    A run that was stopped goes on from the last state of the repeat it was at. A variant of the
    ablation, of the pipeline detector_ablation, lies in a folder of that name.
    """
    settings = ResolvedDetector.model_validate_json(config_file(pipeline, name).read_bytes())
    images, samples = Crops(DATA / "whole_images"), pd.read_csv(DATA / "whole_images.csv")
    annotated = pd.read_csv(DATA / "image_faces.csv")
    faces = faces_of(samples, annotated, list(settings.classes), images.shapes)
    scenes = Scenes(images, faces)
    models, state = detector_folder(MODELS, pipeline, name), STATE / pipeline / name
    for repeat, folder in repeats(settings, models):
        file = folder / "model.keras"
        history = detector.train(repeat, scenes, samples, file, state / str(repeat.seed))
        write_csv(history, folder / "history.csv")
        model = keras.saving.load_model(file, compile=False)
        write_json(parameters(model, 0), folder / "parameters.json")
    write_text(settings.model_dump_json(indent=2) + "\n", models / "config.json")
    shutil.rmtree(state)


if __name__ == "__main__":
    run_stage(train_detector)
