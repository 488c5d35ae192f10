"""Measure one trained experiment on training, validation and test samples."""

import keras
import numpy as np
import pandas as pd

from facemask import evaluation
from stages.common import Run, read_json, run_stage, write_csv, write_json


def evaluate(run: Run, name: str) -> None:
    """Write the experiment's metrics and its predictions of the test samples."""
    experiment = run.params.experiments[name]
    inputs = run.data / experiment.inputs
    splits = pd.read_csv(run.splits)
    model = keras.saving.load_model(run.models / name / "model.keras", compile=False)
    predictions = evaluation.predict(
        model,
        np.load(inputs / "inputs.npy", mmap_mode="r"),
        splits[splits["split"] != "unused"],
        experiment,
        run.input_size(experiment.inputs),
    )
    frozen = 0
    if experiment.backbone:
        frozen = read_json(inputs / "backbone.json")["params"]
    metrics = evaluation.summary(
        predictions,
        pd.read_csv(run.models / name / "history.csv"),
        total=model.count_params() + frozen,
        trainable=sum(int(np.prod(weight.shape)) for weight in model.trainable_weights),
        protocol=run.params.split.protocol,
    )
    write_json(metrics, run.metrics / f"{name}.json")
    tested = predictions[predictions["split"] == "test"].drop(columns="split")
    write_csv(tested.round(6), run.metrics / "predictions" / f"{name}.csv")


if __name__ == "__main__":
    run_stage(evaluate)
