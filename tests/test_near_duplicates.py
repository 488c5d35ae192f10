"""Near-duplicates: copies are found whatever was done to them, other faces are not taken for them.

What is done to images here is done by NumPy, Pillow and OpenCV, and boxes follow by hand.
"""

import io

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageEnhance

from facemask.config.data import NearDuplicates
from facemask.data import near_duplicates
from facemask.data.images import thumbnail

COPIES = NearDuplicates(similarity=0.85, crops=False)
CROPS = NearDuplicates(similarity=0.85, crops=True)
WIDTH, HEIGHT = 160, 120
BOX = (60, 30, 109, 89)  # inclusive


def grouped(scenes, how=COPIES):
    """The groups of images (name → pixels, boxes), as a list by their order."""
    images = pd.DataFrame({"image": list(scenes)})
    faces = [
        (name, pixels.shape[1], pixels.shape[0], *box)
        for name, (pixels, boxes) in scenes.items()
        for box in boxes
    ]
    columns = ["image", "width", "height", "xmin", "ymin", "xmax", "ymax"]
    thumbnails = np.stack([thumbnail(np.ascontiguousarray(each)) for each, _ in scenes.values()])
    group = near_duplicates.group(images, pd.DataFrame(faces, columns=columns), thumbnails, how)
    assert group.index.tolist() == list(scenes)
    return group.tolist()


@pytest.fixture(scope="module")
def scenes(draw_scene):
    """Eight images without anything in common, with a face each."""
    return {f"{seed}.png": (draw_scene(seed, WIDTH, HEIGHT), [BOX]) for seed in range(8)}


def corners(x0, y0, x1, y1):
    return [(round(x0), round(y0), round(x1) - 1, round(y1) - 1)]


def moved(point):
    """A function that moves the face's box by moving its corners, points between pixels."""
    x0, y0, x1, y1 = BOX[0], BOX[1], BOX[2] + 1, BOX[3] + 1
    points = np.array([point(x, y) for x, y in ((x0, y0), (x1, y1))])
    return corners(*points.min(axis=0), *points.max(axis=0))


def pillow(change):
    return lambda pixels: np.asarray(change(Image.fromarray(pixels)))


def jpeg(image):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=20)
    return Image.open(file)


def brighter(factor):
    return lambda image: ImageEnhance.Brightness(image).enhance(factor)


