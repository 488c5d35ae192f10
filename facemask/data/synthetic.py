"""The embedded sample: photographs of people that the project draws itself, annotated as Kaggle's.

A photograph is a backdrop, people from the farthest to the nearest, then light and lens.
People are drawn in *face units*: the origin is the middle of the face, 1 is half its width, y
points down. A frame (affine, 2x3) takes face units to a canvas of twice the final size, which is
scaled down at the end for clean edges. Colours are RGB, 0..255; light is the relative change of
brightness a face unit to the right.
"""

from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator

Array = np.ndarray


# Palettes. Of the rare masks, the last six lie near the colours of skin and beards.
PALETTES = """
skin ffdfc6 f3c9a6 eab98f d99e73 c4875a a56a42 84502f 633c27 f0c4ae b97a50
hair 1b1716 2e211c 4a2f20 6b452a 9a6a3a c9a063 e3cf9d a23f22 8f8d8b b9b4ac 241f33
eye 3b2417 4a3220 2c1c14 4f6b45 4a6f93
mask 8fc5dd a5d6e4 7fb4d6 9fd0b5 f1f2ee e6ebee f7f7f4
mask_rare 1f2024 2b2c33 8d9299 e9a9b8 2b3d66 b8393c e3b78f c9976c a9744f f0cdb0 7a4c33 3a2a22
cloth 27364f 1d1f24 5b6470 b23a3a d9793d e2b84b 4f7f5a 2f6f73 3f6fa8 7d5a91 c77d8f e6dcc8 \
 c9b79a 6e4a36 46586b 8a5a44 3b3f2f 91302f
rim 17181b 5b3a22 a08040 40464f
sky 8fb4dc a9bfd4 f0cfa6 e3ae96 a3adb8 6f95c8
wall cfc3ae aab4b8 c4ae8e 95a79e a393ad 7d919e cfb0a3 5f6f76 b3b58c
ground 8d8f93 a79f92 6f7378 b9b0a2 75604e
leaf 3f6b35 5f8a3c 86a94a 2f5238 a8b65a c9913f
lamp ffd98a ffb46b ff8f70 8fd0ff fff2cf 9dffcf ff9ad0
plain 141416 faf8f4 e26054 5c4632
"""
# Outlines from top to bottom. One that starts on the axis is a right half, to be mirrored; any
# other is the right one of a pair. A hair style lies over the forehead and may have a part behind.
OUTLINES = """
face 0 -1.5, .75 -1.42, 1.05 -.7, 1.04 .35, .78 1.12, .32 1.46, 0 1.46
nose 0 -.15, .1 .1, .22 .36, .1 .46, 0 .46
beard 0 .42, .42 .5, .8 .15, 1.02 -.25, 1.02 .5, .72 1.25, 0 1.62
neck 0 .6, .8 .6, .6 1.8, 0 2.4
torso 0 1.5, .5 1.62, 1 2, 2.15 2.2, 2.5 3, 2.1 5.5, 2 8.6
shirt 0 1.4, .8 1.7, .2 8.6
lapel .45 1.5, 1.1 2, .75 3.6, .1 5
strap 1 1.9, 1.5 1.9, 1.7 5.2, 1.15 5.2
arm 1.7 2.2, 2.3 2.3, 2.75 3.3, 3 5.4, 2.8 7.7, 2.3 7.7, 2.2 5.2
leg .1 8, 2 8, 1.9 12, 1.7 16.6, .7 16.6, .45 12
scarf 0 1.18, .6 1.2, 1.25 1.35, 1.4 1.9, .9 2.4, 0 2.5
dome 0 -1.86, .85 -1.75, 1.2 -1.1, 1.16 -.62, .6 -.8, 0 -.86
brim_cap 0 -1, .9 -.98, 1.25 -.72, .8 -.62, 0 -.66
brim_hat 0 -1.12, 1.3 -1.2, 2.1 -.95, 1.2 -.7, 0 -.66
brim_wool 0 -1.12, .8 -1.12, 1.2 -.92, 1.2 -.45, .8 -.64, 0 -.66
crop 0 -1.72, .85 -1.62, 1.2 -1, 1.12 -.1, .95 -.75, 0 -.95
quiff 0 -1.85, .95 -1.7, 1.18 -.9, 1.05 -.4, .85 -1, 0 -.8
long 0 -1.72, .9 -1.62, 1.26 -.9, 1.16 .5, .98 -.5, 0 -1.2
long_behind 0 -1.72, 1.1 -1.55, 1.4 -.3, 1.45 1.1, 1.5 2.6, .6 2.7, 0 2
bob 0 -1.75, 1 -1.65, 1.3 -.8, 1.2 .6, .95 -.5, 0 -.62
bob_behind 0 -1.75, 1.2 -1.6, 1.5 -.3, 1.45 .9, 1 1.5, 0 1.5
curls 0 -1.9, .9 -1.75, 1.3 -1, 1.1 -.35, .85 -.95, 0 -1.05
curls_behind 0 -2.25, 1.25 -2.1, 1.9 -1, 1.75 .3, 1 .8, 0 .6
bun 0 -1.68, .85 -1.58, 1.16 -.9, 1.08 -.2, .9 -.8, 0 -1.15
bun_behind 0 -2.6, .62 -2.5, .7 -1.9, .3 -1.5, 0 -1.4
veil 0 -1.8, .95 -1.65, 1.3 -.7, 1.24 .9, 1 .9, 1 -.3, .7 -.85, 0 -.9
veil_behind 0 -1.75, .9 -1.6, 1.3 -.6, 1.25 .9, 1.6 2.2, 1.3 3.1, 0 3.3
surgical 0 0, .35 .02, .7 .24, .94 .3, .92 .8, .66 1.36, 0 1.62
cone 0 -.12, .25 0, .6 .3, .98 .42, .9 .75, .5 1.38, 0 1.66
cloth 0 .02, .4 -.04, .85 .1, 1.06 .1, 1.04 .6, .74 1.32, 0 1.64
"""
STYLES = np.repeat(
    ["crop", "quiff", "long", "bob", "curls", "bun", "bald", "veil"], [3, 2, 3, 2, 1, 2, 1, 1]
)
FOLDS = {"surgical": (0.45, 0.75, 1.05), "cone": (), "cloth": (0.12,)}  # heights
PATTERNS = (
    lambda u, v: np.sin(16 * v) > 0.2,
    lambda u, v: np.sin(13 * u + 7 * v) > 0.3,
    lambda u, v: np.hypot((4 * u) % 1 - 0.5, (4 * v) % 1 - 0.5) < 0.26,
    lambda u, v: (np.sin(12 * u) > 0) ^ (np.sin(12 * v) > 0),
    lambda u, v: np.sin(9 * u + 2 * np.sin(5 * v)) * np.sin(9 * v + 2 * np.sin(6 * u)) > 0.25,
)

