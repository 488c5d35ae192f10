"""The figures of a trained network, made of what it answered on every sample."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from sklearn.metrics import accuracy_score, balanced_accuracy_score, recall_score

from facemask.schema import WITH, WITHOUT


def measure(predictions: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return the figures of each split.

    Args:
        predictions: the table of `predict.predict`, with training, validation and test samples.

    Returns:
        train: accuracy and mean_iou; val and test: these, iou_50 (share of boxes with IoU ≥ 0.5),
        the recall of each class, their mean (balanced_accuracy), and majority_accuracy: what
        answering the training samples' commonest class would score. Shares in [0, 1].
    """
    parts = dict(iter(predictions.groupby("split")))
    majority = parts["train"]["actual"].mode()[0]
    return {
        "train": _core(parts["train"]),
        **{name: _all(parts[name], majority) for name in ("val", "test") if name in parts},
    }


def validated(
    answers: Sequence[pd.DataFrame], histories: Sequence[pd.DataFrame], splits: pd.DataFrame
) -> dict[str, Any]:
    """Return the figures that decisions may go by: of validation samples, a value a seed.

    Args:
        answers: of each seed the table of `predict.predict`, of validation samples alone.
        histories: of each seed the table of `classifier.train`.
        splits: the table of `split`, for the training samples' commonest class.

    Returns:
        val: the figures of `measure`, each a list; train_seconds, a list.
    """
    commonest = splits.loc[splits["split"] == "train", "label"].mode()[0]
    measured = [_all(table, (WITHOUT, WITH)[commonest]) for table in answers]
    return {
        "val": pd.DataFrame(measured).to_dict("list"),
        "train_seconds": [round(float(table["seconds"].sum()), 1) for table in histories],
    }


def summary(
    predictions: pd.DataFrame,
    history: pd.DataFrame,
    parameters: Mapping[str, int],
    protocol: str,
) -> dict[str, Any]:
    """Return the metrics file of one experiment.

    Args:
        predictions: the table of `predict.predict`.
        history: the table of `classifier.train`.
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


def _all(part: pd.DataFrame, majority: str) -> dict[str, float]:
    actual, predicted = part["actual"], part["predicted"]
    recalls = recall_score(actual, predicted, labels=[WITHOUT, WITH], average=None, zero_division=0)
    return {
        **_core(part),
        "iou_50": float((part["iou"] >= 0.5).mean()),
        "recall_with_mask": float(recalls[1]),
        "recall_without_mask": float(recalls[0]),
        "balanced_accuracy": float(balanced_accuracy_score(actual, predicted)),
        "majority_accuracy": float((actual == majority).mean()),
    }
