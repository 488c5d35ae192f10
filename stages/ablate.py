"""Train one row of the ablation; only validation samples are answered."""

import pandas as pd

from facemask.evaluation import metrics
from facemask.io import write_json
from stages.common import Run, run_stage, trained_folders
from stages.localize import train_seeds


def ablate(run: Run, row: str) -> None:
    """Write the models and validation figures of a row; it goes on where it stopped."""
    folder = run.models / "ablation" / row
    train_seeds(run, run.params.ablated(row), folder, ("val",))
    answers = [pd.read_csv(each / "predictions.csv") for each in trained_folders(folder)]
    histories = [pd.read_csv(each / "history.csv") for each in trained_folders(folder)]
    figures = metrics.validated(answers, histories, pd.read_csv(run.splits))
    write_json(figures, run.metrics / "ablation" / f"{row}.json")


if __name__ == "__main__":
    run_stage(ablate)
