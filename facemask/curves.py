"""Training histories of many experiments as one long table, for plots."""

from collections.abc import Mapping

import pandas as pd

# What Keras logs for our two heads, and what readers call it.
MEASURES = {
    "loss": "loss",
    "label_loss": "label_loss",
    "box_loss": "box_loss",
    "label_accuracy": "accuracy",
    "box_iou": "iou",
}


def long_table(histories: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Stack the tables of `training.train`.

    Returns:
        One row an experiment, epoch (from 1) and split (train or val): loss, label_loss, box_loss,
        accuracy, iou and learning_rate.
    """
    parts = []
    for name, history in histories.items():
        for split, prefix in (("train", ""), ("val", "val_")):
            columns = {prefix + logged: told for logged, told in MEASURES.items()}
            part = history[["epoch", *columns, "learning_rate"]].rename(columns=columns)
            part.insert(0, "experiment", name)
            part.insert(2, "split", split)
            parts.append(part)
    return pd.concat(parts, ignore_index=True)
