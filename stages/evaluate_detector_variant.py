"""Measure a variant of a detector on validation images, each repeat for itself."""

import pandas as pd

from facemask.evaluation import detection_metrics
from facemask.io import read_json, write_json
from stages.common import DATA, DETECTIONS, MODELS, RECORDS, run_stage, trained_folders

PIPELINE = "detector_ablation"


def evaluate(name: str) -> None:
    """Write validation metrics and seconds of training, a value per repeat."""
    models = MODELS / PIPELINE / name
    classes = read_json(models / "config.json")["classes"]
    faces = pd.read_csv(DATA / "image_faces.csv")
    split = pd.read_csv(DATA / "whole_images.csv").set_index("image")["split"]
    measured, seconds = [], []
    for folder in trained_folders(models):
        found = DETECTIONS / PIPELINE / name / folder.relative_to(models) / "detections.csv"
        detections = pd.read_csv(found).drop(columns="split")
        _, (val,) = detection_metrics.at_best_threshold(faces, detections, split, classes, "val")
        measured.append(detection_metrics.measure(detection_metrics.match(val, classes)))
        seconds.append(round(float(pd.read_csv(folder / "history.csv")["seconds"].sum()), 1))
    statistics = {"val": measured, "train_seconds": seconds}
    write_json(statistics, RECORDS / f"{PIPELINE}/{name}.json")


if __name__ == "__main__":
    run_stage(evaluate)
