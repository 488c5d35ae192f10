"""Histories and predictions of many experiments as long tables, for plots."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from facemask.columns import CLASSES, WITH
from facemask.evaluation.significance import iou_histogram, precision_recall

# What Keras logs for the two heads, and the column it becomes.
COLUMNS = {
    "loss": "loss",
    "label_loss": "label_loss",
    "box_loss": "box_loss",
    "label_accuracy": "accuracy",
    "box_iou": "iou",
}


def long_table(histories: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Stack the tables of `classifier.train`.

    Returns:
        One row per experiment, epoch (from 1) and split (train or val): loss, label_loss, box_loss,
        accuracy, iou and learning_rate.
    """
    parts = []
    for name, history in histories.items():
        for split, prefix in (("train", ""), ("val", "val_")):
            columns = {prefix + logged: column for logged, column in COLUMNS.items()}
            part = history[["epoch", *columns, "learning_rate"]].rename(columns=columns)
            part.insert(0, "experiment", name)
            part.insert(2, "split", split)
            parts.append(part)
    return pd.concat(parts, ignore_index=True)


def precision_recall_table(predictions: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Stack `significance.precision_recall` of many experiments, the first column their name."""
    return _stack({name: precision_recall(table) for name, table in predictions.items()})


def iou_table(predictions: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Stack `significance.iou_histogram` of many experiments, the first column their name."""
    return _stack({name: iou_histogram(table) for name, table in predictions.items()})


def confusion(predictions: pd.DataFrame) -> np.ndarray:
    """Count samples by actual (down) and predicted label (across), without a mask first: (2, 2)."""
    numbers = (predictions[column] == WITH for column in ("actual", "predicted"))
    counts = np.zeros((2, 2), int)
    np.add.at(counts, tuple(each.to_numpy(int) for each in numbers), 1)
    return counts


def confusion_table(predictions: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Count the test samples of each experiment by actual and predicted label, zeros too."""
    labels = pd.MultiIndex.from_product([CLASSES] * 2, names=["actual", "predicted"])
    counts = {
        name: pd.Series(confusion(table).ravel(), labels) for name, table in predictions.items()
    }
    return pd.concat(counts, names=["experiment"]).rename("count").reset_index()


def _stack(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(tables, names=["experiment"]).reset_index("experiment").round(6)
