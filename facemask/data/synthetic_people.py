"""Draw people for the synthetic sample: body, face, hair, clothes and mask.

People are drawn in *face units*: the origin is the centre of the face, 1 is half its width, x
points right and y down. A frame (affine, 2x3) maps face units to pixels of the canvas, which is
twice as wide and high as the final image: scaling it down smooths the edges. A canvas is uint8
RGB; colours are float RGB, 0 to 255. Yaw is in radians, positive towards the right of the image.
Light is the relative change of brightness per face unit to the right.
"""

from functools import partial

import cv2
import numpy as np
from numpy.random import Generator

Array = np.ndarray

# The last six colours of rare masks resemble skin and beards.
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
# Corners in face units, from top to bottom. An outline that starts on the axis is a right half and
# gets mirrored; any other is the right one of a pair. A hair style may have a part behind the head.
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
FOLDS = {"surgical": (0.45, 0.75, 1.05), "cone": (), "cloth": (0.12,)}  # y, face units
# Whether a pattern shows its second colour at u, v (face units).
PATTERNS = (
    lambda u, v: np.sin(16 * v) > 0.2,
    lambda u, v: np.sin(13 * u + 7 * v) > 0.3,
    lambda u, v: np.hypot((4 * u) % 1 - 0.5, (4 * v) % 1 - 0.5) < 0.26,
    lambda u, v: (np.sin(12 * u) > 0) ^ (np.sin(12 * v) > 0),
    lambda u, v: np.sin(9 * u + 2 * np.sin(5 * v)) * np.sin(9 * v + 2 * np.sin(6 * u)) > 0.25,
)


def _rows(text: str) -> list[list[str]]:
    return [row.split(maxsplit=1) for row in text.strip().split("\n")]


def _outline(corners: str) -> Array:
    """Return a closed curve, smoothed by cutting its corners (Chaikin): (points, 2), face units."""
    points = np.array(corners.replace(",", " ").split(), float).reshape(-1, 2)
    if points[0, 0] == 0:
        points = np.vstack([points, points[::-1] * (-1, 1)])
    for _ in range(3):
        after = np.roll(points, -1, axis=0)
        points = np.hstack([0.75 * points + 0.25 * after, 0.25 * points + 0.75 * after])
        points = points.reshape(-1, 2)
    return points


def _oval(x: float, y: float, a: float, b: float, start: float = 0, end: float = 2) -> Array:
    """Return an ellipse of half axes a and b, or an arc: clockwise, angles in multiples of pi."""
    angle = np.linspace(start * np.pi, end * np.pi, 24)
    return np.column_stack([x + a * np.cos(angle), y + b * np.sin(angle)])


COLOURS = {
    name: np.array([list(bytes.fromhex(colour)) for colour in rest.split()], float)
    for name, rest in _rows(PALETTES)
}
BLACK, WHITE, BLUSH, WOOD = COLOURS["plain"]
SHAPES = {name: _outline(corners) for name, corners in _rows(OUTLINES)}


def pick(rng: Generator, palette: str) -> Array:
    """Choose a colour of a palette, a key of COLOURS: float RGB (3,), 0 to 255."""
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
    """Fill a shape (points, 2) in face units; pattern: (index in PATTERNS, second colour)."""
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
    """Draw an open line; line and width in face units. A line too thin to be seen is left out."""
    thickness = width * np.hypot(*frame[:, 0])
    if thickness > 0.45:
        points = _subpixels(_turned(line, yaw) @ frame[:, :2].T + frame[:, 2])
        ink, size = colour.tolist(), max(1, round(thickness))
        cv2.polylines(canvas, [points], False, ink, size, cv2.LINE_AA, 4)


def _subpixels(points: Array) -> Array:
    """Return pixel coordinates as OpenCV's fixed-point numbers with 4 fractional bits."""
    return np.rint(points * 16).astype(np.int32)


def _turned(points: Array, yaw: float) -> Array:
    """Rotate points on a unit sphere by yaw; points that turn out of sight stay on its edge."""
    if not yaw:
        return points
    angle = np.clip(np.arcsin(np.clip(points[:, 0], -1, 1)) + yaw, -np.pi / 2, np.pi / 2)
    return np.column_stack([np.sin(angle), points[:, 1]])


def _pose(rng: Generator, place: Array) -> tuple[float, Array, Array]:
    """Choose how a head is turned: its yaw, and the frames of head and body."""
    x, y, radius = 2 * place
    yaw, tilt = np.clip(rng.normal(0, 0.24, 2), -0.55, 0.55) * (1, 0.45)
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    head, body = (np.column_stack([radius * axes, (x, y)]) for axes in (turn, np.eye(2)))
    return yaw, head, body


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
    """Draw eyes, brows, nose and mouth."""
    fill, stroke = partial(_fill, canvas, head, yaw=yaw), partial(_stroke, canvas, head, yaw=yaw)
    iris, gaze, lid = pick(rng, "eye"), rng.normal(0, 0.05), rng.uniform(0.08, 0.14)
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


