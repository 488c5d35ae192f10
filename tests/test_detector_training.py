"""Detectors in training: the samples and targets they get, that trainings go on, what is kept."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from toys import packed_crops

from facemask import params
from facemask.config.detector import ResolvedDetector
from facemask.data.affine import PADDING
from facemask.data.image_faces import Faces
from facemask.models.detector import stride
from facemask.training import checkpoint, detector, scenes
from facemask.training.scenes import LEAST_SIDE, PLAIN, VISIBLE, Scenes, plain, pool_of

ROOT = Path(__file__).parents[1]
BASE = params.read(ROOT).detectors["detector"].model_dump()
CLASSES = {"with_mask": "with_mask", "without_mask": "without_mask", "other": "with_mask"}
SIZE, CELL = 64, 8
BRIGHT = 150
LEVEL = "last"
STILL = {
    "flip": 0.5, "zoom": [0.5, 1.5], "brightness": 0, "contrast": 0, "saturation": 0, "hue": 0,
    "blur": 0, "jpeg": 0, "mosaic": 0, "paste": 0,
}  # fmt: skip


def settings(augment=None, **changes):
    entry = BASE | {"feature_levels": [LEVEL], "freeze_until": LEVEL, "channels": 8, "seed": 3}
    entry |= {"size": 128, "crop_size": SIZE, "batch_size": 2, "epochs": 100}
    entry |= {"application": "Small", "weights": "random", "classes": CLASSES}
    entry["class_weights"] = {"without_mask": 1.5, "other": 2}
    return ResolvedDetector.model_validate(entry | changes | {"augment": STILL | (augment or {})})


# Sides of images, and faces: x, y, width, height, class, which is the colour that it is bright in.
IMAGES = [
    ((160, 120), [(20, 20, 30, 40, 0), (70, 60, 50, 40, 0), (100, 10, 20, 20, 1)]),
    ((90, 140), [(20, 30, 30, 30, 1), (60, 90, 12, 30, 0)]),
    ((60, 50), [(10, 10, 24, 24, 2), (40, 20, 8, 8, 0)]),
    ((128, 128), []),
    ((200, 60), [(10, 20, 16, 20, 0), (60, 20, 20, 20, 0), (150, 5, 40, 50, 0)]),
]


def scenes_of(folder, images=IMAGES):
    """Dark images with faces that are bright in the colour of their class."""
    pixels, every = [], []
    for (width, height), faces in images:
        image = np.zeros((height, width, 3), np.uint8)
        for x, y, wide, high, label in faces:
            image[y : y + high, x : x + wide, label] = 255
        pixels.append(image)
        table = np.array(faces, float).reshape(-1, 5)
        boxes = np.column_stack([table[:, :2], table[:, :2] + table[:, 2:4]])
        every.append(Faces(boxes, table[:, 4].astype(int)))
    return Scenes(packed_crops(folder, pixels), every)


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    return scenes_of(tmp_path_factory.mktemp("whole"))


NUMBERS = np.arange(len(IMAGES))


def augmented(chosen, toys, numbers, number, epoch):
    return scenes.augmented(chosen, toys, pool_of(toys, numbers), number, epoch)


def drawn(chosen, toys, epochs=range(12)):
    return [
        augmented(chosen, toys, NUMBERS, number, epoch) for number in NUMBERS for epoch in epochs
    ]


def covered(boxes, by):
    """The pixels that are, wholly, in boxes that are larger by some px on each side."""
    mask = np.zeros((SIZE, SIZE), bool)
    for x0, y0, x1, y1 in boxes + np.array([-by, -by, by, by]):
        rows, columns = ((np.arange(SIZE) >= low) & (np.arange(SIZE) + 1 <= high)
                         for low, high in ((y0, y1), (x0, x1)))  # fmt: skip
        mask |= rows[:, None] & columns
    return mask


def check_pixels(sample):
    """Bright pixels are in the boxes, and boxes are full of them, to 1.5 px."""
    assert (sample.image.shape, sample.image.dtype) == ((SIZE, SIZE, 3), np.uint8)
    faces, ignored = sample.faces, sample.ignored
    # The padding is grey: bright in all three colours alike.
    image = sample.image.astype(int)
    for label in range(3):
        bright = image[..., label] > BRIGHT
        own = faces.boxes[faces.labels == label]
        assert not (bright & ~covered(np.concatenate([own, ignored]), 1.5)).any()
        assert not (covered(own, -1.5) & ~bright).any()
    assert not (covered(ignored, -1.5) & (image.max(axis=-1) < BRIGHT)).any()
    assert (faces.boxes >= 0).all() and (faces.boxes <= SIZE).all()
    assert ((faces.boxes[:, 2:] - faces.boxes[:, :2]) >= LEAST_SIDE).all()


@pytest.mark.parametrize("mosaic", [0, 1])
def test_boxes_follow_pixels(toys, mosaic):
    samples = drawn(settings({"mosaic": mosaic}), toys)
    for sample in samples:
        check_pixels(sample)
    counts = [len(sample.faces.labels) for sample in samples]
    assert sum(counts) > len(samples)
    assert any(len(sample.ignored) for sample in samples)
    assert {label for sample in samples for label in sample.faces.labels} == {0, 1, 2}


def test_validation_is_neither_zoomed_nor_flipped_and_always_the_same(toys):
    chosen = settings()
    for number in NUMBERS:
        sample = plain(chosen, toys, number)
        check_pixels(sample)
        again = plain(chosen, toys, number)
        np.testing.assert_array_equal(sample.image, again.image)
        np.testing.assert_array_equal(sample.faces.boxes, again.faces.boxes)
        width, height = IMAGES[number][0]
        scale = max(128 / max(width, height), 0.5)
        sides = toys.faces[number].boxes[:, 2:] - toys.faces[number].boxes[:, :2]
        inside = sample.faces.boxes.min(axis=1) > 0
        inside &= sample.faces.boxes.max(axis=1) < SIZE
        for box in sample.faces.boxes[inside]:
            found = box[2:] - box[:2]
            assert np.isclose(found, scale * sides).all(axis=1).any()


@pytest.mark.parametrize("mosaic", [0, 1])
def test_an_image_that_is_large_enough_covers_a_crop(toys, mosaic):
    chosen = settings({"mosaic": mosaic})
    square = np.array([3])
    for epoch in range(30):
        image = augmented(chosen, toys, square, 3, epoch).image
        padding = (image > 100).all(axis=-1)  # at the rims it is mixed with the image
        assert padding.sum() == 0
    # Of a narrow one there is padding beside it.
    narrow = plain(chosen, toys, 4).image
    assert (narrow == PADDING).all(axis=-1).mean() > 0.3


def test_faces_that_are_cut_off_are_ignored(tmp_path):
    """Of a grid of faces of one size, so that of each is known how much there is to see."""
    faces = [(x, y, 18, 18, 0) for x in range(5, 230, 30) for y in range(5, 230, 30)]
    chosen, grid = settings(), scenes_of(tmp_path, [((256, 256), faces)])
    whole = 9.0**2  # drawn with half its size
    shares = {"learnt": [], "ignored": []}
    for seed in range(40):
        sample = plain(chosen.model_copy(update={"seed": seed}), grid, 0)
        check_pixels(sample)
        for kind, boxes in (("learnt", sample.faces.boxes), ("ignored", sample.ignored)):
            shares[kind] += ((boxes[:, 2:] - boxes[:, :2]).prod(axis=1) / whole).tolist()
    assert VISIBLE <= min(shares["learnt"]) < VISIBLE + 0.1
    assert 0 < max(shares["ignored"]) < VISIBLE
    assert min(shares["ignored"]) > 0 and max(shares["learnt"]) == pytest.approx(1)


def key(sample):
    return sample.image.tobytes(), sample.faces.boxes.tobytes(), sample.ignored.tobytes()


def test_a_sample_depends_on_seed_epoch_and_number_alone(toys):
    chosen = settings(BASE["augment"])
    asked = [(number, epoch) for number in NUMBERS for epoch in (0, 1, 5)]

    def draw(each):
        return key(augmented(chosen, toys, NUMBERS, *each))

    first = [draw(each) for each in asked]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(draw, asked)) == first
        assert list(pool.map(draw, asked[::-1])) == first[::-1]
    assert len(set(first)) == len(first)
    other = settings(BASE["augment"], seed=4)
    assert key(augmented(other, toys, NUMBERS, *asked[0])) != first[0]


def test_the_last_epochs_are_without_mosaics_and_pasted_faces(toys):
    mixed, simple = settings({"mosaic": 1, "paste": 1}), settings()
    last = range(int((1 - PLAIN) * 100), 100, 3)
    for one, other in zip(drawn(mixed, toys, last), drawn(simple, toys, last), strict=True):
        assert key(one) == key(other)
    before = range(int((1 - PLAIN) * 100) - 3, int((1 - PLAIN) * 100))
    pairs = zip(drawn(mixed, toys, before), drawn(simple, toys, before), strict=True)
    assert all(key(one) != key(other) for one, other in pairs)


def overlaps(box, others):
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    return ((high - low) > 0).all(axis=1).any()


def test_pasted_faces_are_of_rarer_classes_where_no_other_is(toys):
    pasted = []
    one, other = (drawn(settings({"paste": paste}), toys, range(30)) for paste in (1, 0))
    pairs = zip(one, other, strict=True)
    for with_pasted, without in pairs:
        check_pixels(with_pasted)
        count = len(without.faces.labels)
        boxes, labels = with_pasted.faces
        np.testing.assert_array_equal(boxes[:count], without.faces.boxes)
        np.testing.assert_array_equal(labels[:count], without.faces.labels)
        np.testing.assert_array_equal(with_pasted.ignored, without.ignored)
        for number in range(count, len(labels)):
            taken = np.concatenate([boxes[:number], with_pasted.ignored])
            assert not overlaps(boxes[number], taken)
        # Where none was pasted, nothing has changed but at its margins.
        changed = (with_pasted.image != without.image).any(axis=-1)
        margin = scenes.MARGIN * (boxes[count:, 2:] - boxes[count:, :2]).max(initial=0) + 2
        assert not (changed & ~covered(boxes[count:], margin)).any()
        pasted += labels[count:].tolist()
    assert set(pasted) == {1, 2}
    # Classes alike, not faces: of two and one.
    assert 0.3 < np.mean(np.array(pasted) == 1) < 0.7
    assert len(pasted) > 30


def test_faces_that_can_be_pasted_are_large_of_rarer_classes_and_alone_in_their_patch(tmp_path):
    common = [(0, 0, 20, 20, 0), (0, 100, 20, 20, 0)]
    rare = [(60, 60, 20, 20, 1), (60, 120, 15, 30, 1), (120, 60, 16, 16, 2)]
    # A margin of 5 px around the face of 20 px: the next one begins in it, or just beyond it.
    for gap, alone in ((4, False), (6, True)):
        images = [((60, 60), []), ((200, 200), [*common, *rare, (80 + gap, 60, 9, 9, 0)])]
        folder = tmp_path / str(gap)
        folder.mkdir()
        pool = pool_of(scenes_of(folder, images), np.arange(2))
        donors = [[1, 2, 1], [1, 4, 2]] if alone else [[1, 4, 2]]
        assert pool.donors.tolist() == donors
    assert len(pool_of(scenes_of(tmp_path, images[:1]), np.arange(1)).donors) == 0


def test_without_a_rarer_class_nothing_is_pasted(tmp_path):
    alike = scenes_of(tmp_path, [((60, 60), [(10, 10, 20, 20, 1)]), ((80, 60), [])])
    numbers = np.arange(2)
    for number in numbers:
        one, other = (
            augmented(settings({"paste": paste}), alike, numbers, number, 0) for paste in (0, 1)
        )
        assert key(one) == key(other)
    none = scenes_of(tmp_path, [((60, 60), []), ((80, 60), [])])
    sample = augmented(settings({"paste": 1, "mosaic": 1}), none, numbers, 0, 0)
    assert len(sample.faces.labels) == len(sample.ignored) == 0


def small_application(name, size, weights):
    """Stands for an application of Keras, which takes seconds to build: two convolutions."""
    assert (name, size, weights) == ("Small", None, "random")
    keras.utils.set_random_seed(1)
    inputs = keras.Input((size, size, 3))
    conv = keras.layers.Conv2D
    x = conv(8, 5, strides=4, padding="same", activation="relu", name="first")(inputs)
    x = conv(16, 3, strides=2, padding="same", activation="relu", name=LEVEL)(x)
    return keras.Model(inputs, x), keras.layers.Rescaling(1 / 127.5, offset=-1), weights


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(detector, "build_application", small_application)


def gathered(batches):
    images, maps = zip(*batches.as_numpy_iterator(), strict=True)
    return images, {name: np.concatenate([each[name] for each in maps]) for name in maps[0]}


@pytest.mark.usefixtures("small")
def test_validation_batches_are_every_image_in_order(toys):
    chosen = settings()
    numbers = np.array([4, 0, 2, 1, 3])
    images, maps = gathered(detector.batches(chosen, toys, numbers, CELL, None))
    assert [len(batch) for batch in images] == [2, 2, 1]
    expected = [plain(chosen, toys, number) for number in numbers]
    np.testing.assert_array_equal(np.concatenate(images), [sample.image for sample in expected])
    for number, sample in enumerate(expected):
        for box, label in zip(*sample.faces, strict=True):
            column, row = ((box[:2] + box[2:]) / 2 // CELL).astype(int)
            assert maps["heatmap"][number, row, column] == 1
            np.testing.assert_allclose(maps["box"][number, row, column, :4], box, rtol=1e-6)
            assert maps["label"][number, row, column, :3].argmax() == label
            share = maps["label"][number, row, column, 3] / maps["box"][number, row, column, 4]
            assert share == pytest.approx([1, 1.5, 2][label], rel=1e-5)
        for x0, y0, x1, y1 in sample.ignored / CELL:
            rows, columns = slice(int(y0), int(np.ceil(y1))), slice(int(x0), int(np.ceil(x1)))
            cells = maps["heatmap"][number, rows, columns]
            assert cells.size and ((cells == -1) | (cells > 0)).all()
    again, _ = gathered(detector.batches(chosen, toys, numbers, CELL, None))
    np.testing.assert_array_equal(np.concatenate(again), np.concatenate(images))


@pytest.mark.usefixtures("small")
def test_training_batches_are_every_image_once_in_an_order_of_the_epoch(toys):
    chosen = settings(BASE["augment"])

    def epoch(number, batch_size=2):
        other = chosen.model_copy(update={"batch_size": batch_size})
        images, _ = gathered(detector.batches(other, toys, NUMBERS, CELL, lambda: number))
        return [image.tobytes() for image in np.concatenate(images)]

    orders = set()
    for number in (2, 3, 4):
        alone = [augmented(chosen, toys, NUMBERS, n, number).image.tobytes() for n in NUMBERS]
        order = [alone.index(image) for image in epoch(number)]
        assert sorted(order) == NUMBERS.tolist()
        orders.add(tuple(order))
        assert epoch(number, 3) == epoch(number)
    assert len(orders) > 1


class Stop(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.usefixtures("eager", "small")
def test_a_stopped_training_makes_what_it_would_have_made(toys, tmp_path, monkeypatch):
    chosen = settings(BASE["augment"], epochs=4)
    parts = ["train", "val", "train", "train", "train"]
    splits = pd.DataFrame({"sample": NUMBERS, "split": parts})

    def train(name, *callbacks):
        return detector.train(
            chosen, toys, splits, tmp_path / f"{name}.keras", tmp_path / name, callbacks
        )

    whole = train("whole")
    assert list(whole["epoch"]) == [1, 2, 3, 4]
    for head in ("heatmap_", "box_", "label_", "quality_", ""):
        for part in ("", "val_"):
            assert np.isfinite(whole[f"{part}{head}loss"]).all()
    monkeypatch.setattr(checkpoint, "SECONDS", 0)
    for epoch in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            train("stopped", Stop(epoch))
    assert not (tmp_path / "stopped.keras").exists()
    pd.testing.assert_frame_equal(
        train("stopped").drop(columns="seconds"), whole.drop(columns="seconds")
    )
    assert (tmp_path / "stopped.keras").read_bytes() == (tmp_path / "whole.keras").read_bytes()
    model = keras.saving.load_model(tmp_path / "whole.keras", compile=False)
    assert model.predict_on_batch(np.zeros((1, 32, 64, 3)))["label"].shape == (1, 4, 8, 3)


@pytest.mark.usefixtures("small")
def test_all_four_losses_are_learnt(toys):
    rate = {"name": "adamw", "learning_rate": 0.02, "weight_decay": 0.0, "options": {}}
    chosen = settings(optimizer=rate, batch_size=5)
    model = detector.compiled(chosen, 1, 1)
    ((images, maps),) = detector.batches(chosen, toys, NUMBERS, stride(model), None)
    first = model.train_on_batch(images, maps, return_dict=True)
    for _ in range(80):
        model.reset_metrics()
        last = model.train_on_batch(images, maps, return_dict=True)
    for head in ("heatmap", "box", "label"):
        assert last[f"{head}_loss"] < 0.6 * first[f"{head}_loss"]
    # It is never less than the entropy of the overlap itself.
    assert last["quality_loss"] < first["quality_loss"]


@pytest.mark.usefixtures("eager", "small")
def test_other_faces_make_another_training(toys, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SECONDS", 0)
    chosen = settings(epochs=2)
    splits = pd.DataFrame(
        {"sample": NUMBERS, "split": ["train", "train", "val", "unused", "unused"]}
    )

    def state_of(faces):
        with pytest.raises(KeyboardInterrupt):
            detector.train(
                chosen,
                toys._replace(faces=faces),
                splits,
                tmp_path / "model.keras",
                tmp_path / "state",
                [Stop(1)],
            )
        return {folder.name for folder in (tmp_path / "state").iterdir()}

    first = list(toys.faces)
    moved = [Faces(first[0].boxes + 1, first[0].labels), *first[1:]]
    assert state_of(first) == state_of(first) != state_of(moved)
