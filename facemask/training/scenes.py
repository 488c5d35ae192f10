"""What a detector trains on: square crops of images, mosaics of four, faces pasted into them.

A sample depends on seed, epoch and the image's number alone.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from facemask.config.detector import ResolvedDetector
from facemask.data import affine
from facemask.data.affine import resize
from facemask.data.image_faces import Faces
from facemask.shards import Crops
from facemask.training import augment

NEAR_A_FACE = 0.5  # share of the crops that are cut around a face, of any class alike
LEARNT_SIDES = (12.0, 280.0)  # longer sides that such a face is drawn with, px
AWAY = (0.2, 0.8)  # where in such a crop the centre of the face is, in its sides
VISIBLE = 0.4  # a face that a crop cuts down to less of its area is not learnt
LEAST_SIDE = 3  # px: nor is one that is drawn smaller
CENTRE = (0.35, 0.65)  # where the corners of a mosaic's four parts meet, in its sides
PLAIN = (
    0.15  # share of the epochs, the last, without mosaics and pasted faces (YOLOX, Ge et al. 2021)
)
DONOR_SIDE = 16  # px: smaller faces are not pasted
PASTED = (10.0, 60.0)  # longer sides of pasted faces, px
ENLARGED = 1.5  # times, at most, that a pasted face is larger than it was
MARGIN = 0.25  # around a pasted face, in its sides
MOST_PASTED = 4


class Sample(NamedTuple):
    """A square that a detector sees: pixels, its faces, and boxes (m, 4) that do not count."""

    image: np.ndarray
    faces: Faces
    ignored: np.ndarray


class Scenes(NamedTuple):
    """Packed images, and the faces of each."""

    images: Crops
    faces: Sequence[Faces]


class Pool(NamedTuple):
    """What is mixed into samples: numbers of images, and faces that can be pasted.

    donors: rows of the number of an image, of a face in it, and of its class, (k, 3).
    """

    images: np.ndarray
    donors: np.ndarray


def augmented(
    settings: ResolvedDetector, scenes: Scenes, pool: Pool, number: int, epoch: int
) -> Sample:
    """Return what an epoch shows of a training image: a crop or mosaic, faces pasted, colours.

    Args:
        settings: size of crops, augmentation, epochs, seed.
        scenes: all images.
        pool: of the training images.
        number: of the image; with seed and epoch it decides the augmentation.
        epoch: from 0.
    """
    rng, how = np.random.default_rng([settings.seed, epoch, number]), settings.augment
    size, mixed = settings.crop_size, epoch < (1 - PLAIN) * settings.epochs
    if mixed and rng.random() < how.mosaic:
        sample = _mosaic(settings, scenes, [number, *rng.choice(pool.images, 3)], rng)
    else:
        sample = _crop(settings, scenes, number, (size, size), rng)
    if mixed and len(pool.donors) and rng.random() < how.paste:
        sample = _with_pasted(scenes, pool.donors, sample, rng)
    return sample._replace(image=augment.colour_jitter(sample.image, how, rng))


def pool_of(scenes: Scenes, numbers: np.ndarray) -> Pool:
    """Return what samples of some images are mixed with.

    Faces can be pasted that are large enough, of any class but the commonest, and shown alone.

    Args:
        scenes: all images.
        numbers: of the training images.
    """
    every = [scenes.faces[number] for number in numbers]
    labels = np.concatenate([faces.labels for faces in every])
    common = np.bincount(labels, minlength=1).argmax()
    donors = [
        (number, face, label)
        for number, faces in zip(numbers, every, strict=True)
        for face, label in enumerate(faces.labels)
        if label != common and _can_be_pasted(faces.boxes, face, scenes.images[number].shape)
    ]
    return Pool(numbers, np.array(donors, int).reshape(-1, 3))


def _can_be_pasted(boxes: np.ndarray, face: int, shape: tuple[int, ...]) -> bool:
    """Whether a face is large enough, and its patch shows no other."""
    if (boxes[face, 2:] - boxes[face, :2]).min() < DONOR_SIDE:
        return False
    low, high = _patch(boxes[face], shape)
    shown = (boxes[:, 2:] > low) & (boxes[:, :2] < high)
    return int(shown.all(axis=1).sum()) == 1


def _patch(box: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of what is pasted of a face: its box with a margin, in whole px."""
    sides = box[2:] - box[:2]
    around = box + MARGIN * np.concatenate([-sides, sides])
    low, high = np.split(np.rint(np.clip(around, 0, np.tile(shape[1::-1], 2))).astype(int), 2)
    return low, high


def plain(settings: ResolvedDetector, scenes: Scenes, number: int) -> Sample:
    """Return a crop of an image as a detector of `size` sees it, neither zoomed nor flipped.

    Args:
        settings: size and size of crops; its seed decides where the crop is.
        scenes: all images.
        number: of the image.
    """
    same = settings.augment.model_copy(update={"zoom": (1.0, 1.0), "flip": 0.0})
    how = settings.model_copy(update={"augment": same})
    rng = np.random.default_rng([settings.seed, number])
    return _crop(how, scenes, number, (settings.crop_size, settings.crop_size), rng)


