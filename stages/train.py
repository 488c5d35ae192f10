"""Train one experiment and let its best epoch answer on every sample."""

import shutil

import keras
import numpy as np
import pandas as pd
from dvclive.keras import DVCLiveCallback
from dvclive.live import Live

from facemask.inference.predict import parameters, predict
from facemask.io import read_json, write_csv, write_json
from facemask.training import classifier
from stages.common import Run, run_stage, seed_folders


def train(run: Run, name: str) -> None:
    """Write models/<dataset>/<experiment>: the model, its history and parameters, what it answers.

    Of the first seed DVCLive's curves too; further seeds have a folder each. All figures are made
    of the answers (stages/evaluate.py), which takes neither inputs nor TensorFlow. A run that was
    stopped goes on after the last epoch of the seed it was at.
    """
    experiment = run.experiment(name)
    source = run.data / experiment.inputs
    inputs = np.load(source / "inputs.npy", mmap_mode="r")
    splits = pd.read_csv(run.splits)
    samples = splits[splits["split"] != "unused"]
    size = run.input_size(experiment.inputs)
    about = source / "backbone.json"
    frozen = read_json(about)["params"] if about.exists() else 0
    state = run.resume / "train" / name
    for number, folder in enumerate(seed_folders(run.models / name, experiment.seeds)):
        folder.mkdir(parents=True, exist_ok=True)
        callbacks = []
        if number == 0:
            # Everything else here would edit dvc.yaml or track the same files twice.
            live = Live(str(folder / "live"), dvcyaml=None, save_dvc_exp=False, report=None)
            callbacks = [DVCLiveCallback(live=live)]
        seed = run.params.seed + number
        print(f"{name}: seed {seed} ({number + 1} of {experiment.seeds})")
        file = folder / "model.keras"
        history = classifier.train(
            experiment, inputs, splits, size, seed, file, state / str(seed), callbacks
        )
        write_csv(history, folder / "history.csv")
        model = keras.saving.load_model(file, compile=False)
        write_json(parameters(model, frozen), folder / "parameters.json")
        answers = predict(model, inputs, samples, experiment, size)
        write_csv(answers, folder / "predictions.csv")
    shutil.rmtree(state)


if __name__ == "__main__":
    run_stage(train)
