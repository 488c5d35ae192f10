"""Measure one experiment by the predictions of its networks."""

import pandas as pd

from facemask.evaluation import metrics
from facemask.io import read_json
from stages.common import MODELS, run_stage, trained_folders
from stages.records import write_evaluation


def evaluate(pipeline: str, name: str) -> None:
    """Write the experiment's metrics, all it is measured by, its history and test predictions."""
    folders = trained_folders(MODELS / name)
    predictions = [pd.read_csv(folder / "predictions.csv") for folder in folders]
    history = pd.read_csv(folders[0] / "history.csv")
    parameters = read_json(folders[0] / "parameters.json")
    measured = metrics.summary(predictions[0], history, parameters)
    measured |= metrics.uncertainty(predictions)
    write_evaluation(pipeline, name, measured, predictions[0], history)


if __name__ == "__main__":
    run_stage(evaluate)
