"""Predictions of a localizer on crops: zoom refinement passes with flip test-time augmentation."""

from collections.abc import Sequence

import keras
import numpy as np
import pandas as pd
from scipy.special import softmax
from tqdm import tqdm

import facemask.models.localizer  # noqa: F401 - its layer, without which none can be loaded
from facemask.columns import iou
from facemask.config.localizer import Localizer
from facemask.data import affine
from facemask.inference.ensemble import merged
from facemask.inference.predict import BATCH, annotated
from facemask.shards import Crops


def predict(
    model: keras.Model, settings: Localizer, crops: Crops, samples: pd.DataFrame
) -> pd.DataFrame:
    """Predict on samples.

    Args:
        model: a trained localizer.
        settings: of the localizer.
        crops: in their native aspect.
        samples: rows of the table of `splits.split`.

    Returns:
        The table of `predict.predict`, and flip_iou: the IoU of the boxes predicted on the crop and
        on its mirror image. Corners do not leave the crop.
    """
    numbers, parts = samples["sample"].to_numpy(), []
    for start in tqdm(range(0, len(samples), BATCH), desc="predict", unit="batch"):
        batch = [crops[number] for number in numbers[start : start + BATCH]]
        parts.append(predict_crops(model, batch, settings))
    label, box, flip_iou = map(np.concatenate, zip(*parts, strict=True))
    return annotated(samples, label, box.astype(np.float32)).assign(flip_iou=flip_iou)


def predict_crops(
    model: keras.Model, crops: Sequence[np.ndarray], settings: Localizer
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predict on crops: first on the full view, then zoomed in on the box of the pass before.

    Args:
        model: a trained localizer.
        crops: each uint8 (h, w, 3), RGB.
        settings: of the localizer.

    Returns:
        label (N, 1 or 2); box (N, 4), in rel_xyxy of the crop; and flip_iou (N,), the IoU of the
        last pass' boxes with and without the flip.
    """
    how = settings.model_input
    sides = np.array([crop.shape[1::-1] for crop in crops])
    transforms = np.stack([affine.resizing(w, h, how.size, how.resize_mode) for w, h in sides])
    labels, boxes, peaks = predict_views(model, crops, transforms)
    for _ in range(how.passes - 1):
        found = merged(boxes, boxes, peaks)
        zooms = [affine.zoom_in(each, how.size, how.target_face_fraction) for each in found]
        labels, boxes, peaks = predict_views(model, crops, np.stack(zooms))
    box = np.clip(merged(boxes, boxes, peaks) / np.tile(sides, 2), 0, 1)
    flip_iou = iou(*boxes.astype(np.float32))
    return merged(labels, boxes, peaks), box, flip_iou


def predict_views(
    model: keras.Model, crops: Sequence[np.ndarray], transforms: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predict on one view of each crop and on its mirror image.

    Args:
        model: a trained localizer.
        crops: each uint8 (h, w, 3), RGB.
        transforms: (N, 3, 3), from each crop to the model input.

    Returns:
        labels (2, N, c); boxes (2, N, 4), px of the crops; and peaks (2, N), the probability of the
        heatmap's highest cell.
    """
    size = model.input_shape[1]
    labels, boxes, peaks = [], [], []
    for each in (transforms, affine.mirror(size) @ transforms):
        images = [affine.draw(*pair, size) for pair in zip(crops, each, strict=True)]
        predicted = model.predict_on_batch(np.stack(images))
        labels.append(predicted["label"])
        boxes.append(affine.transformed(size * predicted["box"], np.linalg.inv(each)))
        peaks.append(softmax(predicted["heatmap"], axis=1).max(axis=1))
    return np.stack(labels), np.stack(boxes), np.stack(peaks)
