"""The synthetic sample: drawn images of people, annotated like Kaggle's dataset.

An image is a backdrop, then people from the farthest to the nearest, then light and lens. People
are drawn by `facemask.data.synthetic_people` on a canvas of twice the final size.
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator

from facemask.data.synthetic_people import COLOURS, WHITE, WOOD, Array, draw_person, pick

# Scenes in turn: fewest and most people, smallest and largest face width in pixels.
SCENES = (
    *((1, 1, 110, 180), (3, 5, 64, 110), (1, 1, 130, 200), (16, 28, 12, 50), (2, 3, 84, 124)),
    *((1, 1, 60, 150), (2, 3, 80, 130), (12, 24, 12, 60), (1, 1, 120, 180), (3, 6, 50, 100)),
    *((2, 2, 96, 136), (1, 1, 90, 170), (4, 8, 40, 84), (14, 26, 11, 46), (2, 4, 76, 120)),
    (1, 1, 120, 190),
)
# Width and height of an image in pixels.
SIZES = ((400, 300), (300, 400), (400, 267), (400, 300), (301, 400), (400, 226), (400, 400))
CLASSES = ("with_mask", "without_mask", "mask_weared_incorrect")
SHARES = (0.79, 0.97)  # cumulative shares of the first two classes


def _ramp(width: int, height: float, top: Array, bottom: Array) -> Array:
    down = np.linspace(0, 1, int(height))[:, None, None]
    ramp = np.clip(top + (bottom - top) * down, 0, 255)
    return np.repeat(ramp, width, axis=1).astype(np.uint8)


def _block(canvas: Array, x: float, y: float, width: float, height: float, colour: Array) -> None:
    low, high = (round(x), round(y)), (round(x + width) - 1, round(y + height) - 1)
    cv2.rectangle(canvas, low, high, colour.tolist(), -1)


def _blob(canvas: Array, x: float, y: float, radius: float, colour: Array) -> None:
    cv2.circle(canvas, (int(x), int(y)), max(1, int(radius)), colour.tolist(), -1, cv2.LINE_AA)


def _street(rng: Generator, width: int, height: int) -> Array:
    ground, x = int(height * rng.uniform(0.62, 0.85)), -20.0
    canvas = _ramp(width, height, pick(rng, "sky"), WHITE)
    while x < width:
        wide, tall = rng.uniform(36, 96), rng.uniform(0.3, 0.95) * ground
        wall = pick(rng, "wall") * rng.uniform(0.6, 1.0)
        glass = rng.choice((wall * 0.6, wall * 0.4 + 20, wall * 1.15 + 10))
        _block(canvas, x, ground - tall, wide, tall, wall)
        step, high = rng.uniform(10, 20), rng.uniform(12, 22)
        for left in np.arange(x + 5, x + wide - 6, step):
            for top in np.arange(ground - tall + 7, ground - 18, high):
                pane = pick(rng, "lamp") if rng.random() < 0.12 else glass
                _block(canvas, left, top, step * 0.55, high * 0.6, pane)
        x += wide + rng.choice((0, 0, 14))
    near, far = rng.choice(COLOURS["ground"], 2)
    canvas[ground:] = _ramp(width, height - ground, far * 1.15, near * 0.8)
    return canvas


def _park(rng: Generator, width: int, height: int) -> Array:
    ground, lawn = int(height * rng.uniform(0.55, 0.8)), pick(rng, "leaf")
    canvas = _ramp(width, height, pick(rng, "sky"), WHITE)
    for _ in range(rng.integers(3, 8)):
        (x, y), leaf = rng.uniform((0, 0.15 * ground), (width, 0.75 * ground)), pick(rng, "leaf")
        _block(canvas, x - 5, y, 10, ground - y + 8, WOOD)
        for dx, dy, size in rng.normal((0, 0, 11), (34, 26, 4), (70, 3)):
            _blob(canvas, x + dx, y + dy, size, leaf * np.clip(0.9 - dy / 120, 0.6, 1.25))
    canvas[ground:] = _ramp(width, height - ground, lawn * 1.25, lawn * 0.8)
    return canvas


def _shop(rng: Generator, width: int, height: int) -> Array:
    tall, board = rng.uniform(38, 70), pick(rng, "wall") * 0.55
    canvas = _ramp(width, height, pick(rng, "wall"), pick(rng, "wall") * 0.7)
    for y in np.arange(rng.uniform(10, tall), height + tall, tall):
        x = rng.uniform(-10, 0)
        while x < width:
            wide, high = rng.uniform((7, 0.4 * tall), (24, 0.85 * tall))
            count = rng.integers(1, 5)
            colour = pick(rng, rng.choice(("cloth", "cloth", "lamp"))) * rng.uniform(0.7, 1)
            for left in x + wide * np.arange(count):
                _block(canvas, left, y - high, wide - 1, high, colour)
                _block(canvas, left, y - high * 0.6, wide - 1, high * 0.25, colour * 0.4 + 150)
            x += wide * count + rng.choice((1, 3, 12))
        _block(canvas, 0, y, width, 5, board)
    return canvas


def _room(rng: Generator, width: int, height: int) -> Array:
    wall, base = pick(rng, "wall"), height * rng.uniform(0.7, 0.95)
    canvas = _ramp(width, height, wall * 1.08, wall * 0.85)
    for x in np.arange(rng.uniform(-60, 20), width, rng.uniform(70, 150)):
        wide, tall, y = rng.uniform(36, 90), rng.uniform(50, 130), rng.uniform(0, height * 0.4)
        _block(canvas, x, y, wide, tall, rng.choice((WHITE, WOOD, wall * 0.5)))
        _block(canvas, x + 5, y + 5, wide - 10, tall - 10, pick(rng, "sky"))
        hills = pick(rng, rng.choice(("leaf", "cloth")))
        _block(canvas, x + 5, y + tall * 0.6, wide - 10, tall * 0.4 - 5, hills)
    _block(canvas, 0, base, width, height, wall * 0.6)
    _block(canvas, 0, base, width, 4, wall * 1.2)
    return canvas


def _night(rng: Generator, width: int, height: int) -> Array:
    canvas = _ramp(width, height, COLOURS["cloth"][rng.integers(2)], pick(rng, "cloth") * 0.5)
    for _ in range(rng.integers(25, 60)):
        glow = canvas.copy()
        x, y, radius = rng.uniform((0, 0, 4), (width, height, 26))
        _blob(glow, x, y, radius, pick(rng, "lamp"))
        canvas = ((canvas + glow.astype(np.uint16)) // 2).astype(np.uint8)
    return canvas


BACKDROPS = (_street, _park, _shop, _room, _night)


def _places(rng: Generator, scene: tuple[int, int, int, int], width: int, height: int) -> Array:
    """Choose faces: centre x, y and half width (people, 3), in pixels, from the nearest on.

    Someone whose face would be largely hidden in each of 60 random positions is left out.
    """
    fewest, most, smallest, largest = scene
    count, (low, high) = rng.integers(fewest, most + 1), np.log([smallest, largest])
    places, taken = np.empty((0, 3)), np.empty((0, 4))
    for logarithm in -np.sort(-rng.uniform(low, high, count)):
        radius = np.exp(logarithm) / 2
        near = 1.0 if count == 1 else (logarithm - low) / (high - low)
        for _ in range(60):
            margin = rng.choice((0, 0.4, 1.3), p=(0.06, 0.1, 0.84)) * radius
            x = margin + (width - 2 * margin) * rng.beta(*((3, 3) if count == 1 else (1, 1)))
            y = height * (0.16 + 0.34 * near + rng.normal(0, 0.07))
            y = np.clip(y, 1.5 * radius, max(height - 1.3 * radius, 1.5 * radius))
            face, head, body = (
                np.array((x, y) * 2) + radius * np.array(extent)
                for extent in ((-1, -1, 1, 1.4), (-1.3, -1.7, 1.3, 2), (-2.8, 2, 2.8, 99))
            )
            size = np.minimum(face[2:], taken[:, 2:]) - np.maximum(face[:2], taken[:, :2])
            if np.maximum(size, 0).prod(1).sum() < 0.3 * (face[2:] - face[:2]).prod():
                places = np.vstack([places, (x, y, radius)])
                taken = np.vstack([taken, head, body])
                break
    return places


def _expose(rng: Generator, image: Array, light: float) -> Array:
    """Add the effects of lens, light and sensor: blur, light gradient, vignette, tint, noise."""
    if rng.random() < 0.35:  # on 8 bits, where OpenCV gives equal results on all processors
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 1.1))
    height, width = image.shape[:2]
    x, y = np.linspace(-1, 1, width), np.linspace(-1, 1, height)[:, None]
    gain = rng.uniform(0.84, 1.12) * (1 + light * 0.6 * x - 0.07 * (x**2 + y**2))
    lit = image * gain[..., None] * (1 + rng.normal(0, 0.035, 3))
    noise = rng.standard_normal(image.shape, np.float32) * rng.uniform(1, 6)
    return np.clip(lit + noise, 0, 255).astype(np.uint8)


def _draw_image(seed: int, number: int) -> tuple[Array, list[str], Array]:
    """Return an image, uint8 RGB (height, width, 3), its classes and inclusive boxes (faces, 4)."""
    rng = np.random.default_rng([seed, number])
    width, height = rng.choice(SIZES).tolist()
    light = rng.choice((-1, 1)) * rng.uniform(0.06, 0.2)
    backdrop = BACKDROPS[rng.integers(len(BACKDROPS))](rng, width, height)
    backdrop = cv2.GaussianBlur(backdrop, (0, 0), rng.uniform(1.0, 4.0))
    canvas = cv2.resize(backdrop, (2 * width, 2 * height))
    places = _places(rng, SCENES[number % len(SCENES)], width, height)
    # A low-discrepancy sequence, so that a few images already have the real class proportions.
    chance = (seed * 0.569840 + number * 0.618034 + np.arange(len(places)) * 0.754878) % 1
    labels = np.array(CLASSES)[np.searchsorted(SHARES, chance, side="right")]
    boxes = np.zeros((len(places), 4))
    for k in reversed(range(len(places))):
        boxes[k] = draw_person(canvas, rng, places[k], labels[k], light)
    boxes = np.clip(np.rint(boxes), 0, [width - 1, height - 1] * 2).astype(int)
    image = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    order = rng.permutation(len(places))
    return _expose(rng, image, light), labels[order].tolist(), boxes[order]


def _sample(seed: int, number: int) -> tuple[Array, list[str], Array]:
    """As `_draw_image`, but one image in 15 repeats an earlier one, annotated a second time."""
    if number % 15 != 7:
        return _draw_image(seed, number)
    image, labels, boxes = _draw_image(seed, number - 5)
    if number % 2 == 0:
        image = cv2.convertScaleAbs(image, alpha=1, beta=9)  # saved again, a little brighter
    jitter = np.random.default_rng([seed, number]).integers(-1, 2, boxes.shape)
    height, width = image.shape[:2]
    return image, labels, np.clip(boxes + jitter, 0, [width - 1, height - 1] * 2)


ANNOTATION = """
<annotation>
    <folder>images</folder>
    <filename>{}</filename>
    <size>
        <width>{}</width>
        <height>{}</height>
        <depth>3</depth>
    </size>
    <segmented>0</segmented>{}