SAME = [BOX]
# What is done to an image, and where its face is then.
CHANGES = {
    "nothing": (lambda pixels: pixels, SAME),
    "mirrored": (np.fliplr, moved(lambda x, y: (WIDTH - x, y))),
    "upside down": (np.flipud, moved(lambda x, y: (x, HEIGHT - y))),
    "turned by 180": (
        lambda pixels: np.rot90(pixels, 2), moved(lambda x, y: (WIDTH - x, HEIGHT - y))
    ),
    "turned by 90": (np.rot90, moved(lambda x, y: (y, WIDTH - x))),
    "turned by 270": (lambda pixels: np.rot90(pixels, 3), moved(lambda x, y: (HEIGHT - y, x))),
    "transposed": (lambda pixels: pixels.swapaxes(0, 1), moved(lambda x, y: (y, x))),
    "half as large": (
        pillow(lambda image: image.resize((WIDTH // 2, HEIGHT // 2))),
        moved(lambda x, y: (x / 2, y / 2)),
    ),
    "stretched": (
        pillow(lambda image: image.resize((640, 640))),
        moved(lambda x, y: (x * 640 / WIDTH, y * 640 / HEIGHT)),
    ),
    "compressed": (pillow(jpeg), SAME),
    "darker": (pillow(brighter(0.6)), SAME),
    "brighter": (pillow(brighter(1.3)), SAME),
    "grey": (pillow(lambda image: image.convert("L").convert("RGB")), SAME),
    "with noise": (
        lambda pixels: np.clip(
            pixels + np.random.default_rng(0).normal(0, 5, pixels.shape), 0, 255
        ).astype(np.uint8),
        SAME,
    ),
    "mirrored, compressed, darker": (
        lambda pixels: pillow(brighter(0.7))(pillow(jpeg)(np.fliplr(pixels))),
        moved(lambda x, y: (WIDTH - x, y)),
    ),
}  # fmt: skip
CUT = {
    "cropped to nine tenths": (
        lambda pixels: pixels[4:112, 10:154], moved(lambda x, y: (x - 10, y - 4))
    ),
    "cropped and mirrored": (
        lambda pixels: np.fliplr(pixels[4:112, 10:154]), moved(lambda x, y: (154 - x, y - 4))
    ),
    "turned by 3 degrees": (
        lambda pixels: cv2.warpAffine(
            pixels,
            cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), 3, 1),
            (WIDTH, HEIGHT),
            borderMode=cv2.BORDER_REFLECT,
        ),
        SAME,
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "how"),
    [*((change, COPIES) for change in CHANGES), *((change, CROPS) for change in CUT)],
)
def test_a_copy_is_found_whatever_was_done_to_it(scenes, change, how):
    change_pixels, boxes = (CHANGES | CUT)[change]
    copies = {f"copy {name}": (change_pixels(each), boxes) for name, (each, _) in scenes.items()}
    assert grouped(scenes | copies, how) == [*range(8), *range(8)]


def test_crops_are_not_looked_for_unless_asked_for(scenes):
    change_pixels, boxes = CUT["cropped to nine tenths"]
    copies = {f"copy {name}": (change_pixels(each), boxes) for name, (each, _) in scenes.items()}
    assert len(set(grouped(scenes | copies))) > 8


@pytest.mark.parametrize("how", [COPIES, CROPS])
@pytest.mark.parametrize("background", ["plain", "room"])
def test_other_faces_before_the_same_background_are_no_copies(draw_scene, background, how):
    """A studio and a fixed camera: what differs is the faces."""
    room = draw_scene(99, 400, 300)
    frames = {}
    for seed in range(30):
        frame = np.full_like(room, 255) if background == "plain" else room.copy()
        x, y = (160, 110) if background == "plain" else (20 + 9 * seed, 40 + 5 * seed)
        frame[y : y + 80, x : x + 60] = draw_scene(seed, 60, 80)
        frames[f"{seed}.png"] = frame, [(x, y, x + 59, y + 79)]
    assert grouped(frames, how) == [*range(30)]


def test_copies_of_a_copy_are_of_one_group(scenes):
    """An export of augmented images: each also mirrored, and turned by 180°."""
    several = {}
    for name, (pixels, _) in scenes.items():
        for change in ("nothing", "mirrored", "turned by 180"):
            change_pixels, boxes = CHANGES[change]
            several[f"{name} {change}"] = change_pixels(pixels), boxes
    assert grouped(several) == np.repeat(range(8), 3).tolist()


def test_a_lower_similarity_joins_more(scenes):
    """A face of which another image shows but a part."""
    pixels = scenes["0.png"][0].copy()
    pixels[60:90, 60:110] = scenes["1.png"][0][60:90, 60:110]
    pair = {"a.png": scenes["0.png"], "b.png": (pixels, [BOX])}
    assert grouped(pair, NearDuplicates(similarity=0.95, crops=False)) == [0, 1]
    assert grouped(pair, NearDuplicates(similarity=0.2, crops=False)) == [0, 0]


def test_names_of_augmented_images_tell_their_original(draw_scene):
    """Whatever was done to them; the faces here have nothing in common."""
    names = ["a_jpg.rf.0f3c.jpg", "b_jpg.rf.0f3c.jpg", "a_jpg.rf.77aa.jpg", "a.jpg", "a.png"]
    scenes = {name: (draw_scene(seed), [(9, 9, 40, 40)]) for seed, name in enumerate(names)}
    assert grouped(scenes) == [0, 1, 0, 0, 2]


def test_images_without_faces_and_flat_ones_are_no_copies(draw_scene):
    flat = np.full((60, 80, 3), 128, np.uint8)
    scenes = {
        "empty.png": (draw_scene(0), []),
        "as empty.png": (draw_scene(0), []),
        "flat.png": (flat, [(9, 9, 40, 40)]),
        "as flat.png": (flat, [(9, 9, 40, 40)]),
    }
    assert grouped(scenes) == [0, 1, 2, 3]
    assert grouped({"alone.png": scenes["flat.png"]}, CROPS) == [0]
    assert grouped({"empty.png": scenes["empty.png"]}) == [0]


def test_more_copies_than_neighbours_are_still_one_group(draw_scene):
    scene = draw_scene(0), [(9, 9, 40, 40)]
    assert set(grouped({f"{n}.png": scene for n in range(120)})) == {0}
