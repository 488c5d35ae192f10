"""Measure one detector by its detections, on validation and test images."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from facemask.evaluation import detection_metrics
from facemask.io import read_json, write_csv, write_json
from stages.common import DATA, DETECTIONS, METRICS, MODELS, RECORDS, run_stage

KEPT = RECORDS / "detector"


def evaluate(name: str) -> None:
    """Write the metrics of a detector at its own size, and at two."""
    history = pd.read_csv(MODELS / name / "history.csv")
    write_csv(history, KEPT / f"history/{name}.csv")
    about = {
        "params": read_json(MODELS / name / "parameters.json"),
        "epochs": len(history),
        "train_seconds": round(float(history["seconds"].sum()), 1),
    }
    classes = read_json(MODELS / name / "config.json")["classes"]
    found = DETECTIONS / name
    measure(name, found, classes, about)
    measure(detection_metrics.MULTI_SCALE.format(name), found / "multi_scale", classes, about)


def measure(
    name: str, found: Path, classes: Mapping[str, str], about: Mapping[str, object]
) -> None:
    """Write what DVC shows of the detections in a folder, and the records that are pooled."""
    threshold, (val, test) = detection_metrics.at_best_threshold(
        pd.read_csv(DATA / "image_faces.csv"),
        pd.read_csv(found / "detections.csv").drop(columns="split"),
        pd.read_csv(DATA / "whole_images.csv").set_index("image")["split"],
        classes,
        "val",
        "test",
    )
    matched = detection_metrics.match(test, classes)
    crops = pd.read_csv(found / "crops.csv").query("split == 'test'").drop(columns="split")
    statistics = {
        "classes": classes,
        "confidence": threshold,
        "val": detection_metrics.measure(detection_metrics.match(val, classes)),
        "test": detection_metrics.measure(matched),
        "intervals": detection_metrics.intervals(matched),
        "test_images": test.images,
        "crops": detection_metrics.of_crops(crops[crops["flip"] == 0]),
        **about,
    }
    write_json(detection_metrics.headline(statistics), METRICS / f"{name}.json")
    write_json(statistics, KEPT / f"statistics/{name}.json")
    curves = detection_metrics.curves(matched, name).round(6)
    write_csv(curves, KEPT / f"curves/{name}.csv")
    write_csv(crops.round(6), KEPT / f"predictions/{name}.csv")
    write_csv(test.faces.drop(columns="threshold"), KEPT / f"faces/{name}.csv")
    write_csv(detection_metrics.kept(test.detections), KEPT / f"detections/{name}.csv")


if __name__ == "__main__":
    run_stage(evaluate)
