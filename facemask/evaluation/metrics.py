"""The figures of a trained network, made of what it answered on every sample."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from facemask.evaluation import calibration, significance
from facemask.evaluation.significance import figures
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
    trained = figures(parts["train"])
    return {
        "train": {name: trained[name] for name in ("accuracy", "mean_iou")},
        **{name: _all(parts[name], majority) for name in ("val", "test") if name in parts},
    }


def validated(
    answers: Sequence[pd.DataFrame], histories: Sequence[pd.DataFrame], splits: pd.DataFrame
) -> dict[str, Any]:
    """Return the figures that decisions may go by: of validation samples, a value a repeat.

    Args:
        answers: of each repeat the table of `predict.predict`, of validation samples alone.
        histories: of each repeat the table of `classifier.train`.
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
    predictions: pd.DataFrame, history: pd.DataFrame, parameters: Mapping[str, int]
) -> dict[str, Any]:
    """Return all that one training is measured by.

    Args:
        predictions: the table of `predict.predict`.
        history: the table of `classifier.train`.
        parameters: total and trainable.
    """
    return {
        **measure(predictions),
        "params": dict(parameters),
        "epochs": len(history),
        "best_epoch": int(history.loc[history["val_loss"].idxmin(), "epoch"]),
        "train_seconds": round(float(history["seconds"].sum()), 1),
    }


def confidence(predictions: Sequence[pd.DataFrame]) -> dict[str, Any]:
    """Return how sure the test figures are.

    Args:
        predictions: of each repeat the table of `predict.predict`.

    Returns:
        count of repeats; intervals and calibration of the first; repeats, if there are several:
        mean and std of each figure.
    """
    first = predictions[0]
    sure: dict[str, Any] = {
        "count": len(predictions),
        "intervals": significance.intervals(first[first["split"] == "test"]),
        "calibration": calibration.summary(first),
    }
    if len(predictions) > 1:
        sure["repeats"] = significance.spread([measure(each)["test"] for each in predictions])
    return sure


def headline(measured: Mapping[str, Any]) -> dict[str, float]:
    """Return what `dvc metrics` shows of an experiment: few scalars, so that tables stay narrow.

    Args:
        measured: what `summary` and `confidence` return.

    Returns:
        Of the test samples accuracy, majority (the accuracy of always predicting the commonest
        class), the recall of each class and iou, then val_accuracy and val_iou; of several repeats
        the first, with mean and std of two figures.
    """
    test, val = measured["test"], measured["val"]
    shown = {
        "accuracy": test["accuracy"],
        "majority": test["majority_accuracy"],
        "recall_with": test["recall_with_mask"],
        "recall_without": test["recall_without_mask"],
        "iou": test["mean_iou"],
        "val_accuracy": val["accuracy"],
        "val_iou": val["mean_iou"],
    }
    if "repeats" in measured:
        for name, figure in (("accuracy", "accuracy"), ("iou", "mean_iou")):
            for key in ("mean", "std"):
                shown[f"{name}_{key}"] = measured["repeats"][figure][key]
    return shown


def _all(part: pd.DataFrame, majority: str) -> dict[str, float]:
    return {**figures(part), "majority_accuracy": float((part["actual"] == majority).mean())}
