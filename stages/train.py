"""Train one experiment and predict with its best epoch on every sample."""

from stages.keras_import import keras

# isort: split
import shutil
from functools import partial
from pathlib import Path

import pandas as pd

from facemask.config.training import ResolvedExperiment
from facemask.inference.predict import predict
from facemask.io import read_json, write_json, write_text
from facemask.resolve import with_values
from facemask.shards import Shards
from facemask.training import classifier
from facemask.training.loop import parameters
from stages.common import DATA, MODELS, STATE, config_file, run_stage
from stages.live import live
from stages.repeats import train_repeats, write_repeat


def train(pipeline: str, name: str, search: str | None = None) -> None:
    """Write models/<name>: the model, its history, parameters and predictions.

    Args:
        pipeline: whose experiment it is.
        name: of the experiment.
        search: its best values are trained with; the model is then <search>_tuned.

    Of the first repeat DVCLive's curves too; further ones have a folder each. A run that was
    stopped goes on from the last state of the repeat it was at.
    """
    experiment = ResolvedExperiment.model_validate_json(config_file(pipeline, name).read_bytes())
    if search:
        experiment = with_values(experiment, read_json(DATA / f"searches/{search}.json"))
        name = f"{search}_tuned"
    source, models, state = DATA / experiment.inputs, MODELS / name, STATE / "train" / name
    about = source / "backbone.json"
    backbone = read_json(about) if about.exists() else {}
    frozen = backbone.get("params", 0)
    train_repeats(partial(train_one, Shards(source), frozen, models, state), experiment, models)
    write_text(experiment.model_dump_json(indent=2) + "\n", models / "config.json")
    if backbone:
        write_json(backbone, models / "backbone.json")
    shutil.rmtree(state)


def train_one(
    inputs: Shards, frozen: int, models: Path, state: Path, repeat: tuple[ResolvedExperiment, Path]
) -> None:
    """Train one repeat on crops or features; `frozen` are parameters of their backbone."""
    experiment, folder = repeat
    splits = pd.read_csv(DATA / "splits.csv")
    callbacks, file = [live(folder)] if folder == models else [], folder / "model.keras"
    history = classifier.train(
        experiment, inputs, splits, file, state / str(experiment.seed), callbacks
    )
    model = keras.saving.load_model(file, compile=False)
    predictions = predict(model, inputs, splits[splits["split"] != "unused"], experiment)
    write_repeat(folder, history, parameters(model, frozen), predictions)


if __name__ == "__main__":
    run_stage(train)
