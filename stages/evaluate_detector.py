"""Measure one detector by its detections, on validation and test images."""

from pathlib import Path

import pandas as pd

from facemask.config.detector import ResolvedDetector
from facemask.evaluation import bootstrap, detection, detection_metrics
from facemask.io import read_json, write_csv, write_json
from stages.common import (
    DATA,
    DETECTIONS,
    METRICS,
    MODELS,
    RECORDS,
    detector_folder,
    run_stage,
    trained_folders,
)

KEPT = RECORDS / "detector"

Tables = tuple[pd.DataFrame, pd.DataFrame, list[str]]  # faces, detections, names of the images


def evaluate(pipeline: str, name: str) -> None:
    """Write what DVC shows of a detector, and the records that pages and pooled folds are made of.

    Of a variant of the ablation only the validation metrics, of each repeat.
    """
    models, found = (detector_folder(root, pipeline, name) for root in (MODELS, DETECTIONS))
    settings = ResolvedDetector.model_validate_json((models / "config.json").read_bytes())
    if pipeline == "detector_ablation":
        write_variant(name, models, found, settings)
        return
    threshold, (val, test) = chosen(found, settings, ["val", "test"])
    history = pd.read_csv(models / "history.csv")
    crops = pd.read_csv(found / "crops.csv").query("split == 'test'").drop(columns="split")
    statistics = {
        "classes": settings.classes,
        "confidence": threshold,
        "val": detection_metrics.measure(*val, settings.classes),
        "test": detection_metrics.measure(*test, settings.classes),
        "intervals": detection_metrics.intervals(*test, settings.classes),
        "test_images": test[2],
        "crops": of_crops(crops[crops["flip"] == 0]),
        "params": read_json(models / "parameters.json"),
        "epochs": len(history),
        "train_seconds": round(float(history["seconds"].sum()), 1),
    }
    write_json(detection_metrics.headline(statistics), METRICS / f"{name}.json")
    write_json(statistics, KEPT / f"statistics/{name}.json")
    write_csv(history, KEPT / f"history/{name}.csv")
    write_csv(crops.round(6), KEPT / f"predictions/{name}.csv")
    faces, detections, _ = test
    write_csv(faces.drop(columns="threshold"), KEPT / f"faces/{name}.csv")
    write_csv(detection_metrics.kept(detections), KEPT / f"detections/{name}.csv")


def of_crops(crops: pd.DataFrame) -> dict[str, float]:
    """Return the metrics of predictions on crops, and the accuracy of the commonest class alone."""
    majority = float(crops["actual"].value_counts(normalize=True).iloc[0])
    return bootstrap.metrics_of(crops) | {"majority_accuracy": majority}


def write_variant(name: str, models: Path, detections: Path, settings: ResolvedDetector) -> None:
    """Write the validation metrics of a variant, a value per repeat."""
    measured, seconds = [], []
    for folder in trained_folders(models):
        found = detections / folder.relative_to(models)
        _, (val,) = chosen(found, settings, ["val"])
        measured.append(detection_metrics.measure(*val, settings.classes))
        seconds.append(round(float(pd.read_csv(folder / "history.csv")["seconds"].sum()), 1))
    write_json(
        {"val": measured, "train_seconds": seconds}, RECORDS / f"detector_ablation/{name}.json"
    )


def chosen(found: Path, settings: ResolvedDetector, parts: list[str]) -> tuple[float, list[Tables]]:
    """Return the confidence that is best on validation images, and what was found in each part."""
    split = pd.read_csv(DATA / "whole_images.csv").set_index("image")["split"]
    faces = detection.annotated(pd.read_csv(DATA / "annotations.csv"))
    detections = pd.read_csv(found / "detections.csv").drop(columns="split")

    def tables(part: str) -> Tables:
        names = list(split.index[split == part])
        both = (table[table["image"].isin(names)] for table in (faces, detections))
        one, other = (table.reset_index(drop=True) for table in both)
        return one, other, names

    faces_val, found_val, _ = tables("val")
    threshold = detection.best_threshold(*detection.matches(faces_val, found_val, settings.classes))
    every = [tables(part) for part in parts]
    return threshold, [
        (one.assign(threshold=threshold), other.assign(threshold=threshold), names)
        for one, other, names in every
    ]


if __name__ == "__main__":
    run_stage(evaluate)
