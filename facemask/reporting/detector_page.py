"""The page of a detector: its metrics, where it fails, and how it was trained.

Metrics are fractions 0..1 in records and per cent in the rendered text, whose words are in
templates/detector.md.j2.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from facemask.columns import WITH, WITHOUT
from facemask.evaluation.detection import MISSED, size_names
from facemask.reporting import tables
from facemask.reporting.tables import interval, percent

Metrics = Mapping[str, Any]

GROUPINGS = {
    "two_classes": "two classes",
    "classes": "classes as annotated",
    "face": "face, whatever the class",
}
THRESHOLD = {
    "recall_face": "faces found, whatever the class",
    "recall_with_mask": "recall with mask",
    "recall_without_mask": "recall without mask",
    "recall_without_mask_16px": "recall without mask, 16 px and more",
}
ERRORS = {  # of TIDE
    "cls": "found, wrong class",
    "loc": "box too far off",
    "both": "both",
    "dupe": "found twice",
    "bkg": "no annotated face",
    "miss": "missed",
}


def render(
    *, name: str, dataset: str, split: str, measured: Metrics, plots: Mapping[str, str]
) -> str:
    """Return the page.

    Args:
        name: of the detector.
        dataset, split: what it is of.
        measured: its statistics file.
        plots: curves, crowds, tiny, missed, false_alarms, augmentation: the paths from the page.
    """
    test = measured["test"]
    return tables.render(
        "detector",
        name=name,
        dataset=dataset,
        split=split,
        measured=measured,
        test=test,
        minutes=measured["train_seconds"] / 60,
        precision=precision(measured),
        by_size=by_size(test),
        threshold=threshold(measured),
        confusion=confusion(test["threshold"]["confusion"]),
        errors=errors(test["errors"]),
        plots=plots,
    )


def precision(measured: Metrics) -> pd.DataFrame:
    """Return average precisions of all groupings and classes, with intervals."""
    rows = []
    for key, title in GROUPINGS.items():
        found = measured["intervals"][key]
        rows.append((f"**{title}**", interval(found["ap50"]), interval(found["ap"])))
        classes = measured["test"][key]["by_class"]
        for name in classes if len(classes) > 1 else ():
            of_class = interval(found[f"ap50_{name}"]), percent(classes[name]["ap"])
            rows.append((name.replace("_", " "), *of_class))
    return pd.DataFrame(rows, columns=["", "AP@.5", "AP@.5:.95"])


def by_size(test: Metrics) -> pd.DataFrame:
    """Return precisions and recalls by the size of faces."""
    rows = []
    for size in size_names():
        recalls = (percent(test["threshold"]["by_size"][each][size]) for each in (WITH, WITHOUT))
        precisions = (percent(test[key]["by_size"][size]) for key in ("two_classes", "face"))
        rows.append((size, *precisions, *recalls))
    headers = ["size", "AP@.5, two classes", "AP@.5, face", "recall with", "recall without"]
    return pd.DataFrame(rows, columns=headers)


def threshold(measured: Metrics) -> pd.DataFrame:
    """Return recalls and precisions at the threshold."""
    found = measured["intervals"]["threshold"]
    rows = [(title, interval(found[key])) for key, title in THRESHOLD.items()]
    for label in (WITH, WITHOUT):
        value = percent(measured["test"]["threshold"][f"precision_{label}"])
        rows.append((f"precision {label.replace('_', ' ')}", value))
    return pd.DataFrame(rows, columns=["", "%"])


def confusion(counts: Mapping[str, Mapping[str, int]]) -> pd.DataFrame:
    """Return what annotated faces were predicted as, and of what class the false alarms are."""
    rows = [
        (name.replace("_", " "), *(counts[name].get(each, "") for each in (WITH, WITHOUT, MISSED)))
        for name in (WITH, WITHOUT, "false_alarm")
    ]
    return pd.DataFrame(rows, columns=["annotated", "as with mask", "as without mask", "missed"])


def errors(gains: Mapping[str, float]) -> pd.DataFrame:
    """Return the points of AP@.5 that each kind of error costs."""
    rows = [(title, f"{100 * gains[key]:.2f}") for key, title in ERRORS.items()]
    return pd.DataFrame(rows, columns=["kind of error", "points of AP@.5 without it"])