# Kinds of photograph in turn: fewest and most people, smallest and largest face width in pixels.
SCENES = (
    *((1, 1, 110, 180), (3, 5, 64, 110), (1, 1, 130, 200), (16, 28, 12, 50), (2, 3, 84, 124)),
    *((1, 1, 60, 150), (2, 3, 80, 130), (12, 24, 12, 60), (1, 1, 120, 180), (3, 6, 50, 100)),
    *((2, 2, 96, 136), (1, 1, 90, 170), (4, 8, 40, 84), (14, 26, 11, 46), (2, 4, 76, 120)),
    (1, 1, 120, 190),
)
SIZES = ((400, 300), (300, 400), (400, 267), (400, 300), (301, 400), (400, 226), (400, 400))
NAMES = ("with_mask", "without_mask", "mask_weared_incorrect")
SHARES = (0.79, 0.97)  # cumulative shares of the first two classes


def _rows(text: str) -> list[list[str]]:
    return [row.split(maxsplit=1) for row in text.strip().split("\n")]


def _outline(corners: str) -> Array:
    """Closed curve, its corners cut (Chaikin)."""
    points = np.array(corners.replace(",", " ").split(), float).reshape(-1, 2)
    if points[0, 0] == 0:
        points = np.vstack([points, points[::-1] * (-1, 1)])
    for _ in range(3):
        after = np.roll(points, -1, axis=0)
        points = np.hstack([0.75 * points + 0.25 * after, 0.25 * points + 0.75 * after])
        points = points.reshape(-1, 2)
    return points


def _oval(x: float, y: float, a: float, b: float, start: float = 0, end: float = 2) -> Array:
    """Ellipse of half axes a and b, or its arc; start and end in multiples of pi, clockwise."""
    angle = np.linspace(start * np.pi, end * np.pi, 24)
    return np.column_stack([x + a * np.cos(angle), y + b * np.sin(angle)])


