"""Train one experiment."""

import numpy as np
import pandas as pd
from dvclive import Live
from dvclive.keras import DVCLiveCallback

from facemask import training
from stages.common import Run, run_stage, write_csv


def train(run: Run, name: str) -> None:
    """Write models/<dataset>/<experiment>: model.keras, history.csv and DVCLive's curves."""
    experiment = run.params.experiments[name]
    folder = run.models / name
    folder.mkdir(parents=True, exist_ok=True)
    # Everything else here would edit dvc.yaml or track the same files twice.
    live = Live(str(folder / "live"), dvcyaml=None, save_dvc_exp=False, report=None)
    history = training.train(
        experiment,
        inputs=np.load(run.data / experiment.inputs / "inputs.npy", mmap_mode="r"),
        splits=pd.read_csv(run.splits),
        size=run.input_size(experiment.inputs),
        seed=run.params.seed,
        checkpoint=folder / "model.keras",
        callbacks=[DVCLiveCallback(live=live)],
    )
    write_csv(history, folder / "history.csv")


if __name__ == "__main__":
    run_stage(train)
