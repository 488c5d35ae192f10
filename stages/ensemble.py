"""Let several trained networks answer as one, and make its figures."""

import pandas as pd

from facemask.evaluation import calibration
from facemask.evaluation.metrics import measure
from facemask.inference.ensemble import fuse
from facemask.io import read_json, write_csv
from stages.common import Run, run_stage, trained_folders
from stages.evaluate import write_figures


def ensemble(run: Run, name: str) -> None:
    """Write the metrics of an ensemble: its members are the networks of all their seeds."""
    members = run.params.ensembles[name].members
    folders = [folder for member in members for folder in trained_folders(run.models / member)]
    told = [pd.read_csv(folder / "predictions.csv") for folder in folders]
    divisors = [calibration.temperature(table[table["split"] == "val"]) for table in told]
    answers = fuse(told, divisors)
    parameters = [read_json(folder / "parameters.json") for folder in folders]
    histories = [pd.read_csv(folder / "history.csv") for folder in folders]
    metrics = {
        **measure(answers),
        "params": {key: sum(each[key] for each in parameters) for key in parameters[0]},
        "networks": len(folders),
        "train_seconds": round(float(pd.concat(histories)["seconds"].sum()), 1),
        "protocol": run.params.split.protocol,
    }
    write_csv(answers, run.models / name / "predictions.csv")
    write_figures(run, name, metrics, [answers])


if __name__ == "__main__":
    run_stage(ensemble)
