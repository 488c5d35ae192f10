"""Train a localizer on crops that look different in every epoch, and let it answer on crops."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from scipy.special import softmax
from tqdm import tqdm

from facemask import augmentation, boxes, canvas, prediction, resume, training
from facemask.batches import lasting
from facemask.config import Localizer
from facemask.files import whole
from facemask.losses import HeatLoss, box_loss, label_loss
from facemask.networks import build_application, build_localizer
from facemask.networks.heads import in_precision
from facemask.pixels import Crops

BOX_FORMAT = "rel_xyxy"
DRAWING = 2  # threads that draw canvases while the others compute
# A closer look is at where the one before found the face, which is not quite where it is. That is
# no matter of augmentation: without it, a network would learn that faces are in the very middle.
OFF = {"zoom": (0.7, 1.4), "shift": 0.15}


def train(
    settings: Localizer,
    application: str,
    weights: str,
    crops: Crops,
    splits: pd.DataFrame,
    seed: int,
    checkpoint: Path,
    state: Path,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> pd.DataFrame:
    """Train a localizer and save its best epoch; called again, it goes on as `training.train`.

    Args:
        settings: taps, canvas, augmentation, losses, optimizer, schedule, epochs.
        application: the backbone's class of keras.applications.
        weights: of the backbone: imagenet, random or a folder.
        crops: in their own proportions.
        splits: the table of `split`.
        seed: of first weights, batch order and augmentation.
        checkpoint: the .keras file to write.
        state: folder for what a next call with the same arguments and code goes on from.
        callbacks: called after every epoch beside the schedule's own.

    Returns:
        As `training.train`, and cells_loss and val_cells_loss; epochs of the head come first.

    Raises:
        InputError: the weights are missing, layers do not fit, or a loss was not finite.
    """
    once = settings.model_copy(update={"seeds": 1})
    others: list[int | str] = [application, weights, seed]
    folder = resume.own_folder(state, resume.digest(crops.pixels, splits, [once], others))

    train_rows, val_rows = (splits[splits["split"] == part] for part in ("train", "val"))
    train_rows = of_some_photographs(train_rows, settings.photographs, seed)

    def step(chosen: Localizer, start: Path | None, past: int, end: Path) -> pd.DataFrame:
        def make(steps: int) -> keras.Model:
            size, precision = settings.canvas.size, settings.precision
            with in_precision(precision):
                network, preprocess, _ = build_application(application, size, weights)
            keras.utils.set_random_seed(seed)
            model = build_localizer(chosen, network, preprocess)
            if start:
                model.load_weights(start)
            compile_as(chosen, model, steps, -(-len(train_rows) // settings.batch_size))
            return model

        def sets(log: training.EpochLog) -> tuple[Any, Any]:
            return (
                batches(chosen, crops, train_rows, seed, lambda: past + log.epoch),
                batches(chosen, crops, val_rows, seed, None),
            )

        return training.fit(chosen, make, sets, end, folder / end.stem, callbacks, steps=1)

    past = settings.head_first.epochs
    if not past:
        return step(settings, None, 0, checkpoint)
    head = folder / "head.keras"
    first = step(head_only(settings), None, 0, head)
    second = step(settings, head, past, checkpoint)
    if first["val_loss"].min() <= second["val_loss"].min():
        with whole(checkpoint) as part:
            shutil.copyfile(head, part)
    history = pd.concat([first, second], ignore_index=True)
    return history.assign(epoch=history.index + 1)


def of_some_photographs(samples: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
    """Return the samples of a share of their photographs, at least one; a larger share adds some.

    Args:
        samples: rows of the table of `split`.
        share: more than 0, up to 1.
        seed: of the choice.

    Returns:
        Rows in the same order.
    """
    photographs = np.random.default_rng(seed).permutation(samples["image"].unique())
    chosen = photographs[: max(1, round(share * len(photographs)))]
    return samples[samples["image"].isin(chosen)]


def head_only(settings: Localizer) -> Localizer:
    """Return the settings of the epochs in which the whole backbone stays as it is."""
    rate = {"learning_rate": settings.head_first.learning_rate}
    return settings.model_copy(
        update={
            "epochs": settings.head_first.epochs,
            "optimizer": settings.optimizer.model_copy(update=rate),
            "schedule": settings.schedule.model_copy(update={"name": "constant", "warmup": 0}),
            "frozen": settings.taps[-1],
        }
    )


def compile_as(settings: Localizer, model: keras.Model, steps: int, per_epoch: int) -> None:
    """Give a localizer its losses and optimizer.

    Args:
        settings: losses, loss weights, optimizer.
        model: of `build_localizer`.
        steps: how many Python sees to at once.
        per_epoch: steps of an epoch. With the option use_ema the averaged weights take the others'
            place after so many: those that are validated and kept.
    """
    optimizer = settings.optimizer
    if optimizer.options.get("use_ema"):
        options = {"ema_overwrite_frequency": per_epoch} | optimizer.options
        optimizer = optimizer.model_copy(update={"options": options})
    model.compile(
        optimizer=training.make_optimizer(optimizer),
        loss={
            "label": label_loss(settings.losses.label),
            "box": box_loss(settings.losses.box, BOX_FORMAT),
            "cells": HeatLoss(),
        },
        loss_weights=settings.loss_weights.model_dump(),
        metrics={"label": "accuracy", "box": boxes.MeanIoU(BOX_FORMAT)},
        steps_per_execution=steps,
    )


def batches(
    settings: Localizer,
    crops: Crops,
    samples: pd.DataFrame,
    seed: int,
    epoch: Callable[[], int] | None,
) -> tf.data.Dataset:
    """Return a dataset of (images, answers, weights), the last batch smaller.

    Args:
        settings: canvas, augmentation, label loss, class weights, batch size.
        crops: in their own proportions.
        samples: rows of the table of `split`.
        seed: of order and augmentation; so are the epoch and, of the latter, the sample's number.
        epoch: says which epoch it is, in which each sample is looked at once, from afar or closer;
            None: for validation, always the same, in order: from afar, then closer, but not with
            the face in the very middle, for it is not known where that is.
    """
    numbers, true = samples["sample"].to_numpy(), boxes.true_boxes(samples)
    label = training.label_targets(samples, settings.losses.label)
    alike = np.ones(len(samples), np.float32)
    weight = training.label_weights(samples, settings.class_weights) if epoch else alike
    looks = len(samples) if epoch or settings.canvas.looks == 1 else 2 * len(samples)

    def draw(look: int) -> tuple[np.ndarray, np.ndarray]:
        close, row = divmod(look, len(samples))
        if not epoch:
            rng = np.random.default_rng([seed, numbers[row]]) if close else None
            return view(settings, crops[numbers[row]], true[row], bool(close), rng, False)
        rng = np.random.default_rng([seed, epoch(), numbers[row]])
        # Who answers after one look at the whole crop learns from such looks alone.
        closer = settings.canvas.looks > 1 and bool(rng.integers(2))
        return view(settings, crops[numbers[row]], true[row], closer, rng)

    def read() -> Iterator[tuple[Any, ...]]:
        turn = np.arange(looks)
        if epoch:
            turn = np.random.default_rng([seed, epoch()]).permutation(turn)
        with ThreadPoolExecutor(DRAWING) as pool:
            for start in range(0, looks, settings.batch_size):
                chosen = turn[start : start + settings.batch_size]
                images, box = map(np.stack, zip(*pool.map(draw, chosen), strict=True))
                rows = chosen % len(samples)
                yield (
                    images,
                    {"label": label[rows], "box": box, "cells": box},
                    {"label": weight[rows], "box": alike[rows], "cells": alike[rows]},
                )

    size = settings.canvas.size
    four, one = tf.TensorSpec((None, 4), tf.float32), tf.TensorSpec((None,), tf.float32)
    signature = (
        tf.TensorSpec((None, size, size, 3), tf.uint8),
        {"label": tf.TensorSpec((None, label.shape[1]), tf.float32), "box": four, "cells": four},
        {"label": one, "box": one, "cells": one},
    )
    return lasting(read, signature, -(-looks // settings.batch_size))


def view(
    settings: Localizer,
    crop: np.ndarray,
    box: np.ndarray,
    close: bool,
    rng: np.random.Generator | None,
    coloured: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a crop on the canvas, from afar or closer, and changed by chance if there is one.

    Args:
        settings: canvas and augmentation.
        crop: uint8 (h, w, 3).
        box: of the face, (4,) in rel_xyxy of the crop.
        close: whether the face is looked at closer.
        rng: of this sample.
        coloured: whether chance also changes colours and covers parts.

    Returns:
        The canvas, uint8 (s, s, 3), and the box in rel_xyxy of it, float32 (4,).
    """
    height, width = crop.shape[:2]
    size, fit = settings.canvas.size, settings.canvas.fit
    face = box * [width, height, width, height]
    if close:
        transform = canvas.closer(face, size, settings.canvas.closer)
    else:
        transform = canvas.fitting(width, height, size, fit)
    if rng is not None:
        here = canvas.transformed(face[None], transform)[0]
        places = settings.augment.model_copy(update=OFF) if close else settings.augment
        transform = augmentation.place(places, here, size, rng) @ transform
    image = canvas.draw(crop, transform, size)
    here = canvas.transformed(face[None], transform)[0]
    if rng is not None and coloured:
        image = augmentation.recolour(image, settings.augment, rng)
        image = augmentation.cut_out(image, here, settings.augment, rng)
    return image, (here / size).astype(np.float32)


