"""Merge the predictions of several trained networks, and measure the result."""

import pandas as pd

from facemask import params
from facemask.evaluation import calibration, metrics
from facemask.inference.ensemble import fuse
from facemask.io import read_json, write_csv
from stages.common import MODELS, run_stage, trained_folders
from stages.records import write_evaluation


def ensemble(name: str) -> None:
    """Write the metrics of an ensemble: its members are the networks of all their repeats."""
    members = params.read().ensembles[name].members
    folders = [folder for member in members for folder in trained_folders(MODELS / member)]
    fused = fuse([calibrated(pd.read_csv(folder / "predictions.csv")) for folder in folders])
    parameters = [read_json(folder / "parameters.json") for folder in folders]
    histories = [pd.read_csv(folder / "history.csv") for folder in folders]
    measured = {
        **metrics.measure(fused),
        "params": {key: sum(each[key] for each in parameters) for key in parameters[0]},
        "networks": len(folders),
        "train_seconds": round(float(pd.concat(histories)["seconds"].sum()), 1),
        **metrics.uncertainty([fused]),
    }
    write_csv(fused, MODELS / name / "predictions.csv")
    write_evaluation("localizer", name, measured, fused)


def calibrated(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return predictions with the temperature of their validation samples."""
    temperature = calibration.temperature(predictions[predictions["split"] == "val"])
    return calibration.calibrated(predictions, temperature)


if __name__ == "__main__":
    run_stage(ensemble)
