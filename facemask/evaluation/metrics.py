"""The metrics of a trained network, computed from its predictions on every sample."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from facemask.columns import CLASSES
from facemask.evaluation import bootstrap, calibration, significance
from facemask.evaluation.bootstrap import metrics_of


def measure(predictions: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return the metrics of each split.

    Args:
        predictions: the table of `predict.predict`, with training, validation and test samples.

    Returns:
        train: accuracy and mean_iou; val and test: these, iou_50 (share of boxes with IoU ≥ 0.5),
        the recall of each class, their mean (balanced_accuracy), and majority_accuracy: the
        accuracy of always predicting the training samples' majority class. Shares in [0, 1].
    """
    parts = dict(iter(predictions.groupby("split")))
    majority = parts["train"]["actual"].mode()[0]
    trained = metrics_of(parts["train"])
    return {
        "train": {name: trained[name] for name in ("accuracy", "mean_iou")},
        **{name: _all(parts[name], majority) for name in ("val", "test") if name in parts},
    }


def validated(
    predictions: Sequence[pd.DataFrame], histories: Sequence[pd.DataFrame], splits: pd.DataFrame
) -> dict[str, Any]:
    """Return the metrics that may decide: of validation samples, a value per repeat.

    Args:
        predictions: of each repeat the table of `predict.predict`, of validation samples alone.
        histories: of each repeat the history of `loop.fit`.
        splits: the table of `splits.split`, for the training samples' majority class.

    Returns:
        val: the metrics of `measure`, each a list; train_seconds, a list.
    """
    majority = splits.loc[splits["split"] == "train", "label"].mode()[0]
    measured = [_all(table, CLASSES[majority]) for table in predictions]
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
        history: the history of `loop.fit`.
        parameters: total and trainable.
    """
    return {
        **measure(predictions),
        "params": dict(parameters),
        "epochs": len(history),
        "best_epoch": int(history.loc[history["val_loss"].idxmin(), "epoch"]),
        "train_seconds": round(float(history["seconds"].sum()), 1),
    }


def uncertainty(predictions: Sequence[pd.DataFrame]) -> dict[str, Any]:
    """Return the uncertainty of the test metrics.

    Args:
        predictions: of each repeat the table of `predict.predict`.

    Returns:
        count of repeats; intervals and calibration of the first; repeats, if there are several:
        mean and std of each metric.
    """
    first = predictions[0]
    found: dict[str, Any] = {
        "count": len(predictions),
        "intervals": bootstrap.intervals(first[first["split"] == "test"]),
        "calibration": calibration.summary(first),
    }
    if len(predictions) > 1:
        tests = [measure(each)["test"] for each in predictions]
        found["repeats"] = significance.over_repeats(tests)
    return found


def headline(measured: Mapping[str, Any]) -> dict[str, float]:
    """Return what `dvc metrics` shows of an experiment: few scalars, so that tables stay narrow.

    Args:
        measured: what `summary` and `uncertainty` return.

    Returns:
        Of the test samples accuracy, majority (the accuracy of always predicting the majority
        class), the recall of each class and iou, then val_accuracy and val_iou; of several repeats
        the first, with mean and std of two metrics.
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
        for name, metric in (("accuracy", "accuracy"), ("iou", "mean_iou")):
            for key in ("mean", "std"):
                shown[f"{name}_{key}"] = measured["repeats"][metric][key]
    return shown


def _all(part: pd.DataFrame, majority: str) -> dict[str, float]:
    return {**metrics_of(part), "majority_accuracy": float((part["actual"] == majority).mean())}