COLOURS = {
    name: np.array([list(bytes.fromhex(colour)) for colour in rest.split()], float)
    for name, rest in _rows(PALETTES)
}
BLACK, WHITE, BLUSH, WOOD = COLOURS["plain"]
SHAPES = {name: _outline(corners) for name, corners in _rows(OUTLINES)}


def _pick(rng: Generator, palette: str) -> Array:
    return rng.choice(COLOURS[palette])


def _fill(
    canvas: Array,
    frame: Array,
    shape: Array,
    colour: Array,
    yaw: float = 0.0,
    alpha: float = 1.0,
    light: float = 0.0,
    pattern: tuple[np.int64, Array] | None = None,
) -> None:
    """Fill a shape, plain or with a pattern: (index of the pattern, its second colour)."""
    points = _turned(shape, yaw) @ frame[:, :2].T + frame[:, 2]
    low = np.maximum(np.floor(points.min(0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(points.max(0)).astype(int) + 2, canvas.shape[1::-1])
    if (high <= low).any():
        return
    region, points = canvas[low[1] : high[1], low[0] : high[0]], _subpixels(points - low)
    if alpha == 1 and not (light or pattern):
        cv2.fillPoly(region, [points], colour.tolist(), cv2.LINE_AA, 4)
        return
    mask = np.zeros(region.shape[:2], np.uint8)
    cv2.fillPoly(mask, [points], 255, cv2.LINE_AA, 4)
    paint = colour.astype(np.float32)
    if light or pattern:
        back = cv2.invertAffineTransform(frame).astype(np.float32)
        across, down = np.arange(low[0], high[0]), np.arange(low[1], high[1])[:, None]
        u, v = (back[k, 0] * across + back[k, 1] * down + back[k, 2] for k in (0, 1))
        if pattern:
            paint = np.where(PATTERNS[pattern[0]](u, v)[..., None], pattern[1], paint)
        paint = paint * np.clip(1 + light * u, 0.5, 1.3)[..., None]
    paint = np.clip(paint, 0, 255).astype(np.float32)
    region[...] = region + (paint - region) * (mask[..., None] * np.float32(alpha / 255)) + 0.5


def _stroke(
    canvas: Array, frame: Array, line: Array, colour: Array, width: float, yaw: float = 0.0
) -> None:
    """Draw an open line; one too thin to be seen at this size is left out."""
    thickness = width * np.hypot(*frame[:, 0])
    if thickness > 0.45:
        points = _subpixels(_turned(line, yaw) @ frame[:, :2].T + frame[:, 2])
        ink, size = colour.tolist(), max(1, round(thickness))
        cv2.polylines(canvas, [points], False, ink, size, cv2.LINE_AA, 4)


def _subpixels(points: Array) -> Array:
    return np.rint(points * 16).astype(np.int32)


def _turned(points: Array, yaw: float) -> Array:
    """Turn a ball of radius 1 that the points lie on; what turns out of sight stays on its rim."""
    if not yaw:
        return points
    angle = np.clip(np.arcsin(np.clip(points[:, 0], -1, 1)) + yaw, -np.pi / 2, np.pi / 2)
    return np.column_stack([np.sin(angle), points[:, 1]])


def _draw_body(canvas: Array, rng: Generator, frame: Array, skin: Array, light: float) -> None:
    fill = partial(_fill, canvas, frame, light=light / 2)
    top, under, trousers = rng.choice(COLOURS["cloth"], 3, replace=False)
    style, wide = rng.integers(5), np.array([rng.uniform(0.86, 1.12), 1])

    def pair(shape: Array, colour: Array) -> None:
        fill(shape * wide, colour)
        fill(shape * wide * (-1, 1), colour)

    pair(SHAPES["leg"], trousers)
    pair(_oval(1.2, 16.5, 0.75, 0.4), BLACK)
    pair(_oval(2.6, 7.8, 0.3, 0.5), skin)
    pair(SHAPES["arm"], top * 0.86)
    fill(SHAPES["torso"] * wide, top, pattern=(rng.integers(4), under) if style == 0 else None)
    if style in (1, 2):
        fill(SHAPES["shirt"], under)
        pair(SHAPES["lapel"], top * 1.12 + 8)
    elif style == 3:
        pair(SHAPES["strap"], trousers * 0.7)
    fill(_oval(0, 1.82, 0.95, 0.42), top * 0.75 if style else under)
    fill(SHAPES["neck"], skin * 0.84)


def _draw_features(canvas: Array, rng: Generator, head: Array, yaw: float, skin: Array) -> None:
    """Eyes, brows, nose and mouth."""
    fill, stroke = partial(_fill, canvas, head, yaw=yaw), partial(_stroke, canvas, head, yaw=yaw)
    iris, gaze, lid = _pick(rng, "eye"), rng.normal(0, 0.05), rng.uniform(0.08, 0.14)
    brow, lips = rng.uniform(-0.08, 0.05), skin * (0.86, 0.46, 0.46)
    for x in (-0.4, 0.4):
        fill(_oval(x * 1.35, 0.32, 0.26, 0.2), BLUSH, alpha=0.16)
        fill(_oval(x, -0.18, 0.27, 0.2), skin * 0.78, alpha=0.45)
        fill(_oval(x, -0.16, 0.2, lid), WHITE)
        fill(_oval(x + gaze, -0.16, 0.09, min(lid, 0.1)), iris)
        fill(_oval(x + gaze, -0.16, 0.045, 0.05), BLACK)
        fill(_oval(x + gaze + 0.03, -0.2, 0.025, 0.025), WHITE)
        stroke(_oval(x, -0.15, 0.22, lid + 0.02, 1.05, 1.95), skin * 0.28, 0.045)
        stroke(_oval(x, -0.32 + brow, 0.27, 0.14, 1.15, 1.85), skin * 0.33, 0.075)
    fill(SHAPES["nose"], skin * 0.84, alpha=0.6)
    stroke(_oval(0, 0.36, 0.17, 0.1, 0.1, 0.9), skin * 0.6, 0.05)
    fill(_oval(0.02, 0.28, 0.06, 0.08), skin * 1.2 + 20, alpha=0.4)
    smile, wide = rng.uniform(-0.03, 0.14), rng.uniform(0.24, 0.4)
    if rng.random() < 0.35:  # a laugh that shows the teeth
        fill(_oval(0, 0.74, wide, 0.2, 0, 1), lips * 0.6)
        fill(_oval(0, 0.74, wide * 0.85, 0.08, 0, 1), WHITE)
        stroke(_oval(0, 0.74, wide, 0.2, 0, 1), lips, 0.05)
    else:
        fill(_oval(0, 0.82, wide * 0.9, 0.12), lips)
        stroke(_oval(0, 0.8 - smile, wide, smile + 0.02, 0.05, 0.95), lips * 0.6, 0.05)


def _draw_mask(
    canvas: Array, rng: Generator, head: Array, yaw: float, worn: str, light: float
) -> None:
    fill, stroke = partial(_fill, canvas, head, yaw=yaw), partial(_stroke, canvas, head, yaw=yaw)
    kind, colour = (
        str(rng.choice(list(FOLDS))),
        _pick(rng, rng.choice(("mask", "mask_rare"), p=(0.8, 0.2))),
    )
    second = rng.choice((colour * 0.6, colour * 1.3 + 40, _pick(rng, "mask_rare")))
    pattern = (rng.integers(len(PATTERNS)), second) if rng.random() < 0.12 else None
    # Worn wrongly, it leaves the nose free or hangs on the chin.
    low = rng.choice((0.5, 0.62, 0.98)) if worn == "mask_weared_incorrect" else 0.0
    squeeze, drop = np.array([1, 1 - low * 0.36]), np.array([0, low])
    for x in (-1, 1):
        for y, ear in ((0.3, -0.1), (0.85, 0.4)):
            corner = _turned(np.array([(0.88 * x, y)]) * squeeze + drop, yaw)
            strap = np.vstack([corner, (1.04 * x, ear + low * 0.15)])
            _stroke(canvas, head, strap, colour * 0.85, 0.045)
    shape = SHAPES[kind] * squeeze + drop
    fill(shape + np.array([0, 0.07]), BLACK, alpha=0.22)
    fill(shape, colour, light=light - 0.2 * yaw, pattern=pattern)
    seam = np.array([(0, -0.05), (0, 1.6)])
    for fold in [_oval(0, y, 0.84, 0.12, 0.08, 0.92) for y in FOLDS[kind]] or [seam]:
        stroke(fold * squeeze + drop, colour * 0.78, 0.035)
        stroke(fold * squeeze + drop + np.array([0, 0.045]), colour * 1.12 + 8, 0.03)


def _draw_glasses(canvas: Array, rng: Generator, head: Array, yaw: float) -> None:
    stroke = partial(_stroke, canvas, head, yaw=yaw)
    rim, dark = _pick(rng, "rim"), rng.random() < 0.4
    for x in (-1, 1):
        lens = _oval(0.42 * x, -0.14, 0.32, 0.27)
        _fill(canvas, head, lens, rim * 0.5 if dark else WHITE, yaw, 0.93 if dark else 0.16)
        stroke(lens, rim, 0.055)
        stroke(np.array([(0.74 * x, -0.2), (x, -0.16)]), rim, 0.05)
    stroke(_oval(0, -0.14, 0.12, 0.06, 1, 2), rim, 0.055)


def _draw_person(
    canvas: Array, rng: Generator, place: Array, worn: str, light: float
) -> tuple[float, ...]:
    """Draw one person; returns the face from hairline to chin: xmin, ymin, xmax, ymax."""
    x, y, radius = 2 * place
    yaw, tilt = np.clip(rng.normal(0, 0.24, 2), -0.55, 0.55) * (1, 0.45)
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    head, body = (np.column_stack([radius * axes, (x, y)]) for axes in (turn, np.eye(2)))
    fill = partial(_fill, canvas, head, light=light)
    skin, hair = _pick(rng, "skin") * rng.uniform(0.92, 1.06), _pick(rng, "hair")
    style, (cloth, hat) = str(rng.choice(STYLES)), rng.choice(COLOURS["cloth"], 2)
    headwear, glasses, beard, scarf = rng.random(4) < (0.2, 0.2, 0.15, 0.12)

    veiled, behind = style == "veil", SHAPES.get(f"{style}_behind")
    if veiled:
        hair = cloth
        _draw_body(canvas, rng, body, skin, light)
    if behind is not None:
        fill(behind - np.array([0.15 * yaw, 0]), hair * 0.85)
    if not veiled:
        _draw_body(canvas, rng, body, skin, light)
        for ear in (-1.03, 1.03):
            fill(_oval(ear * (1 - 0.1 * abs(yaw)), 0.1, 0.17, 0.3), skin * 0.86)
    face = SHAPES["face"] * (1, rng.uniform(0.94, 1.06))
    chin, jaw = np.clip(face[:, 1], 0, 1), rng.uniform(-0.1, 0.04)
    face[:, 0] += chin * (jaw * face[:, 0] + 0.3 * np.sin(yaw))
    fill(face + np.array([0, 0.16]), skin * 0.4, alpha=0.3)
    fill(face, skin, light=light - 0.12 * yaw)
    _draw_features(canvas, rng, head, yaw, skin)
    if beard and behind is None:
        fill(SHAPES["beard"], hair, yaw=yaw * 0.8, alpha=rng.choice((0.92, 0.5)))
        fill(_oval(0, 0.82, 0.26, 0.08), skin * (0.8, 0.5, 0.5), yaw=yaw)
    if scarf and not veiled:
        up = np.array([0, rng.choice((0, -0.3))])
        _fill(canvas, body, SHAPES["scarf"] + up, cloth, light=light)
        _stroke(canvas, body, _oval(0, 1.45, 1.1, 0.4, 0.1, 0.9) + up, cloth * 0.75, 0.07)
    if worn != "without_mask":
        _draw_mask(canvas, rng, head, yaw, worn, light)
    if glasses:
        _draw_glasses(canvas, rng, head, yaw)
    if style in SHAPES:
        fill(SHAPES[style] + np.array([0.1 * yaw, 0]), hair)
    if headwear and style not in ("veil", "curls", "bun"):
        fill(SHAPES["dome"], hat)
        fill(SHAPES[f"brim_{rng.choice(('cap', 'hat', 'wool'))}"], hat * 0.8)

    seen = (face[face[:, 1] > -0.95] @ head[:, :2].T + head[:, 2]) / 2
    return (*seen.min(0), *seen.max(0))


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
    canvas = _ramp(width, height, _pick(rng, "sky"), WHITE)
    while x < width:
        wide, tall = rng.uniform(36, 96), rng.uniform(0.3, 0.95) * ground
        wall = _pick(rng, "wall") * rng.uniform(0.6, 1.0)
        glass = rng.choice((wall * 0.6, wall * 0.4 + 20, wall * 1.15 + 10))
        _block(canvas, x, ground - tall, wide, tall, wall)
        step, high = rng.uniform(10, 20), rng.uniform(12, 22)
        for left in np.arange(x + 5, x + wide - 6, step):
            for top in np.arange(ground - tall + 7, ground - 18, high):
                pane = _pick(rng, "lamp") if rng.random() < 0.12 else glass
                _block(canvas, left, top, step * 0.55, high * 0.6, pane)
        x += wide + rng.choice((0, 0, 14))
    near, far = rng.choice(COLOURS["ground"], 2)
    canvas[ground:] = _ramp(width, height - ground, far * 1.15, near * 0.8)
    return canvas


def _park(rng: Generator, width: int, height: int) -> Array:
    ground, lawn = int(height * rng.uniform(0.55, 0.8)), _pick(rng, "leaf")
    canvas = _ramp(width, height, _pick(rng, "sky"), WHITE)
    for _ in range(rng.integers(3, 8)):
        (x, y), leaf = rng.uniform((0, 0.15 * ground), (width, 0.75 * ground)), _pick(rng, "leaf")
        _block(canvas, x - 5, y, 10, ground - y + 8, WOOD)
        for dx, dy, size in rng.normal((0, 0, 11), (34, 26, 4), (70, 3)):
            _blob(canvas, x + dx, y + dy, size, leaf * np.clip(0.9 - dy / 120, 0.6, 1.25))
    canvas[ground:] = _ramp(width, height - ground, lawn * 1.25, lawn * 0.8)
    return canvas


def _shop(rng: Generator, width: int, height: int) -> Array:
    tall, board = rng.uniform(38, 70), _pick(rng, "wall") * 0.55
    canvas = _ramp(width, height, _pick(rng, "wall"), _pick(rng, "wall") * 0.7)
    for y in np.arange(rng.uniform(10, tall), height + tall, tall):
        x = rng.uniform(-10, 0)
        while x < width:
            (wide, high), count = (
                rng.uniform((7, 0.4 * tall), (24, 0.85 * tall)),
                rng.integers(1, 5),
            )
            colour = _pick(rng, rng.choice(("cloth", "cloth", "lamp"))) * rng.uniform(0.7, 1)
            for left in x + wide * np.arange(count):
                _block(canvas, left, y - high, wide - 1, high, colour)
                _block(canvas, left, y - high * 0.6, wide - 1, high * 0.25, colour * 0.4 + 150)
            x += wide * count + rng.choice((1, 3, 12))
        _block(canvas, 0, y, width, 5, board)
    return canvas


def _room(rng: Generator, width: int, height: int) -> Array:
    wall, base = _pick(rng, "wall"), height * rng.uniform(0.7, 0.95)
    canvas = _ramp(width, height, wall * 1.08, wall * 0.85)
    for x in np.arange(rng.uniform(-60, 20), width, rng.uniform(70, 150)):
        wide, tall, y = rng.uniform(36, 90), rng.uniform(50, 130), rng.uniform(0, height * 0.4)
        _block(canvas, x, y, wide, tall, rng.choice((WHITE, WOOD, wall * 0.5)))
        _block(canvas, x + 5, y + 5, wide - 10, tall - 10, _pick(rng, "sky"))
        hills = _pick(rng, rng.choice(("leaf", "cloth")))
        _block(canvas, x + 5, y + tall * 0.6, wide - 10, tall * 0.4 - 5, hills)
    _block(canvas, 0, base, width, height, wall * 0.6)
    _block(canvas, 0, base, width, 4, wall * 1.2)
    return canvas


def _night(rng: Generator, width: int, height: int) -> Array:
    canvas = _ramp(width, height, COLOURS["cloth"][rng.integers(2)], _pick(rng, "cloth") * 0.5)
    for _ in range(rng.integers(25, 60)):
        glow = canvas.copy()
        x, y, radius = rng.uniform((0, 0, 4), (width, height, 26))
        _blob(glow, x, y, radius, _pick(rng, "lamp"))
        canvas = ((canvas + glow.astype(np.uint16)) // 2).astype(np.uint8)
    return canvas


BACKDROPS = (_street, _park, _shop, _room, _night)


def _places(rng: Generator, scene: tuple[int, int, int, int], width: int, height: int) -> Array:
    """Where people stand: x, y, radius from the nearest to the farthest, no face much covered."""
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


def _expose(rng: Generator, picture: Array, light: float) -> Array:
    """What lens and light do: sometimes blur; a slope of light, vignette, a tint; grain."""
    if rng.random() < 0.35:  # on 8 bits, where OpenCV gives the same on every processor
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 1.1))
    height, width = picture.shape[:2]
    x, y = np.linspace(-1, 1, width), np.linspace(-1, 1, height)[:, None]
    slope = rng.uniform(0.84, 1.12) * (1 + light * 0.6 * x - 0.07 * (x**2 + y**2))
    lit = picture * slope[..., None] * (1 + rng.normal(0, 0.035, 3))
    grain = rng.standard_normal(picture.shape, np.float32) * rng.uniform(1, 6)
    return np.clip(lit + grain, 0, 255).astype(np.uint8)


def _draw_photograph(seed: int, number: int) -> tuple[Array, list[str], Array]:
    """Photograph (height, width, 3); the classes and the inclusive boxes (faces, 4) in it."""
    rng = np.random.default_rng([seed, number])
    width, height = rng.choice(SIZES).tolist()
    light = rng.choice((-1, 1)) * rng.uniform(0.06, 0.2)
    backdrop = BACKDROPS[rng.integers(len(BACKDROPS))](rng, width, height)
    backdrop = cv2.GaussianBlur(backdrop, (0, 0), rng.uniform(1.0, 4.0))
    canvas = cv2.resize(backdrop, (2 * width, 2 * height))
    places = _places(rng, SCENES[number % len(SCENES)], width, height)
    # A low-discrepancy sequence, so that a few photographs already have the real proportions.
    chance = (seed * 0.569840 + number * 0.618034 + np.arange(len(places)) * 0.754878) % 1
    worn = np.array(NAMES)[np.searchsorted(SHARES, chance, side="right")]
    boxes = np.zeros((len(places), 4))
    for k in reversed(range(len(places))):
        boxes[k] = _draw_person(canvas, rng, places[k], worn[k], light)
    boxes = np.clip(np.rint(boxes), 0, [width - 1, height - 1] * 2).astype(int)
    picture = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    order = rng.permutation(len(places))
    return _expose(rng, picture, light), worn[order].tolist(), boxes[order]


def _photograph(seed: int, number: int) -> tuple[Array, list[str], Array]:
    """As `_draw_photograph`, but one in 15 is an earlier one again, annotated a second time."""
    if number % 15 != 7:
        return _draw_photograph(seed, number)
    picture, names, boxes = _draw_photograph(seed, number - 5)
    if number % 2 == 0:
        picture = cv2.convertScaleAbs(picture, alpha=1, beta=9)  # saved again, a little brighter
    jitter = np.random.default_rng([seed, number]).integers(-1, 2, boxes.shape)
    height, width = picture.shape[:2]
    return picture, names, np.clip(boxes + jitter, 0, [width - 1, height - 1] * 2)


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


def draw_dataset(folder: Path, photographs: int, seed: int = 0) -> None:
    """Draw photographs and annotate them in the layout of Kaggle's face-mask-detection.

    Writes `folder/images/sampleK.png` (8-bit RGB, about 400 pixels on the longer side) and
    `folder/annotations/sampleK.xml` (Pascal VOC; boxes in pixels, 0-based, inclusive) for K from
    0 to photographs - 1. The same seed gives the same bytes, and photograph K does not depend on
    how many are drawn. One photograph in 15 (K = 7, 22, 37, ...) repeats the one five before it,
    exactly or a little brighter, with boxes up to a pixel off.

    Raises ValueError for fewer than one photograph, OSError if a file cannot be written.
    """
    if photographs < 1:
        raise ValueError(f"photographs must be at least 1, not {photographs}")
    for kind in ("images", "annotations"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for number in range(photographs):
        picture, names, boxes = _photograph(seed, number)
        file = folder / "images" / f"sample{number}.png"
        file.write_bytes(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
        objects = "".join(OBJECT.format(name, *box) for name, box in zip(names, boxes, strict=True))
        text = ANNOTATION.format(file.name, *picture.shape[1::-1], objects)
        (folder / "annotations" / f"sample{number}.xml").write_text(text, encoding="utf-8")
