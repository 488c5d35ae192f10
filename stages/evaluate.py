"""Make the figures of one experiment from what its networks answered."""

from typing import Any

import pandas as pd

from facemask import evaluation, statistics
from facemask.files import read_json, write_csv, write_json
from stages.common import Run, run_stage, trained_folders

# What stands in the metrics file for several seeds; the others are in statistics.
SPREAD = ("accuracy", "mean_iou", "recall_with_mask", "recall_without_mask")


def evaluate(run: Run, name: str) -> None:
    """Write the experiment's metrics, its predictions of the test samples and their spread."""
    folders = trained_folders(run.models / name)
    answers = [pd.read_csv(folder / "predictions.csv") for folder in folders]
    metrics = evaluation.summary(
        answers[0],
        pd.read_csv(folders[0] / "history.csv"),
        read_json(folders[0] / "parameters.json"),
        run.params.split.protocol,
    )
    tested = answers[0][answers[0]["split"] == "test"].drop(columns="split")
    sure: dict[str, Any] = {"count": len(folders), "intervals": statistics.intervals(tested)}
    if len(folders) > 1:
        sure["seeds"] = statistics.spread([evaluation.measure(each)["test"] for each in answers])
        spread = {figure: sure["seeds"][figure] for figure in SPREAD}
        metrics["seeds"] = {"count": len(folders), **spread}
    write_json(metrics, run.metrics / f"{name}.json")
    write_json(sure, run.metrics / "statistics" / f"{name}.json")
    write_csv(tested.round(6), run.metrics / "predictions" / f"{name}.csv")


if __name__ == "__main__":
    run_stage(evaluate)
