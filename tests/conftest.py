"""What several tests start from: drawn scenes and a tiny annotated dataset."""

import cv2
import numpy as np
import pytest
from hypothesis import settings

# The same examples everywhere, however slow the machine.
settings.register_profile("here", deadline=None, derandomize=True)
settings.load_profile("here")

# Files that take minutes, the longest first.
LONG = ["test_reproducible", "test_stages", "test_checkpoint", "test_training", "test_search"]


def pytest_collection_modifyitems(items):
    """The long ones first: no process is left with one when the others have nothing to do."""
    rank = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONG)))


FILE = (
    "<annotation><filename>{name}</filename>"
    "<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    "{objects}</annotation>"
)
OBJECT = (
    "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax>"
    "</bndbox></object>"
)


@pytest.fixture(scope="session")
def draw_scene():
    """A function (seed, width, height) → uint8 RGB photograph of soft blots; no two seeds alike."""

    def draw(seed, width=96, height=64):
        blots = np.random.default_rng(seed).integers(0, 256, (9, 11, 3), np.uint8)
        return cv2.resize(blots, (width, height), interpolation=cv2.INTER_CUBIC)

    return draw


@pytest.fixture(scope="session")
def voc_text():
    """A function (name, width, height, objects) → Pascal-VOC XML; an object is (class, *box)."""

    def text(name, width, height, objects):
        items = "".join(OBJECT.format(*item) for item in objects)
        return FILE.format(name=name, width=width, height=height, objects=items)

    return text


@pytest.fixture
def voc(tmp_path, draw_scene, voc_text):
    """A folder with images/ and annotations/ of three photographs of 96 x 64 px, two faces each."""
    folder = tmp_path / "own"
    for kind in ("images", "annotations"):
        (folder / kind).mkdir(parents=True)
    for seed, name in enumerate(("a", "b", "c")):
        image = draw_scene(seed)
        cv2.imwrite(str(folder / "images" / f"{name}.png"), image[..., ::-1])
        objects = [("with_mask", 10 + seed, 8, 30, 31), ("without_mask", 60, 20, 85, 50 + seed)]
        xml = voc_text(f"{name}.png", 96, 64, objects)
        (folder / "annotations" / f"{name}.xml").write_text(xml)
    return folder


def without_graphs():
    """A toy's few steps take less time than it takes to trace them."""
    import tensorflow as tf  # not for the tests of stages that do without it

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


eager = pytest.fixture(without_graphs)
