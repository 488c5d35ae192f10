"""Measure one trained experiment on training, validation and test samples."""

import keras
import numpy as np
import pandas as pd

from facemask import evaluation, statistics
from facemask.config import Experiment
from stages.common import Run, read_json, run_stage, seed_folders, write_csv, write_json

# What stands in the metrics file for several seeds; the others are in statistics.
SPREAD = ("accuracy", "mean_iou", "recall_with_mask", "recall_without_mask")


def evaluate(run: Run, name: str) -> None:
    """Write the experiment's metrics, its predictions of the test samples and their spread."""
    experiment = run.experiment(name)
    folders = seed_folders(run.models / name, experiment.seeds)
    models = [keras.saving.load_model(at / "model.keras", compile=False) for at in folders]
    answers = [predict(run, experiment, model) for model in models]
    about = run.data / experiment.inputs / "backbone.json"
    metrics = evaluation.summary(
        answers[0],
        pd.read_csv(folders[0] / "history.csv"),
        total=models[0].count_params() + (read_json(about)["params"] if about.exists() else 0),
        trainable=sum(int(np.prod(weight.shape)) for weight in models[0].trainable_weights),
        protocol=run.params.split.protocol,
    )
    tested = answers[0][answers[0]["split"] == "test"].drop(columns="split")
    sure = {"count": experiment.seeds, "intervals": statistics.intervals(tested)}
    if experiment.seeds > 1:
        sure["seeds"] = statistics.spread([evaluation.measure(each)["test"] for each in answers])
        spread = {figure: sure["seeds"][figure] for figure in SPREAD}
        metrics["seeds"] = {"count": experiment.seeds, **spread}
    write_json(metrics, run.metrics / f"{name}.json")
    write_json(sure, run.metrics / "statistics" / f"{name}.json")
    write_csv(tested.round(6), run.metrics / "predictions" / f"{name}.csv")


def predict(run: Run, experiment: Experiment, model: keras.Model) -> pd.DataFrame:
    """Return the model's answers on all samples in use."""
    splits = pd.read_csv(run.splits)
    return evaluation.predict(
        model,
        np.load(run.data / experiment.inputs / "inputs.npy", mmap_mode="r"),
        splits[splits["split"] != "unused"],
        experiment,
        run.input_size(experiment.inputs),
    )


if __name__ == "__main__":
    run_stage(evaluate)
