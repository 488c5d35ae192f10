"""Predictions of a trained network on samples."""

import keras
import numpy as np
import pandas as pd
from tqdm import tqdm

from facemask.columns import CLASSES, true_boxes
from facemask.config.training import ResolvedExperiment
from facemask.inference.table import table_of
from facemask.models import boxes
from facemask.shards import Inputs

BATCH = 64  # larger ones are no faster on a processor, and hold more than training does


def predict(
    model: keras.Model, inputs: Inputs, samples: pd.DataFrame, experiment: ResolvedExperiment
) -> pd.DataFrame:
    """Predict on samples.

    Args:
        model: as `study_networks.build` returns it, trained.
        inputs: (N, …) crops or features; may be memory-mapped: it is read a batch at a time.
        samples: rows of the table of `splits.split`.
        experiment: for the box format and the size of the input.

    Returns:
        One row per sample: sample, image, face, flip, split, actual and predicted (with_mask or
        without_mask), probability (of with_mask), iou, and the corners of the true and predicted
        box divided by the crop's width and height. Predicted corners may lie outside [0, 1].
    """
    rows = samples["sample"].to_numpy()
    outputs = [
        model.predict_on_batch(inputs[rows[start : start + BATCH]])
        for start in tqdm(range(0, len(rows), BATCH), desc="predict", unit="batch")
    ]
    label, box = (np.concatenate([each[head] for each in outputs]) for head in ("label", "box"))
    corners = boxes.convert(box, experiment.box_format, "rel_xyxy", experiment.input_size)
    return annotated(samples, label, keras.ops.convert_to_numpy(corners))


def annotated(samples: pd.DataFrame, label: np.ndarray, predicted: np.ndarray) -> pd.DataFrame:
    """Return the table of `predict`: outputs beside what was annotated.

    Args:
        samples: rows of the table of `splits.split`.
        label: (N, 1 or 2); the last neuron is with_mask, whether there are two or one.
        predicted: boxes, float32 (N, 4), in rel_xyxy.
    """
    actual = np.array(CLASSES)[samples["label"].to_numpy()]
    return table_of(samples, actual, true_boxes(samples), label[:, -1], predicted)
