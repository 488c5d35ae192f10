"""Train a detector on square crops of images, drawn anew in every epoch."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from facemask.config.detector import ResolvedDetector
from facemask.models.backbones import build_application
from facemask.models.detector import build_detector, stride
from facemask.models.detector_losses import CellLoss, HeatmapFocalLoss, QualityCrossEntropy
from facemask.models.losses import box_loss, label_loss
from facemask.models.study_networks import in_precision
from facemask.training import checkpoint, heatmaps, loop
from facemask.training.scenes import Scenes, augmented, plain, pool_of

THREADS = 2  # that draw samples while TensorFlow computes


def train(
    settings: ResolvedDetector,
    scenes: Scenes,
    splits: pd.DataFrame,
    model_file: Path,
    state: Path,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> pd.DataFrame:
    """Train a detector and save its best epoch; called again, go on as `classifier.train`.

    Args:
        settings: network, size of crops, augmentation, losses, optimizer, schedule, epochs, seed,
            classes, the backbone's class of keras.applications and its weights.
        scenes: all images.
        splits: rows with sample (the number of the image) and split.
        model_file: the .keras file to write.
        state: folder for what a next call with the same arguments and code goes on from.
        callbacks: called after every epoch beside the schedule's own.

    Returns:
        The history: see `loop.fit`; also heatmap_loss, quality_loss and theirs of validation.

    Raises:
        InputError: the weights are missing, layers do not fit, or a loss was not finite.
    """
    once = settings.model_copy(update={"repeats": 1})
    faces = [np.insert(np.column_stack(each), 0, k, axis=1) for k, each in enumerate(scenes.faces)]
    about = pd.concat([splits, pd.DataFrame(np.concatenate(faces))])
    folder = checkpoint.state_folder(state, checkpoint.digest(scenes.images, about, once))
    train_rows, val_rows = (
        splits.loc[splits["split"] == part, "sample"].to_numpy() for part in ("train", "val")
    )
    return loop.fit(
        settings,
        lambda steps: compiled(settings, steps, -(-len(train_rows) // settings.batch_size)),
        lambda log: (
            batches(settings, scenes, train_rows, stride(log.model), lambda: log.epoch),
            batches(settings, scenes, val_rows, stride(log.model), None),
        ),
        model_file,
        folder,
        callbacks,
    )


def compiled(settings: ResolvedDetector, steps: int, steps_per_epoch: int) -> keras.Model:
    """Build a detector, ready to be fitted; its seed decides the first weights of the head.

    Args:
        settings: network, losses, loss weights, optimizer, precision, seed, classes.
        steps: see `loop.fit`.
        steps_per_epoch: see `loop.make_optimizer`.

    Raises:
        InputError: weights are missing, layers do not fit, or an option is unknown.
    """
    with in_precision(settings.precision):
        application, preprocess, _ = build_application(settings.application, None, settings.weights)
    keras.utils.set_random_seed(settings.seed)
    model = build_detector(settings, len(settings.classes), application, preprocess)
    model.compile(
        optimizer=loop.make_optimizer(settings.optimizer, steps_per_epoch),
        loss={
            "heatmap": HeatmapFocalLoss(),
            "box": CellLoss(box_loss(settings.losses.box, "xyxy")),
            "label": CellLoss(label_loss(settings.losses.label)),
            "quality": QualityCrossEntropy(),
        },
        loss_weights=settings.loss_weights.model_dump(),
        steps_per_execution=steps,
    )
    return model


def batches(
    settings: ResolvedDetector,
    scenes: Scenes,
    numbers: np.ndarray,
    cell: int,
    epoch: Callable[[], int] | None,
) -> tf.data.Dataset:
    """Return a dataset of (images, targets), the last batch smaller.

    Args:
        settings: size of crops, augmentation, classes and their weights, batch size, seed.
        scenes: all images.
        numbers: of the images that are drawn.
        cell: px of a sample per cell of the maps.
        epoch: returns the current epoch, in which each image is drawn once; seed, epoch and the
            image's number decide how. None: for validation, always the same.
    """
    class_weights = [settings.class_weights.get(name, 1.0) for name in settings.classes]
    pool = pool_of(scenes, numbers)

    def draw(number: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        if epoch:
            sample = augmented(settings, scenes, pool, number, epoch())
        else:
            sample = plain(settings, scenes, number)
        size = settings.crop_size
        maps = heatmaps.targets(*sample.faces, sample.ignored, size, cell, class_weights)
        return sample.image, maps

    def read() -> Iterator[tuple[Any, ...]]:
        order = numbers
        if epoch:
            order = np.random.default_rng([settings.seed, epoch()]).permutation(numbers)
        with ThreadPoolExecutor(THREADS) as threads:
            for start in range(0, len(order), settings.batch_size):
                drawn = list(threads.map(draw, order[start : start + settings.batch_size]))
                yield (
                    np.stack([image for image, _ in drawn]),
                    {name: np.stack([maps[name] for _, maps in drawn]) for name in drawn[0][1]},
                )

    signature = _signature(settings.crop_size, settings.crop_size // cell, len(class_weights))
    return loop.prefetched(read, signature, -(-len(numbers) // settings.batch_size))


def _signature(size: int, side: int, classes: int) -> tuple[Any, ...]:
    channels = {"heatmap": 1, "box": 5, "label": classes + 1, "quality": 5}
    return (
        tf.TensorSpec((None, size, size, 3), tf.uint8),
        {
            name: tf.TensorSpec((None, side, side, number), tf.float32)
            for name, number in channels.items()
        },
    )
