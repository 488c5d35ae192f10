"""Let a localizer answer on crops."""

from collections.abc import Sequence

import keras
import numpy as np
import pandas as pd
from scipy.special import softmax
from tqdm import tqdm

import facemask.models.localizer  # noqa: F401 - its layer, without which none can be loaded
from facemask.config import Localizer
from facemask.data import geometry
from facemask.data.arrays import Crops
from facemask.inference.predict import BATCH, table_of
from facemask.models import boxes


def predict(
    model: keras.Model, settings: Localizer, crops: Crops, samples: pd.DataFrame
) -> pd.DataFrame:
    """Let a localizer answer on samples.

    Returns:
        The table of `predict.predict`, and agreement: the IoU of the boxes seen in the crop and
        in its mirror image. Corners do not leave the crop.
    """
    numbers, answers = samples["sample"].to_numpy(), []
    for start in tqdm(range(0, len(samples), BATCH), desc="predict", unit="batch"):
        batch = [crops[number] for number in numbers[start : start + BATCH]]
        answers.append(answer(model, batch, settings))
    label, box, agreement = map(np.concatenate, zip(*answers, strict=True))
    table = table_of(samples, label[:, -1], box.astype(np.float32))
    return table.assign(agreement=agreement)


def answer(
    model: keras.Model, crops: Sequence[np.ndarray], settings: Localizer
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Look at crops from afar, and then closer at where the face is, again and again.

    Args:
        model: a trained localizer.
        crops: each uint8 (h, w, 3), RGB.
        settings: of the localizer.

    Returns:
        label (N, 1 or 2); box (N, 4), in rel_xyxy of the crop; and agreement (N,), the IoU of the
        boxes of the last look and of its mirror image.
    """
    size, fit = settings.canvas.size, settings.canvas.fit
    sides = np.array([crop.shape[1::-1] for crop in crops])
    transforms = np.stack([geometry.fitting(w, h, size, fit) for w, h in sides])
    labels, corners, sure = look(model, crops, transforms)
    for _ in range(settings.canvas.looks - 1):
        found = together(corners, corners, sure)
        closer = [geometry.closer(each, size, settings.canvas.closer) for each in found]
        labels, corners, sure = look(model, crops, np.stack(closer))
    box = np.clip(together(corners, corners, sure) / np.tile(sides, 2), 0, 1)
    return together(labels, corners, sure), box, agreement(corners)


def look(
    model: keras.Model, crops: Sequence[np.ndarray], transforms: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Look at canvases and at their mirror images.

    Returns:
        labels (2, N, c); boxes (2, N, 4), px of the crops; and (2, N), how much of the heat is in
        the hottest cell.
    """
    size = model.input_shape[1]
    labels, corners, sure = [], [], []
    for each in (transforms, geometry.mirror(size) @ transforms):
        images = [geometry.draw(*pair, size) for pair in zip(crops, each, strict=True)]
        told = model.predict_on_batch(np.stack(images))
        labels.append(told["label"])
        corners.append(geometry.transformed(size * told["box"], np.linalg.inv(each)))
        sure.append(softmax(told["cells"], axis=1).max(axis=1))
    return np.stack(labels), np.stack(corners), np.stack(sure)


def together(values: np.ndarray, corners: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """Return the mean of two answers each, or of two boxes of different faces the surer one's.

    Args:
        values: labels or boxes, (2, N, k).
        corners: boxes, (2, N, 4).
        sure: (2, N).

    Returns:
        (N, k).
    """
    counts = boxes.of_one_face(corners, sure)[:, :, None]
    return np.average(values, axis=0, weights=np.broadcast_to(counts, values.shape))


def agreement(corners: np.ndarray) -> np.ndarray:
    """Return the IoU of two boxes each, (2, N, 4): (N,)."""
    return keras.ops.convert_to_numpy(boxes.iou(*corners.astype(np.float32)))
