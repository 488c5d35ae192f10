"""Train a localizer on crops that look different in every epoch."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from facemask.config import Localizer
from facemask.data import geometry
from facemask.data.arrays import Crops
from facemask.io import whole
from facemask.models import boxes
from facemask.models.backbones import build_application
from facemask.models.heads import in_precision
from facemask.models.localizer import build_localizer
from facemask.models.losses import HeatLoss, box_loss, label_loss
from facemask.schema import true_boxes
from facemask.training import augment, classifier, loop
from facemask.training.batches import lasting
from facemask.training.checkpoint import digest, own_folder

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
    """Train a localizer and save its best epoch; called again, it goes on as `classifier.train`.

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
        As `classifier.train`, and cells_loss and val_cells_loss; epochs of the head come first.

    Raises:
        InputError: the weights are missing, layers do not fit, or a loss was not finite.
    """
    once = settings.model_copy(update={"repeats": 1})
    others: list[int | str] = [application, weights, seed]
    folder = own_folder(state, digest(crops.pixels, splits, [once], others))

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

        def sets(log: loop.EpochLog) -> tuple[Any, Any]:
            return (
                batches(chosen, crops, train_rows, seed, lambda: past + log.epoch),
                batches(chosen, crops, val_rows, seed, None),
            )

        return loop.fit(chosen, make, sets, end, folder / end.stem, callbacks, steps=1)

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
        optimizer=loop.make_optimizer(optimizer),
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
    numbers, true = samples["sample"].to_numpy(), true_boxes(samples)
    label = classifier.label_targets(samples, settings.losses.label)
    alike = np.ones(len(samples), np.float32)
    weight = classifier.label_weights(samples, settings.class_weights) if epoch else alike
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
        transform = geometry.closer(face, size, settings.canvas.closer)
    else:
        transform = geometry.fitting(width, height, size, fit)
    if rng is not None:
        here = geometry.transformed(face[None], transform)[0]
        places = settings.augment.model_copy(update=OFF) if close else settings.augment
        transform = augment.place(places, here, size, rng) @ transform
    image = geometry.draw(crop, transform, size)
    here = geometry.transformed(face[None], transform)[0]
    if rng is not None and coloured:
        image = augment.recolour(image, settings.augment, rng)
        image = augment.cut_out(image, here, settings.augment, rng)
    return image, (here / size).astype(np.float32)
