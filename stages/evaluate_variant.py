"""Measure one variant of the ablation on validation samples."""

import pandas as pd

from facemask.evaluation.metrics import validated
from facemask.io import write_json
from stages.common import DATA, MODELS, RECORDS, run_stage, trained_folders


def evaluate_variant(name: str) -> None:
    """Write the variant's validation metrics, a value per repeat."""
    folders = trained_folders(MODELS / "ablation" / name)
    predictions = [pd.read_csv(folder / "predictions.csv") for folder in folders]
    histories = [pd.read_csv(folder / "history.csv") for folder in folders]
    measured = validated(predictions, histories, pd.read_csv(DATA / "splits.csv"))
    write_json(measured, RECORDS / f"localizer/ablation/{name}.json")


if __name__ == "__main__":
    run_stage(evaluate_variant)