def predict(
    model: keras.Model, settings: Localizer, crops: Crops, samples: pd.DataFrame
) -> pd.DataFrame:
    """Let a localizer answer on samples.

    Returns:
        The table of `prediction.predict`, and agreement: the IoU of the boxes seen in the crop and
        in its mirror image. Corners do not leave the crop.
    """
    numbers, answers = samples["sample"].to_numpy(), []
    for start in tqdm(range(0, len(samples), prediction.BATCH), desc="predict", unit="batch"):
        batch = [crops[number] for number in numbers[start : start + prediction.BATCH]]
        answers.append(answer(model, batch, settings))
    label, box, agreement = map(np.concatenate, zip(*answers, strict=True))
    table = prediction.table_of(samples, label[:, -1], box.astype(np.float32))
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
    transforms = np.stack([canvas.fitting(w, h, size, fit) for w, h in sides])
    labels, corners, sure = look(model, crops, transforms)
    for _ in range(settings.canvas.looks - 1):
        found = together(corners, corners, sure)
        closer = [canvas.closer(each, size, settings.canvas.closer) for each in found]
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
    for each in (transforms, canvas.mirror(size) @ transforms):
        images = [canvas.draw(*pair, size) for pair in zip(crops, each, strict=True)]
        told = model.predict_on_batch(np.stack(images))
        labels.append(told["label"])
        corners.append(canvas.transformed(size * told["box"], np.linalg.inv(each)))
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