def _crop(
    settings: ResolvedDetector,
    scenes: Scenes,
    number: int,
    sides: tuple[int, int],
    rng: np.random.Generator,
) -> Sample:
    """Draw a part of an image, of `sides` (width and height, px), at some zoom.

    Around a face the zoom is such that faces of all sizes are seen equally often (data-anchor
    sampling of PyramidBox, Tang et al. 2018).
    """
    image, faces = scenes.images[number], scenes.faces[number]
    height, width = image.shape[:2]
    unzoomed = settings.size / max(width, height)
    least, most = settings.augment.zoom
    # An image that is smaller than the canvas would leave most of it empty.
    zooms = max(least, min(most, min(sides) / settings.size)), most
    chosen = None
    if len(faces.labels) and rng.random() < NEAR_A_FACE:
        chosen = faces.boxes[_any_class_alike(faces.labels, rng)]
        side = unzoomed * max(chosen[2:] - chosen[:2])
        zoom = np.clip(_log_uniform(LEARNT_SIDES, rng) / side, *zooms)
    else:
        zoom = _log_uniform(zooms, rng)
    transform = affine.scaling(zoom * unzoomed, zoom * unzoomed)
    if rng.random() < settings.augment.flip:
        transform = transform @ affine.mirror(width)
    drawn, canvas = zoom * unzoomed * np.array([width, height]), np.array(sides)
    # A larger image covers the canvas, a smaller one lies in it.
    low, high = np.minimum(0, canvas - drawn), np.maximum(0, canvas - drawn)
    shift = rng.uniform(low, high)
    if chosen is not None:
        x0, y0, x1, y1 = affine.transformed(chosen[None], transform)[0]
        centre = np.array([x0 + x1, y0 + y1]) / 2
        shift = np.clip(canvas * rng.uniform(*AWAY, 2) - centre, low, high)
    transform = affine.translation(*shift) @ transform
    boxes = affine.transformed(faces.boxes, transform)
    drawing = affine.draw(image, transform, *sides)
    return Sample(drawing, *_visible(Faces(boxes, faces.labels), canvas))


def _log_uniform(bounds: tuple[float, float], rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(*np.log(bounds))))


def _any_class_alike(labels: np.ndarray, rng: np.random.Generator) -> int:
    """Draw a face: first one of the classes, then one of its faces."""
    return int(rng.choice(np.flatnonzero(labels == rng.choice(np.unique(labels)))))


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
    """Draw parts of four images around a point (YOLOv4, Bochkovskiy et al. 2020)."""
    size = settings.crop_size
    x, y = np.rint(size * rng.uniform(*CENTRE, 2)).astype(int)
    image, parts = np.empty((size, size, 3), np.uint8), []
    corners = [(0, 0, x, y), (x, 0, size, y), (0, y, x, size), (x, y, size, size)]
    for number, (x0, y0, x1, y1) in zip(numbers, corners, strict=True):
        part = _crop(settings, scenes, number, (x1 - x0, y1 - y0), rng)
        image[y0:y1, x0:x1] = part.image
        offset = np.array([x0, y0, x0, y0])
        parts.append((part.faces.boxes + offset, part.faces.labels, part.ignored + offset))
    boxes, labels, ignored = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Sample(image, Faces(boxes, labels), ignored)


def _with_pasted(
    scenes: Scenes, donors: np.ndarray, sample: Sample, rng: np.random.Generator
) -> Sample:
    """Paste faces of the rarer classes where no other is (Ghiasi et al. 2021)."""
    sample = sample._replace(image=sample.image.copy())
    for _ in range(rng.integers(1, MOST_PASTED + 1)):
        number, face, _ = donors[_any_class_alike(donors[:, 2], rng)]
        sample = _paste(sample, scenes.images[number], scenes.faces[number], face, rng)
    return sample


def _paste(
    sample: Sample, source: np.ndarray, faces: Faces, face: int, rng: np.random.Generator
) -> Sample:
    """Paste one face, drawn on the sample's own pixels; nothing if its place is taken."""
    box, size = faces.boxes[face], len(sample.image)
    sides = box[2:] - box[:2]
    (x0, y0), (x1, y1) = _patch(box, source.shape)
    patch = source[y0:y1, x0:x1]
    if rng.random() < 0.5:
        patch = cv2.flip(patch, 1)
        box = np.array([x0 + x1 - box[2], box[1], x0 + x1 - box[0], box[3]])
    longest = min(_log_uniform(PASTED, rng), ENLARGED * sides.max())
    scale = longest / sides.max()
    width, height = (max(1, round(scale * side)) for side in patch.shape[1::-1])
    x, y = (int(rng.integers(0, max(1, size - side))) for side in (width, height))
    taken = np.concatenate([sample.faces.boxes, sample.ignored])
    meets = (taken[:, 2:] > [x, y]) & (taken[:, :2] < [x + width, y + height])
    if meets.all(axis=1).any() or max(width, height) > size:
        return sample
    under = sample.image[y : y + height, x : x + width]
    mask = _soft_edges(width, height)
    under[:] = np.rint(mask * resize(patch, width, height) + (1 - mask) * under)
    scales = np.tile([width / (x1 - x0), height / (y1 - y0)], 2)
    here = np.array([x, y, x, y]) + (box - np.array([x0, y0, x0, y0])) * scales
    boxes = np.vstack([sample.faces.boxes, here])
    labels = np.append(sample.faces.labels, faces.labels[face])
    return sample._replace(faces=Faces(boxes, labels))


def _soft_edges(width: int, height: int) -> np.ndarray:
    """Return how much of a patch shows, (h, w, 1): all at its centre, little at its edges."""
    across, down = (np.hanning(side + 2)[1:-1] for side in (width, height))
    return np.clip(2.5 * np.sqrt(np.outer(down, across)), 0, 1)[..., None]
