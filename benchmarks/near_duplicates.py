"""Which copies of an image are found, and which images are wrongly taken for copies?

python -m benchmarks.near_duplicates, after `dvc repro parse`: on the dataset of params.yaml.
"""

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from benchmarks.common import report
from facemask.columns import BOX
from facemask.config.data import NearDuplicates
from facemask.data import near_duplicates
from facemask.data.decode import read_rgb
from facemask.data.images import thumbnail
from stages.common import DATA, RAW

IMAGES, FACES = 150, 60  # of each change, and on one background
SIMILARITY = 0.85
HALF_OPEN = np.array([0, 0, 1, 1])  # of inclusive boxes
# Pixels of an image or a copy, and the boxes of its faces: half-open, (n, 4) px.
Scene = tuple[np.ndarray, np.ndarray]
Change = Callable[[np.ndarray], np.ndarray]


def pixelwise(change: Change) -> Callable[[Scene], Scene]:
    """Return a change that leaves faces where they are."""
    return lambda scene: (change(scene[0]), scene[1])


def warped(matrix: Callable[[int, int], np.ndarray]) -> Callable[[Scene], Scene]:
    """Return a change by an affine map (2, 3) that depends on width and height."""

    def change(scene: Scene) -> Scene:
        pixels, boxes = scene
        height, width = pixels.shape[:2]
        return cv2.warpAffine(pixels, matrix(width, height), (width, height)), boxes

    return change


def rotated(degrees: float) -> Callable[[Scene], Scene]:
    """Return a rotation around the centre; boxes stay, as small rotations hardly move them."""
    return warped(
        lambda width, height: cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    )


def cropped(share: float) -> Callable[[Scene], Scene]:
    """Return a crop of that share of both sides, somewhere in the image."""

    def change(scene: Scene) -> Scene:
        pixels, boxes = scene
        rng = np.random.default_rng(pixels.size)
        sides = np.array(pixels.shape[1::-1])
        kept = np.rint(share * sides).astype(int)
        low = rng.integers(0, sides - kept + 1)
        left = np.clip(boxes - np.tile(low, 2), 0, np.tile(kept, 2))
        left = left[(left[:, 2:] > left[:, :2]).all(axis=1)]
        (x, y), (width, height) = low, kept
        return pixels[y : y + height, x : x + width], left

    return change


def mirrored(scene: Scene) -> Scene:
    """Mirror left to right."""
    pixels, boxes = scene
    width = pixels.shape[1]
    x0, y0, x1, y1 = boxes.T
    return pixels[:, ::-1], np.stack([width - x1, y0, width - x0, y1], axis=1)


def quarter_turn(scene: Scene) -> Scene:
    """Turn by 90° anticlockwise."""
    pixels, boxes = scene
    width = pixels.shape[1]
    x0, y0, x1, y1 = boxes.T
    return np.rot90(pixels), np.stack([y0, width - x1, y1, width - x0], axis=1)


def scaled(factor: float) -> Callable[[Scene], Scene]:
    """Return a change of size."""

    def change(scene: Scene) -> Scene:
        pixels, boxes = scene
        smaller = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        return smaller, boxes * np.tile(np.array(smaller.shape[1::-1]) / pixels.shape[1::-1], 2)

    return change


def compressed(quality: int) -> Change:
    """Return JPEG compression."""

    def change(pixels: np.ndarray) -> np.ndarray:
        options = [cv2.IMWRITE_JPEG_QUALITY, quality]
        encoded = cv2.imencode(".jpg", pixels[..., ::-1], options)[1]
        return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB))

    return change