def _draw_face(
    canvas: Array, rng: Generator, head: Array, yaw: float, skin: Array, light: float
) -> Array:
    """Draw a face with its features; return its outline (points, 2) in face units."""
    face = SHAPES["face"] * (1, rng.uniform(0.94, 1.06))
    chin, jaw = np.clip(face[:, 1], 0, 1), rng.uniform(-0.1, 0.04)
    face[:, 0] += chin * (jaw * face[:, 0] + 0.3 * np.sin(yaw))
    _fill(canvas, head, face + np.array([0, 0.16]), skin * 0.4, alpha=0.3, light=light)
    _fill(canvas, head, face, skin, light=light - 0.12 * yaw)
    _draw_features(canvas, rng, head, yaw, skin)
    return face


def _draw_scarf(canvas: Array, rng: Generator, body: Array, colour: Array, light: float) -> None:
    up = np.array([0, rng.choice((0, -0.3))])
    _fill(canvas, body, SHAPES["scarf"] + up, colour, light=light)
    _stroke(canvas, body, _oval(0, 1.45, 1.1, 0.4, 0.1, 0.9) + up, colour * 0.75, 0.07)


def _draw_mask(
    canvas: Array, rng: Generator, head: Array, yaw: float, label: str, light: float
) -> None:
    fill, stroke = partial(_fill, canvas, head, yaw=yaw), partial(_stroke, canvas, head, yaw=yaw)
    kind = str(rng.choice(list(FOLDS)))
    colour = pick(rng, rng.choice(("mask", "mask_rare"), p=(0.8, 0.2)))
    second = rng.choice((colour * 0.6, colour * 1.3 + 40, pick(rng, "mask_rare")))
    pattern = (rng.integers(len(PATTERNS)), second) if rng.random() < 0.12 else None
    # An incorrectly worn mask leaves the nose free or hangs on the chin.
    low = rng.choice((0.5, 0.62, 0.98)) if label == "mask_weared_incorrect" else 0.0
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
    rim, dark = pick(rng, "rim"), rng.random() < 0.4
    for x in (-1, 1):
        lens = _oval(0.42 * x, -0.14, 0.32, 0.27)
        _fill(canvas, head, lens, rim * 0.5 if dark else WHITE, yaw, 0.93 if dark else 0.16)
        stroke(lens, rim, 0.055)
        stroke(np.array([(0.74 * x, -0.2), (x, -0.16)]), rim, 0.05)
    stroke(_oval(0, -0.14, 0.12, 0.06, 1, 2), rim, 0.055)


def draw_person(
    canvas: Array, rng: Generator, place: Array, label: str, light: float
) -> tuple[float, ...]:
    """Draw one person on a canvas, in place; return the box of the face, from hairline to chin.

    Args:
        canvas: uint8 RGB (2 * height, 2 * width, 3).
        rng: source of all random choices.
        place: centre x, y and half width of the face (3,), pixels of the final image.
        label: with_mask, without_mask or mask_weared_incorrect.
        light: relative change of brightness per face unit to the right.

    Returns:
        xmin, ymin, xmax, ymax, pixels of the final image, neither rounded nor clipped to it.
    """
    yaw, head, body = _pose(rng, place)
    fill = partial(_fill, canvas, head, light=light)
    skin, hair = pick(rng, "skin") * rng.uniform(0.92, 1.06), pick(rng, "hair")
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
    face = _draw_face(canvas, rng, head, yaw, skin, light)
    if beard and behind is None:
        fill(SHAPES["beard"], hair, yaw=yaw * 0.8, alpha=rng.choice((0.92, 0.5)))
        fill(_oval(0, 0.82, 0.26, 0.08), skin * (0.8, 0.5, 0.5), yaw=yaw)
    if scarf and not veiled:
        _draw_scarf(canvas, rng, body, cloth, light)
    if label != "without_mask":
        _draw_mask(canvas, rng, head, yaw, label, light)
    if glasses:
        _draw_glasses(canvas, rng, head, yaw)
    if style in SHAPES:
        fill(SHAPES[style] + np.array([0.1 * yaw, 0]), hair)
    if headwear and style not in ("veil", "curls", "bun"):
        fill(SHAPES["dome"], hat)
        fill(SHAPES[f"brim_{rng.choice(('cap', 'hat', 'wool'))}"], hat * 0.8)

    seen = (face[face[:, 1] > -0.95] @ head[:, :2].T + head[:, 2]) / 2
    return (*seen.min(0), *seen.max(0))
