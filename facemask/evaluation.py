"""Measure a trained network: predictions of every sample, and the figures made of them."""

from typing import Any

import keras
import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, balanced_accuracy_score, recall_score
from tqdm import tqdm

from facemask import boxes
from facemask.config import Experiment

BATCH = 256
NAMES = np.array(["without_mask", "with_mask"])
TRUE = ["true_x0", "true_y0", "true_x1", "true_y1"]
PREDICTED = ["pred_x0", "pred_y0", "pred_x1", "pred_y1"]


def predict(
    model: keras.Model,
    inputs: np.ndarray,
    samples: pd.DataFrame,
    experiment: Experiment,
    size: int,
) -> pd.DataFrame:
    """Let a network answer on samples.

    Args:
        model: as `networks.build` returns it, trained.
        inputs: (N, …) crops or features; may be memory-mapped: it is read a batch at a time.
        samples: rows of the table of `split`.
        experiment: says the box format.
        size: side of the input in px.

    Returns:
        One row a sample: sample, image, face, flip, split, actual and predicted (with_mask or
        without_mask), probability (of with_mask), iou, and the corners of the true and predicted
        box divided by the crop's sides. Predicted corners may lie outside [0, 1].
    """
    rows = samples["sample"].to_numpy()
    answers = [
        model.predict_on_batch(inputs[rows[start : start + BATCH]])
        for start in tqdm(range(0, len(rows), BATCH), desc="evaluate", unit="batch")
    ]
    label, box = (np.concatenate([answer[head] for answer in answers]) for head in ("label", "box"))
    # The last neuron is "with mask", whether there are two or one.
    probability = label[:, -1]
    true = boxes.true_boxes(samples)
    predicted = keras.ops.convert_to_numpy(
        boxes.convert(box, experiment.box_format, "rel_xyxy", size)
    )
    table = samples[["sample", "image", "face", "flip", "split"]].reset_index(drop=True)
    table["actual"] = NAMES[samples["label"].to_numpy()]
    table["predicted"] = NAMES[(probability > 0.5).astype(int)]
    table["probability"] = probability
    table["iou"] = keras.ops.convert_to_numpy(boxes.iou(true, predicted))
    table[TRUE] = true
    table[PREDICTED] = predicted
    return table


def measure(predictions: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return the figures of each split.

    Args:
        predictions: the table of `predict`, with training, validation and test samples.

    Returns:
        train and val: accuracy and mean_iou; test: these, iou_50 (share of boxes with IoU ≥ 0.5),
        the recall of each class, their mean (balanced_accuracy), and majority_accuracy: what
        answering the training samples' commonest class would score. Shares in [0, 1].
    """
    parts = dict(iter(predictions.groupby("split")))
    test = parts["test"]
    figures = {name: _core(parts[name]) for name in ("train", "val", "test")}
    recalls = recall_score(
        test["actual"], test["predicted"], labels=NAMES, average=None, zero_division=0
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
    total: int,
    trainable: int,
    protocol: str,
) -> dict[str, Any]:
    """Return the metrics file of one experiment.

    Args:
        predictions: the table of `predict`.
        history: the table of `training.train`.
        total, trainable: numbers of parameters, those of a frozen backbone counted in total.
        protocol: report or grouped.
    """
    return {
        **measure(predictions),
        "params": {"total": total, "trainable": trainable},
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
