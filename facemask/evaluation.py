"""The figures of a trained network, made of what it answered on every sample."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from sklearn.metrics import accuracy_score, balanced_accuracy_score, recall_score

from facemask.statistics import WITH, WITHOUT


def measure(predictions: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return the figures of each split.

    Args:
        predictions: the table of `prediction.predict`, with training, validation and test samples.

    Returns:
        train and val: accuracy and mean_iou; test: these, iou_50 (share of boxes with IoU ≥ 0.5),
        the recall of each class, their mean (balanced_accuracy), and majority_accuracy: what
        answering the training samples' commonest class would score. Shares in [0, 1].
    """
    parts = dict(iter(predictions.groupby("split")))
    test = parts["test"]
    figures = {name: _core(parts[name]) for name in ("train", "val", "test")}
    recalls = recall_score(
        test["actual"], test["predicted"], labels=[WITHOUT, WITH], average=None, zero_division=0
    )
    figures["test"] |= {
        "iou_50": float((test["iou"] >= 0.5).mean()),
        "recall_with_mask": float(recalls[1]),
        "recall_without_mask": float(recalls[0]),
        "balanced_accuracy": float(balanced_accuracy_score(test["actual"], test["predicted"])),
        "majority_accuracy": float((test["actual"] == parts["train"]["actual"].mode()[0]).mean()),
    }
    return figures


def summary(
    predictions: pd.DataFrame,
    history: pd.DataFrame,
    parameters: Mapping[str, int],
    protocol: str,
) -> dict[str, Any]:
    """Return the metrics file of one experiment.

    Args:
        predictions: the table of `prediction.predict`.
        history: the table of `training.train`.
        parameters: total and trainable.
        protocol: report or grouped.
    """
    return {
        **measure(predictions),
        "params": dict(parameters),
        "epochs": len(history),
        "best_epoch": int(history.loc[history["val_loss"].idxmin(), "epoch"]),
        "train_seconds": round(float(history["seconds"].sum()), 1),
        "protocol": protocol,
    }


def _core(part: pd.DataFrame) -> dict[str, float]:
    return {
        "accuracy": float(accuracy_score(part["actual"], part["predicted"])),
        "mean_iou": float(part["iou"].mean()),
    }
