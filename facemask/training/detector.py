"""Train a detector on square crops of images, drawn anew in every epoch."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from facemask.columns import WITHOUT
from facemask.config.detector import ResolvedDetector
from facemask.data import affine
from facemask.data.arrays import Crops
from facemask.data.image_faces import Faces
from facemask.models.backbones import build_application
from facemask.models.detector import build_detector, stride
from facemask.models.detector_losses import CellLoss, HeatmapFocalLoss, QualityCrossEntropy
from facemask.models.losses import box_loss, label_loss
from facemask.models.study_networks import in_precision
from facemask.training import augment, checkpoint, heatmaps, loop

THREADS = 2  # that draw samples while TensorFlow computes
NEAR_A_FACE = 0.5  # share of the crops that are cut around a face, of any class alike
VISIBLE = 0.4  # a face that a crop cuts down to less of its area is not learnt
LEAST_SIDE = 3  # px: nor is one that is drawn smaller
CENTRE = (0.35, 0.65)  # where the corners of a mosaic's four parts meet, in sides of it


class Sample(NamedTuple):
    """A square that a detector sees: pixels, its faces, and boxes where it does not matter."""

    image: np.ndarray
    faces: Faces
    ignored: np.ndarray


class Scenes(NamedTuple):
    """Packed images, and the faces of each."""

    images: Crops
    faces: Sequence[Faces]


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
    everything = np.concatenate([np.column_stack(faces).ravel() for faces in scenes.faces])
    about = splits.assign(faces=[len(faces.labels) for faces in scenes.faces])
    inputs = np.concatenate([scenes.images.pixels, everything.astype(np.float32).view(np.uint8)])
    folder = checkpoint.state_folder(state, checkpoint.digest(inputs, about, once))
    train_rows, val_rows = (
        splits.loc[splits["split"] == part, "sample"].to_numpy() for part in ("train", "val")
    )
    return loop.fit(
        settings,
        lambda steps: compiled(settings, steps, -(-len(train_rows) // settings.batch_size)),
        lambda log: (
            batches(settings, scenes, train_rows, lambda: log.epoch),
            batches(settings, scenes, val_rows, None),
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
    epoch: Callable[[], int] | None,
) -> tf.data.Dataset:
    """Return a dataset of (images, targets), the last batch smaller.

    Args:
        settings: size of crops, augmentation, classes and their weights, batch size, seed.
        scenes: all images.
        numbers: of the images that are drawn.
        epoch: returns the current epoch, in which each image is drawn once; seed, epoch and the
            image's number decide how. None: for validation, always the same.
    """
    application, _, _ = build_application(settings.application, None, "random")
    cell = stride(settings, application)
    minority = donors(settings, scenes, numbers) if epoch else np.zeros((0, 2), int)
    of_class = [getattr(settings.class_weights, meaning) for meaning in settings.classes.values()]

    def draw(number: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        if epoch:
            sample = augmented(settings, scenes, numbers, number, epoch(), minority)
        else:
            rng = np.random.default_rng([settings.seed, number])
            sample = plain(settings, scenes, number, rng)
        size, ones = settings.crop_size, np.ones(len(sample.faces.labels))
        maps = heatmaps.targets(*sample.faces, ones, sample.ignored, size, cell, of_class)
        return sample.image, maps

    def read() -> Iterator[tuple[Any, ...]]:
        order = numbers
        if epoch:
            order = np.random.default_rng([settings.seed, epoch()]).permutation(numbers)
        with ThreadPoolExecutor(THREADS) as pool:
            for start in range(0, len(order), settings.batch_size):
                drawn = list(pool.map(draw, order[start : start + settings.batch_size]))
                yield (
                    np.stack([image for image, _ in drawn]),
                    {name: np.stack([maps[name] for _, maps in drawn]) for name in drawn[0][1]},
                )

    signature = _signature(settings.crop_size, settings.crop_size // cell, len(of_class))
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


def augmented(
    settings: ResolvedDetector,
    scenes: Scenes,
    numbers: np.ndarray,
    number: int,
    epoch: int,
    minority: np.ndarray,
) -> Sample:
    """Return what an epoch shows of a training image: a crop or mosaic, faces pasted, colours.

    Args:
        settings: size of crops, augmentation, seed.
        scenes: all images.
        numbers: of the images that a mosaic is made of.
        number: of the image; with seed and epoch it decides the augmentation.
        epoch: from 0.
        minority: faces that may be pasted, (k, 2): number of the image and of the face in it.
    """
    rng, how = np.random.default_rng([settings.seed, epoch, number]), settings.augment
    size = settings.crop_size
    if rng.random() < how.mosaic:
        sample = _mosaic(settings, scenes, [number, *rng.choice(numbers, 3)], rng)
    else:
        sample = _crop(settings, scenes, number, (size, size), rng)
    if len(minority) and rng.random() < how.paste:
        sample = _pasted(scenes, sample, minority, rng)
    return sample._replace(image=augment.colour_jitter(sample.image, how, rng))


def plain(
    settings: ResolvedDetector, scenes: Scenes, number: int, rng: np.random.Generator
) -> Sample:
    """Return a crop of an image as a detector of `size` sees it, neither zoomed nor flipped."""
    same = settings.augment.model_copy(update={"zoom": (1.0, 1.0), "flip": 0.0})
    how = settings.model_copy(update={"augment": same})
    return _crop(how, scenes, number, (settings.crop_size, settings.crop_size), rng)


def _crop(
    settings: ResolvedDetector,
    scenes: Scenes,
    number: int,
    sides: tuple[int, int],
    rng: np.random.Generator,
) -> Sample:
    """Draw a part of an image, of `sides` (width and height, px), at some zoom."""
    image, faces = scenes.images[number], scenes.faces[number]
    height, width = image.shape[:2]
    zoom = np.exp(rng.uniform(*np.log(settings.augment.zoom)))
    scale = zoom * settings.size / max(width, height)
    transform = affine.scaling(scale, scale)
    if rng.random() < settings.augment.flip:
        transform = transform @ affine.mirror(width)
    drawn, canvas = scale * np.array([width, height]), np.array(sides)
    # A larger image covers the canvas, a smaller one lies in it.
    low, high = np.minimum(0, canvas - drawn), np.maximum(0, canvas - drawn)
    shift = rng.uniform(low, high)
    if len(faces.labels) and rng.random() < NEAR_A_FACE:
        label = rng.choice(np.unique(faces.labels))
        face = rng.choice(np.flatnonzero(faces.labels == label))
        x0, y0, x1, y1 = affine.transformed(faces.boxes[face, None], transform)[0]
        centre = np.array([x0 + x1, y0 + y1]) / 2
        shift = np.clip(canvas * rng.uniform(0.2, 0.8, 2) - centre, low, high)
    transform = affine.translation(*shift) @ transform
    return Sample(
        affine.draw(image, transform, *sides),
        *_visible(Faces(affine.transformed(faces.boxes, transform), faces.labels), canvas),
    )


def _visible(faces: Faces, canvas: np.ndarray) -> tuple[Faces, np.ndarray]:
    """Cut faces off at the edges of a canvas: those that are learnt, and boxes of the others."""
    clipped = np.clip(faces.boxes, 0, np.tile(canvas, 2))
    sides, whole = clipped[:, 2:] - clipped[:, :2], faces.boxes[:, 2:] - faces.boxes[:, :2]
    seen = sides.prod(axis=1) / whole.prod(axis=1)
    learnt = (seen >= VISIBLE) & (sides.min(axis=1) >= LEAST_SIDE)
    cut = (seen > 0) & ~learnt
    return Faces(clipped[learnt], faces.labels[learnt]), clipped[cut]


def _mosaic(
    settings: ResolvedDetector, scenes: Scenes, numbers: Sequence[int], rng: np.random.Generator
) -> Sample:
    """Draw parts of four images around a point (Bochkovskiy et al. 2020, YOLOv4)."""
    size = settings.crop_size
    x, y = np.rint(size * rng.uniform(*CENTRE, 2)).astype(int)
    image, parts = np.empty((size, size, 3), np.uint8), []
    corners = [(0, 0, x, y), (x, 0, size, y), (0, y, x, size), (x, y, size, size)]
    for number, (x0, y0, x1, y1) in zip(numbers, corners, strict=True):
        part = _crop(settings, scenes, number, (x1 - x0, y1 - y0), rng)
        image[y0:y1, x0:x1] = part.image
        offset = np.array([x0, y0, x0, y0])
        faces = Faces(part.faces.boxes + offset, part.faces.labels)
        parts.append(Sample(image, faces, part.ignored + offset))
    boxes, labels = (np.concatenate(each) for each in zip(*(p.faces for p in parts), strict=True))
    return Sample(image, Faces(boxes, labels), np.concatenate([part.ignored for part in parts]))


def donors(settings: ResolvedDetector, scenes: Scenes, numbers: np.ndarray) -> np.ndarray:
    """Faces without a mask that are large enough to be pasted: image and number, (k, 2)."""
    bare = [number for number, each in enumerate(settings.classes.values()) if each == WITHOUT]
    found = [
        (number, face)
        for number in numbers
        for face, box in enumerate(scenes.faces[number].boxes)
        if scenes.faces[number].labels[face] in bare and min(box[2:] - box[:2]) >= DONOR_SIDE
    ]
    return np.array(found, int).reshape(-1, 2)


DONOR_SIDE = 16  # px
PASTED = (10.0, 60.0)  # sides of pasted faces, px
MARGIN = 0.25  # around a pasted face, in its sides


def _pasted(
    scenes: Scenes, sample: Sample, minority: np.ndarray, rng: np.random.Generator
) -> Sample:
    """Paste some faces where no other is (Ghiasi et al. 2021), softly."""
    image, faces = sample.image.copy(), sample.faces
    size = len(image)
    for number, face in minority[rng.choice(len(minority), rng.integers(1, 5))]:
        source, box = scenes.images[number], scenes.faces[number].boxes[face]
        sides = box[2:] - box[:2]
        around = np.clip(
            np.rint(box + np.concatenate([-MARGIN * sides, MARGIN * sides])),
            0,
            np.tile(source.shape[1::-1], 2),
        ).astype(int)
        patch = source[around[1] : around[3], around[0] : around[2]]
        longest = np.exp(rng.uniform(*np.log(PASTED)))
        scale = min(longest, 1.5 * sides.max()) / sides.max()
        width, height = np.maximum(np.rint(scale * np.array(patch.shape[1::-1])), 4).astype(int)
        x, y = rng.integers(0, [size - width, size - height])
        here = np.array([x, y, x, y]) + (box - np.tile(around[:2], 2)) * np.tile(
            [width, height] / np.array(patch.shape[1::-1]), 2
        )
        whole = np.array([x, y, x + width, y + height])
        others = np.concatenate([faces.boxes, sample.ignored])
        if (
            (np.minimum(others[:, 2:], whole[2:]) > np.maximum(others[:, :2], whole[:2]))
            .all(1)
            .any()
        ):
            continue
        flip = rng.random() < 0.5
        patch = cv2.resize(
            patch[:, ::-1] if flip else patch,
            (int(width), int(height)),
            interpolation=cv2.INTER_AREA,
        )
        if flip:
            here[[0, 2]] = x + x + width - here[[2, 0]]
        across, down = (np.hanning(n + 2)[1:-1] for n in (width, height))
        mask = np.clip(2.5 * np.outer(down, across) ** 0.5, 0, 1)[..., None]
        under = image[y : y + height, x : x + width]
        image[y : y + height, x : x + width] = np.rint(mask * patch + (1 - mask) * under)
        faces = Faces(
            np.vstack([faces.boxes, here]),
            np.append(faces.labels, scenes.faces[number].labels[face]),
        )
    return Sample(image, faces, sample.ignored)
