"""Train one experiment and predict with its best epoch on every sample."""

from stages.keras_import import keras

# isort: split
import shutil
from pathlib import Path

import pandas as pd
from dvclive.keras import DVCLiveCallback
from dvclive.live import Live

from facemask.config.training import ResolvedExperiment
from facemask.data.arrays import Shards
from facemask.inference.predict import predict
from facemask.io import read_json, write_json, write_text
from facemask.resolve import with_values
from facemask.training import classifier
from facemask.training.loop import parameters
from stages.common import DATA, MODELS, STATE, config_file, run_stage
from stages.repeats import repeats, write_repeat


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
    inputs = Shards(source)
    splits = pd.read_csv(DATA / "splits.csv")
    samples = splits[splits["split"] != "unused"]
    backbone = read_json(source / "backbone.json") if (source / "backbone.json").exists() else {}
    for repeat, folder in repeats(experiment, models):
        callbacks = [live(folder)] if folder == models else []
        file = folder / "model.keras"
        history = classifier.train(
            repeat, inputs, splits, file, state / str(repeat.seed), callbacks
        )
        model = keras.saving.load_model(file, compile=False)
        predictions = predict(model, inputs, samples, repeat)
        write_repeat(folder, history, parameters(model, backbone.get("params", 0)), predictions)
    write_text(experiment.model_dump_json(indent=2) + "\n", models / "config.json")
    if backbone:
        write_json(backbone, models / "backbone.json")
    shutil.rmtree(state)


def live(folder: Path) -> DVCLiveCallback:
    """Return a callback that writes DVCLive's curves beside the model."""
    # Everything else here would edit dvc.yaml or track the same files twice.
    log = Live(str(folder / "live"), dvcyaml=None, save_dvc_exp=False, report=None)
    return DVCLiveCallback(live=log)


if __name__ == "__main__":
    run_stage(train)