def levels(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Return a change of values from 0 to 1."""
    return lambda pixels: (change(pixels / 255).clip(0, 1) * 255).astype(np.uint8)


def hue(degrees: int) -> Change:
    """Return a rotation of all hues."""

    def change(pixels: np.ndarray) -> np.ndarray:
        hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0].astype(int) + degrees // 2) % 180
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)

    return change


def grey(pixels: np.ndarray) -> np.ndarray:
    """Take the colour out."""
    return cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def noisy(pixels: np.ndarray) -> np.ndarray:
    """Add noise with a standard deviation of 25 of 255."""
    noise = np.random.default_rng(pixels.size).normal(0, 25, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def together(*changes: Callable[[Scene], Scene]) -> Callable[[Scene], Scene]:
    """Return one change after another."""

    def change(scene: Scene) -> Scene:
        for each in changes:
            scene = each(scene)
        return scene

    return change


JITTER = (pixelwise(levels(lambda v: 0.7 * v)), pixelwise(hue(20)), pixelwise(compressed(40)))
CHANGES: Mapping[str, Callable[[Scene], Scene]] = {
    "mirrored": mirrored,
    "turned by 90°": quarter_turn,
    "half the size": scaled(0.5),
    "a quarter of the size": scaled(0.25),
    "JPEG of quality 10": pixelwise(compressed(10)),
    "brightness x 0.5": pixelwise(levels(lambda v: 0.5 * v)),
    "brightness x 1.5": pixelwise(levels(lambda v: 1.5 * v)),
    "gamma 0.5": pixelwise(levels(np.sqrt)),
    "gamma 2": pixelwise(levels(np.square)),
    "hues rotated by 90°": pixelwise(hue(90)),
    "grey": pixelwise(grey),
    "noise of 10 %": pixelwise(noisy),
    "blur of 2 px": pixelwise(lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 2)),
    "blur of 4 px": pixelwise(lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 4)),
    "mirrored, darker, other hues, JPEG": together(mirrored, *JITTER),
    "crop of 98 %": cropped(0.98),
    "crop of 95 %": cropped(0.95),
    "crop of 90 %": cropped(0.9),
    "crop of 85 %": cropped(0.85),
    "crop of 80 %": cropped(0.8),
    "crop of 70 %": cropped(0.7),
    "crop of 90 %, mirrored, darker, other hues, JPEG": together(cropped(0.9), mirrored, *JITTER),
    "turned by 2°": rotated(2),
    "turned by 5°": rotated(5),
    "turned by 10°": rotated(10),
}


def dataset() -> dict[str, Scene]:
    """Return the images of the workspace that have faces."""
    faces = pd.read_csv(DATA / "annotations.csv")
    return {
        str(name): (read_rgb(RAW / "images" / str(name)), rows[BOX].to_numpy() + HALF_OPEN)
        for name, rows in tqdm(faces.groupby("image"), "read", unit="image")
    }


def groups(scenes: Mapping[str, Scene], crops: bool) -> pd.Series:
    """Return the group of each scene by its name."""
    tables = []
    for name, (pixels, boxes) in scenes.items():
        table = pd.DataFrame(boxes - HALF_OPEN, columns=BOX)
        tables.append(table.assign(image=name, width=pixels.shape[1], height=pixels.shape[0]))
    thumbnails = np.stack(
        [thumbnail(np.ascontiguousarray(pixels)) for pixels, _ in scenes.values()]
    )
    images = pd.DataFrame({"image": list(scenes)})
    how = NearDuplicates(similarity=SIMILARITY, crops=crops)
    return near_duplicates.group(images, pd.concat(tables), thumbnails, how)


def found(scenes: Mapping[str, Scene], change: Callable[[Scene], Scene], crops: bool) -> float:
    """Return the share of images whose changed copies are in their group."""
    copies = {f"copy of {name}": change(scene) for name, scene in scenes.items()}
    copies = {name: (pixels, boxes) for name, (pixels, boxes) in copies.items() if len(boxes)}
    group = groups({**scenes, **copies}, crops)
    return float(np.mean([group[name] == group[name.removeprefix("copy of ")] for name in copies]))


def on_one_background(faces: list[np.ndarray], background: np.ndarray, moving: bool) -> list[Scene]:
    """Return images of one background with another face in each, in the centre or anywhere."""
    rng, made = np.random.default_rng(0), []
    height, width = background.shape[:2]
    side = min(height, width) // 4
    for face in faces:
        pixels = background.copy()
        x, y = (
            rng.integers(0, [width - side, height - side])
            if moving
            else ((width - side) // 2, (height - side) // 2)
        )
        pixels[y : y + side, x : x + side] = cv2.resize(
            face, (side, side), interpolation=cv2.INTER_AREA
        )
        made.append((pixels, np.array([[x, y, x + side, y + side]])))
    return made


def wrong(scenes: list[Scene], crops: bool) -> int:
    """Return how many images of different faces are in a group with another."""
    group = groups({str(number): scene for number, scene in enumerate(scenes)}, crops)
    return int((group.map(group.value_counts()) > 1).sum())


def largest_faces(scenes: Mapping[str, Scene]) -> list[np.ndarray]:
    """Return the largest face of each of the images that have the largest ones."""
    faces = []
    for pixels, boxes in scenes.values():
        x0, y0, x1, y1 = max(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
        faces.append(pixels[y0:y1, x0:x1])
    return sorted(faces, key=lambda face: -face.shape[0] * face.shape[1])[:FACES]


def main() -> None:
    """Print both tables and write them to results/."""
    every = dataset()
    names = np.random.default_rng(0).permutation(list(every))
    joined = {crops: groups(every, crops) for crops in (False, True)}
    # Of images in a group, copies would be found for another one.
    alone = joined[True][~joined[True].duplicated(keep=False)]
    some = {name: every[name] for name in [each for each in names if each in alone.index][:IMAGES]}
    rows = [
        {"copy": name, **{str(crops): found(some, change, crops) for crops in (False, True)}}
        for name, change in tqdm(CHANGES.items(), "copies")
    ]
    faces = largest_faces(some)
    room = next(iter(some.values()))[0]
    backgrounds = {
        "on white": on_one_background(faces, np.full((400, 400, 3), 255, np.uint8), False),
        "before a fixed camera": on_one_background(faces, room, True),
    }
    wrongly = [
        {"faces": name, **{str(crops): wrong(made, crops) for crops in (False, True)}}
        for name, made in backgrounds.items()
    ]
    members = {
        str(crops): [", ".join(rows.index) for _, rows in group.groupby(group) if len(rows) > 1]
        for crops, group in joined.items()
    }
    about: dict[str, Any] = {"images": len(every), "copied": len(some), "faces": len(faces)}
    report("near_duplicates", rows, "", **about, joined=members, wrong=wrongly)


if __name__ == "__main__":
    main()
