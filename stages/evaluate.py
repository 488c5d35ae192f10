"""Make the figures of one experiment from what its networks answered."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from facemask.evaluation import calibration, significance
from facemask.evaluation.metrics import measure, summary
from facemask.io import read_json, write_csv, write_json
from stages.common import Run, run_stage, trained_folders

# What stands in the metrics file for several seeds; the others are in statistics.
SPREAD = ("accuracy", "mean_iou", "recall_with_mask", "recall_without_mask")


def evaluate(run: Run, name: str) -> None:
    """Write the experiment's metrics, its predictions of the test samples and their spread."""
    folders = trained_folders(run.models / name)
    answers = [pd.read_csv(folder / "predictions.csv") for folder in folders]
    metrics = summary(
        answers[0],
        pd.read_csv(folders[0] / "history.csv"),
        read_json(folders[0] / "parameters.json"),
        run.params.split.protocol,
    )
    write_figures(run, name, metrics, answers)


def write_figures(
    run: Run, name: str, metrics: dict[str, Any], answers: Sequence[pd.DataFrame]
) -> None:
    """Write metrics, and how sure they are, by the answers of each seed."""
    tested = answers[0][answers[0]["split"] == "test"].drop(columns="split")
    sure: dict[str, Any] = {
        "count": len(answers),
        "intervals": significance.intervals(tested),
        "calibration": calibration.summary(answers[0]),
    }
    if len(answers) > 1:
        sure["seeds"] = significance.spread([measure(each)["test"] for each in answers])
        spread = {figure: sure["seeds"][figure] for figure in SPREAD}
        metrics["seeds"] = {"count": len(answers), **spread}
    write_json(metrics, run.metrics / f"{name}.json")
    write_json(sure, run.metrics / "statistics" / f"{name}.json")
    write_csv(tested.round(6), run.metrics / "predictions" / f"{name}.csv")


if __name__ == "__main__":
    run_stage(evaluate)
