"""Train one experiment and let its best epoch answer on every sample."""

from stages.quick_keras import keras

# isort: split
import shutil

import numpy as np
import pandas as pd
from dvclive.keras import DVCLiveCallback
from dvclive.live import Live

from facemask.config import ResolvedExperiment
from facemask.inference.predict import parameters, predict
from facemask.io import read_json, write_csv, write_json, write_text
from facemask.training import classifier
from facemask.training.space import tuned
from stages.common import DATA, MODELS, STATE, config_file, repeat_folders, run_stage


def train(pipeline: str, name: str, search: str | None = None) -> None:
    """Write models/<name>: the model, its history and parameters, what it answers.

    Args:
        pipeline: whose experiment it is.
        name: of the experiment.
        search: its best values are trained with; the model is then <search>_tuned.

    Of the first repeat DVCLive's curves too; further ones have a folder each. A run that was
    stopped goes on after the last epoch of the repeat it was at.
    """
    experiment = ResolvedExperiment.model_validate_json(config_file(pipeline, name).read_bytes())
    if search:
        experiment = tuned(experiment, read_json(DATA / f"searches/{search}.json"))
        name = f"{search}_tuned"
    source, models, state = DATA / experiment.inputs, MODELS / name, STATE / "train" / name
    inputs = np.load(source / "inputs.npy", mmap_mode="r")
    splits = pd.read_csv(DATA / "splits.csv")
    samples = splits[splits["split"] != "unused"]
    about = source / "backbone.json"
    frozen = read_json(about)["params"] if about.exists() else 0
    for number, folder in enumerate(repeat_folders(models, experiment.repeats)):
        folder.mkdir(parents=True, exist_ok=True)
        callbacks = []
        if number == 0:
            # Everything else here would edit dvc.yaml or track the same files twice.
            live = Live(str(folder / "live"), dvcyaml=None, save_dvc_exp=False, report=None)
            callbacks = [DVCLiveCallback(live=live)]
        seed = experiment.seed + number
        print(f"{name}: seed {seed} ({number + 1} of {experiment.repeats})")
        file, size = folder / "model.keras", experiment.input_size
        history = classifier.train(
            experiment, inputs, splits, size, seed, file, state / str(seed), callbacks
        )
        write_csv(history, folder / "history.csv")
        model = keras.saving.load_model(file, compile=False)
        write_json(parameters(model, frozen), folder / "parameters.json")
        answers = predict(model, inputs, samples, experiment, size)
        write_csv(answers, folder / "predictions.csv")
    write_text(experiment.model_dump_json(indent=2) + "\n", models / "config.json")
    shutil.rmtree(state)


if __name__ == "__main__":
    run_stage(train)