</annotation>"""
OBJECT = """
    <object>
        <name>{}</name>
        <pose>Unspecified</pose>
        <truncated>0</truncated>
        <occluded>0</occluded>
        <difficult>0</difficult>
        <bndbox>
            <xmin>{}</xmin>
            <ymin>{}</ymin>
            <xmax>{}</xmax>
            <ymax>{}</ymax>
        </bndbox>
    </object>"""


def draw_dataset(folder: Path, images: int, seed: int = 0) -> None:
    """Draw images and annotate them in the layout of Kaggle's face-mask-detection dataset.

    Writes `folder/images/sampleK.png` (8-bit RGB, about 400 pixels on the longer side) and
    `folder/annotations/sampleK.xml` (Pascal VOC; boxes in pixels, 0-based, inclusive) for K from
    0 to images - 1. The same seed gives the same bytes, and image K does not depend on how many
    are drawn. One image in 15 (K = 7, 22, 37, ...) repeats the one five before it, exactly or a
    little brighter, with boxes up to a pixel off.

    Args:
        folder: created if missing; files of the same names are overwritten.
        images: how many to draw, at least 1.
        seed: of the random numbers, 0 or more.

    Raises:
        ValueError: fewer than one image.
        OSError: a file cannot be written.
    """
    if images < 1:
        raise ValueError(f"images must be at least 1, not {images}")
    for kind in ("images", "annotations"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for number in range(images):
        image, labels, boxes = _sample(seed, number)
        file = folder / "images" / f"sample{number}.png"
        file.write_bytes(cv2.imencode(".png", image[..., ::-1])[1].tobytes())
        faces = zip(labels, boxes, strict=True)
        objects = "".join(OBJECT.format(label, *box) for label, box in faces)
        text = ANNOTATION.format(file.name, *image.shape[1::-1], objects)
        (folder / "annotations" / f"sample{number}.xml").write_text(text, encoding="utf-8")
