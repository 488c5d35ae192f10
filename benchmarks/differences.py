"""By how much does a training differ on another number of threads, or other products of matrices?

python -m benchmarks.differences, after `dvc repro resolve split pack embed`: on the dataset of
params.yaml. Ten minutes. Each training runs in a process of its own.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from benchmarks.common import report, study
from facemask import params
from facemask.evaluation import metrics
from facemask.inference.predict import predict
from facemask.training import classifier

NAMES = ("scratch_2", "mobilenet_1")
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
WITHOUT = {"TF_ENABLE_ONEDNN_OPTS": "0"}
METRICS = {
    "accuracy": "accuracy",
    "majority baseline": "majority_accuracy",
    "recall with mask": "recall_with_mask",
    "recall without": "recall_without_mask",
    "IoU": "mean_iou",
}
SETTINGS = {
    "as it is": {},
    "as it is, again": {},
    "one thread": ONE_THREAD,
    "without oneDNN": WITHOUT,
    "without oneDNN, one thread": WITHOUT | ONE_THREAD,
}


def train(name: str, folder: Path) -> None:
    """Train an experiment; write its predictions and weights."""
    experiment, inputs, splits = study(name)
    file = folder / "model.keras"
    classifier.train(experiment, inputs, splits, file, folder / "state")
    model = keras.saving.load_model(file, compile=False)
    np.save(folder / "weights.npy", np.concatenate([w.ravel() for w in model.get_weights()]))
    samples = splits[splits["split"] != "unused"]
    predictions = predict(model, inputs, samples, experiment)
    predictions.to_csv(folder / "predictions.csv", index=False)


def compare(name: str, setting: str, folder: Path, base: Path) -> dict[str, object]:
    """Return a row of the table: one training beside that of the first setting."""
    weights, others = (np.load(each / "weights.npy") for each in (folder, base))
    mine, theirs = (pd.read_csv(each / "predictions.csv") for each in (folder, base))
    tested = mine["split"] == "test"
    measured = metrics.measure(mine)["test"]
    changed = (mine["predicted"] != theirs["predicted"])[tested].sum()
    return {
        "experiment": name,
        "setting": setting,
        "same weights": "yes" if np.array_equal(weights, others) else "no",
        "largest difference of a weight": float(np.abs(weights - others).max()),
        "test predictions that differ": f"{changed} of {tested.sum()}",
        **{name: f"{100 * measured[metric]:.2f} %" for name, metric in METRICS.items()},
    }


def main() -> None:
    """Measure."""
    if len(sys.argv) == 3:
        train(sys.argv[1], Path(sys.argv[2]))
        return
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in NAMES:
            folders = {each: Path(temporary, name, each) for each in SETTINGS}
            for setting, folder in folders.items():
                folder.mkdir(parents=True)
                subprocess.run(
                    [sys.executable, "-m", "benchmarks.differences", name, str(folder)],
                    env=os.environ | SETTINGS[setting],
                    check=True,
                    stdout=subprocess.DEVNULL,
                )
                rows.append(compare(name, setting, folder, folders["as it is"]))
    config = params.read()
    report("differences", rows, dataset=config.dataset, seed=config.seed)


if __name__ == "__main__":
    main()
