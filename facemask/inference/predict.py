"""Predictions of a trained network on samples."""

import keras
import numpy as np
import pandas as pd
from tqdm import tqdm

from facemask.columns import CLASSES, PREDICTED, TRUE, true_boxes
from facemask.config.training import Experiment
from facemask.models import boxes

BATCH = 64  # larger ones are no faster on a processor, and hold more than training does


def predict(
    model: keras.Model,
    inputs: np.ndarray,
    samples: pd.DataFrame,
    experiment: Experiment,
    size: int,
) -> pd.DataFrame:
    """Predict on samples.

    Args:
        model: as `study_networks.build` returns it, trained.
        inputs: (N, …) crops or features; may be memory-mapped: it is read a batch at a time.
        samples: rows of the table of `split`.
        experiment: for the box format.
        size: side of the input in px.

    Returns:
        One row a sample: sample, image, face, flip, split, actual and predicted (with_mask or
        without_mask), probability (of with_mask), iou, and the corners of the true and predicted
        box divided by the crop's width and height. Predicted corners may lie outside [0, 1].
    """
    rows = samples["sample"].to_numpy()
    outputs = [
        model.predict_on_batch(inputs[rows[start : start + BATCH]])
        for start in tqdm(range(0, len(rows), BATCH), desc="predict", unit="batch")
    ]
    label, box = (np.concatenate([each[head] for each in outputs]) for head in ("label", "box"))
    predicted = keras.ops.convert_to_numpy(
        boxes.convert(box, experiment.box_format, "rel_xyxy", size)
    )
    # The last neuron is "with mask", whether there are two or one.
    return table_of(samples, label[:, -1], predicted)


def table_of(samples: pd.DataFrame, probability: np.ndarray, predicted: np.ndarray) -> pd.DataFrame:
    """Return the table of `predict` of probabilities (N,) and boxes (N, 4) in rel_xyxy."""
    true = true_boxes(samples)
    table = samples[["sample", "image", "face", "flip", "split"]].reset_index(drop=True)
    names = np.array(CLASSES)
    table["actual"] = names[samples["label"].to_numpy()]
    table["predicted"] = names[(probability > 0.5).astype(int)]
    table["probability"] = probability
    table["iou"] = keras.ops.convert_to_numpy(boxes.iou(true, predicted))
    table[TRUE] = true
    table[PREDICTED] = predicted
    return table


def parameters(model: keras.Model, frozen: int) -> dict[str, int]:
    """Count the parameters of a network in total, and those that were trained.

    `frozen` is the number in its backbone, if its inputs are a backbone's features.
    """
    trained = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    return {"total": model.count_params() + frozen, "trainable": trained}
