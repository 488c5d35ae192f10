"""Train one experiment."""

import numpy as np
import pandas as pd
from dvclive import Live
from dvclive.keras import DVCLiveCallback

from facemask import training
from stages.common import Run, run_stage, seed_folders, write_csv


def train(run: Run, name: str) -> None:
    """Write models/<dataset>/<experiment>: model.keras, history.csv and DVCLive's curves.

    Of further seeds model.keras and history.csv alone, in a folder each.
    """
    experiment = run.experiment(name)
    inputs = np.load(run.data / experiment.inputs / "inputs.npy", mmap_mode="r")
    splits = pd.read_csv(run.splits)
    size = run.input_size(experiment.inputs)
    for number, folder in enumerate(seed_folders(run.models / name, experiment.seeds)):
        folder.mkdir(parents=True, exist_ok=True)
        callbacks = []
        if number == 0:
            # Everything else here would edit dvc.yaml or track the same files twice.
            live = Live(str(folder / "live"), dvcyaml=None, save_dvc_exp=False, report=None)
            callbacks = [DVCLiveCallback(live=live)]
        seed = run.params.seed + number
        print(f"{name}: seed {seed} ({number + 1} of {experiment.seeds})")
        history = training.train(
            experiment, inputs, splits, size, seed, folder / "model.keras", callbacks
        )
        write_csv(history, folder / "history.csv")


if __name__ == "__main__":
    run_stage(train)
