"""Train a localizer on crops that are augmented anew in every epoch."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from facemask.columns import true_boxes
from facemask.config.localizer import Localizer, ResolvedLocalizer
from facemask.data import affine
from facemask.models import boxes
from facemask.models.backbones import build_application
from facemask.models.localizer import build_localizer
from facemask.models.losses import HeatmapCrossEntropy, box_loss, label_loss
from facemask.models.study_networks import in_precision
from facemask.shards import Crops
from facemask.training import augment, checkpoint, classifier, loop

BOX_FORMAT = "rel_xyxy"
THREADS = 2  # that draw samples while TensorFlow computes
# A zoomed pass is centred on the box that the pass before predicted, not on the face itself. This
# is no augmentation: without it, a network would learn that faces are in the very centre.
ZOOM_JITTER = {"zoom": (0.7, 1.4), "shift": 0.15}


def train(
    settings: ResolvedLocalizer,
    crops: Crops,
    splits: pd.DataFrame,
    model_file: Path,
    state: Path,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> pd.DataFrame:
    """Train a localizer and save its best epoch; called again, go on as `classifier.train`.

    Args:
        settings: network, model input, augmentation, losses, optimizer, schedule, epochs, seed, the
            backbone's class of keras.applications and its weights.
        crops: in their native aspect.
        splits: the table of `splits.split`.
        model_file: the .keras file to write.
        state: folder for what a next call with the same arguments and code goes on from.
        callbacks: called after every epoch beside the schedule's own.

    Returns:
        The history: see `loop.fit`; also heatmap_loss and val_heatmap_loss.

    Raises:
        InputError: the weights are missing, layers do not fit, or a loss was not finite.
    """
    once = settings.model_copy(update={"repeats": 1})
    folder = checkpoint.state_folder(state, checkpoint.digest(crops, splits, once))
    train_rows, val_rows = (splits[splits["split"] == part] for part in ("train", "val"))
    train_rows = some_images(train_rows, settings.train_fraction, settings.seed)
    return loop.fit(
        settings,
        lambda steps: compiled(settings, steps, -(-len(train_rows) // settings.batch_size)),
        lambda log: (
            batches(settings, crops, train_rows, lambda: log.epoch),
            batches(settings, crops, val_rows, None),
        ),
        model_file,
        folder,
        callbacks,
    )


def some_images(samples: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
    """Return the samples of a share of their images, at least one; a larger share adds some.

    Args:
        samples: rows of the table of `splits.split`.
        share: more than 0, up to 1.
        seed: of the choice.

    Returns:
        Rows in the same order.
    """
    images = np.random.default_rng(seed).permutation(samples["image"].unique())
    chosen = images[: max(1, round(share * len(images)))]
    return samples[samples["image"].isin(chosen)]


def compiled(settings: ResolvedLocalizer, steps: int, steps_per_epoch: int) -> keras.Model:
    """Build a localizer, ready to be fitted; its seed decides the first weights of the head.

    Args:
        settings: network, losses, loss weights, optimizer, precision, seed.
        steps: see `loop.fit`.
        steps_per_epoch: see `loop.make_optimizer`.

    Raises:
        InputError: weights are missing, layers do not fit, or an option is unknown.
    """
    with in_precision(settings.precision):
        application, preprocess, _ = build_application(
            settings.application, settings.model_input.size, settings.weights
        )
    keras.utils.set_random_seed(settings.seed)
    model = build_localizer(settings, application, preprocess)
    model.compile(
        optimizer=loop.make_optimizer(settings.optimizer, steps_per_epoch),
        loss={
            "label": label_loss(settings.losses.label),
            "box": box_loss(settings.losses.box, BOX_FORMAT),
            "heatmap": HeatmapCrossEntropy(),
        },
        loss_weights=settings.loss_weights.model_dump(),
        metrics={"label": "accuracy", "box": boxes.MeanIoU(BOX_FORMAT)},
        steps_per_execution=steps,
    )
    return model


def batches(
    settings: ResolvedLocalizer,
    crops: Crops,
    samples: pd.DataFrame,
    epoch: Callable[[], int] | None,
) -> tf.data.Dataset:
    """Return a dataset of (images, targets, weights), the last batch smaller.

    Args:
        settings: model input, augmentation, label loss, class weights, batch size, seed.
        crops: in their native aspect.
        samples: rows of the table of `splits.split`.
        epoch: returns the current epoch, in which each sample is seen once, in full view or zoomed;
            seed, epoch and the sample's number decide its augmentation. None: for validation,
            always the same, in order: all in full view, then all zoomed with ZOOM_JITTER.
    """
    numbers, true = samples["sample"].to_numpy(), true_boxes(samples)
    label = classifier.label_targets(samples, settings.losses.label)
    ones = np.ones(len(samples), np.float32)
    weight = classifier.label_weights(samples, settings.class_weights) if epoch else ones
    views = len(samples) if epoch or settings.model_input.passes == 1 else 2 * len(samples)

    def draw(view: int) -> tuple[np.ndarray, np.ndarray]:
        zoomed, row = divmod(view, len(samples))
        crop, box = crops[numbers[row]], true[row]
        if epoch:
            return augmented(settings, crop, box, numbers[row], epoch())
        if zoomed:
            rng = np.random.default_rng([settings.seed, numbers[row]])
            return placed(settings, crop, box, True, rng)
        return placed(settings, crop, box, False, None)

    def read() -> Iterator[tuple[Any, ...]]:
        order = np.arange(views)
        if epoch:
            order = np.random.default_rng([settings.seed, epoch()]).permutation(order)
        with ThreadPoolExecutor(THREADS) as pool:
            for start in range(0, views, settings.batch_size):
                chosen = order[start : start + settings.batch_size]
                images, box = map(np.stack, zip(*pool.map(draw, chosen), strict=True))
                box = (box / settings.model_input.size).astype(np.float32)
                rows = chosen % len(samples)
                yield (
                    images,
                    {"label": label[rows], "box": box, "heatmap": box},
                    {"label": weight[rows], "box": ones[rows], "heatmap": ones[rows]},
                )

    signature = _signature(settings.model_input.size, label.shape[1])
    return loop.prefetched(read, signature, -(-views // settings.batch_size))


def _signature(size: int, neurons: int) -> tuple[Any, ...]:
    four, one = tf.TensorSpec((None, 4), tf.float32), tf.TensorSpec((None,), tf.float32)
    return (
        tf.TensorSpec((None, size, size, 3), tf.uint8),
        {"label": tf.TensorSpec((None, neurons), tf.float32), "box": four, "heatmap": four},
        {"label": one, "box": one, "heatmap": one},
    )


def augmented(
    settings: ResolvedLocalizer, crop: np.ndarray, box: np.ndarray, number: int, epoch: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return what an epoch shows of a training sample: `placed`, colour jitter, random erasing.

    Args:
        settings: model input, augmentation, seed.
        crop, box: as for `placed`.
        number: of the sample; with seed and epoch it decides the augmentation.
        epoch: from 0.

    Returns:
        As `placed`.
    """
    rng = np.random.default_rng([settings.seed, epoch, number])
    # Networks that predict in one pass train on full views alone.
    zoomed = settings.model_input.passes > 1 and bool(rng.integers(2))
    image, here = placed(settings, crop, box, zoomed, rng)
    image = augment.colour_jitter(image, settings.augment, rng)
    return augment.random_erasing(image, here, settings.augment, rng), here


def placed(
    settings: Localizer,
    crop: np.ndarray,
    box: np.ndarray,
    zoomed: bool,
    rng: np.random.Generator | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a crop on the model input.

    Args:
        settings: model input and augmentation.
        crop: uint8 (h, w, 3).
        box: of the face, (4,) in rel_xyxy of the crop.
        zoomed: whether to zoom in on the face, or show the full view.
        rng: draws flip, zoom and shift; None draws none.

    Returns:
        The image, uint8 (s, s, 3), and the box in it, (4,) corners in px.
    """
    height, width = crop.shape[:2]
    size = settings.model_input.size
    face = box * [width, height, width, height]
    if zoomed:
        transform = affine.zoom_in(face, size, settings.model_input.target_face_fraction)
    else:
        transform = affine.resizing(width, height, size, settings.model_input.resize_mode)
    if rng is not None:
        here = affine.transformed(face[None], transform)[0]
        how = settings.augment.model_copy(update=ZOOM_JITTER) if zoomed else settings.augment
        transform = augment.place(how, here, size, rng) @ transform
    image = affine.draw(crop, transform, size)
    return image, affine.transformed(face[None], transform)[0]
