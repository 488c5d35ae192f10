"""Localizers: what they are shown, that answers find back to the crop, and that trainings go on."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from facemask import params
from facemask.config import Localizer
from facemask.data.arrays import Crops, own_shapes
from facemask.inference.localizer import agreement, answer, predict, together
from facemask.models import boxes
from facemask.schema import true_boxes
from facemask.training import localizer

ROOT = Path(__file__).parents[1]
SIZE = 64
SPLITS = ["train"] * 16 + ["val"] * 4 + ["test"] * 4


def settings(**changes):
    entry = params.read(ROOT).localizers["localizer"].model_dump()
    entry |= {"canvas": {"size": SIZE, "fit": "letterbox", "closer": 0.4, "looks": 2}, "width": 8}
    entry |= {"batch_size": 8, "epochs": 2}
    return Localizer.model_validate(entry | changes)


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """Grey crops of several proportions with a square in each: red without a mask, else blue."""
    rng = np.random.default_rng(0)
    rows, images = [], []
    for number, split in enumerate(SPLITS):
        width, height = (int(side) for side in rng.integers(40, 90, 2))
        side = int(rng.integers(12, 24))
        x, y = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
        image = np.full((height, width, 3), 90, np.uint8)
        image[y : y + side, x : x + side] = (0, 0, 255) if number % 2 else (255, 0, 0)
        images.append(image)
        rows.append((number, 0, 0, width, height, x, y, x + side, y + side, number % 2, split))
    names = ["sample", "x0", "y0", "x1", "y1", "box_x0", "box_y0", "box_x1", "box_y1", "label"]
    splits = pd.DataFrame(rows, columns=[*names, "split"]).assign(image="a.png", face=0, flip=0)
    folder = tmp_path_factory.mktemp("own")
    np.save(folder / "pixels.npy", np.concatenate([image.ravel() for image in images]))
    shapes, _ = own_shapes(splits, 1000)
    pd.DataFrame(shapes, columns=["width", "height"]).to_csv(folder / "shapes.csv", index=False)
    return Crops(folder), splits


def colours(image):
    """The corners of the coloured square on a canvas, in parts of it, and whether it is blue."""
    red, blue = ((image[..., c].astype(int) - image[..., 2 - c]) > 60 for c in (0, 2))
    y, x = np.nonzero(red | blue)
    corners = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]) / len(image)
    return corners, blue.sum() > red.sum()


STILL = {
    "flip": 0.5, "zoom": [0.8, 1.2], "shift": 0.1, "brightness": 0, "contrast": 0, "saturation": 0,
    "hue": 0, "blur": 0, "jpeg": 0, "cutout": 0, "cutout_mouth": 0,
}  # fmt: skip


@pytest.mark.parametrize("seed", [None, 0, 1, 2])
@pytest.mark.parametrize("close", [False, True])
@pytest.mark.parametrize("fit", ["letterbox", "stretch"])
def test_the_box_of_a_view_is_where_the_face_is_seen(toys, fit, close, seed):
    crops, splits = toys
    chosen = settings(canvas={"size": SIZE, "fit": fit, "closer": 0.4, "looks": 2}, augment=STILL)
    for number, true in enumerate(true_boxes(splits)):
        rng = None if seed is None else np.random.default_rng([seed, number])
        image, box = localizer.view(chosen, crops[number], true, close, rng)
        corners, blue = colours(image)
        assert blue == splits["label"][number]
        np.testing.assert_allclose(box, corners, atol=1.2 / SIZE)
        if close and seed is None:
            assert max(box[2:] - box[:2]) == pytest.approx(0.4)


def looks(batches):
    images, answers, weights = zip(*batches.as_numpy_iterator(), strict=True)
    heads = ("label", "box", "cells")
    return np.concatenate(images), *(
        {head: np.concatenate([each[head] for each in part]) for head in heads}
        for part in (answers, weights)
    )


def test_validation_looks_at_every_sample_from_afar_and_closer(toys):
    crops, splits = toys
    weighted = settings(class_weights={"with_mask": 1, "without_mask": 3})
    images, answers, weights = looks(localizer.batches(weighted, crops, splits, 0, None))
    assert len(images) == 2 * len(splits)
    np.testing.assert_array_equal(answers["label"][:, 0], [*splits["label"], *splits["label"]])
    np.testing.assert_array_equal(answers["box"], answers["cells"])
    far, close = np.split(answers["box"], 2)
    assert (far[:, 2:] - far[:, :2]).max() < (close[:, 2:] - close[:, :2]).max()
    for image, box in zip(images, answers["box"], strict=True):
        np.testing.assert_allclose(box, colours(image)[0], atol=1.2 / SIZE)
    assert all((values == 1).all() for values in weights.values())


@pytest.mark.parametrize("epoch", [None, lambda: 1])
def test_closer_looks_are_off_the_middle_without_augmentation_too(toys, epoch):
    crops, splits = toys
    still = STILL | {"flip": 0, "zoom": [1, 1], "shift": 0}
    _, answers, _ = looks(localizer.batches(settings(augment=still), crops, splits, 0, epoch))
    box = answers["box"]
    side, middle = (box[:, 2:] - box[:, :2]).max(axis=1), (box[:, 2:] + box[:, :2]) / 2
    close = side > 0.27  # from afar faces take less of the canvas
    assert close.sum() > 5
    assert (np.abs(middle[close] - 0.5).max(axis=1) > 0.02).mean() > 0.8
    assert side[close].std() > 0.03


def test_training_shows_other_views_in_an_order_of_the_epoch(toys):
    crops, splits = toys
    weighted = settings(class_weights={"with_mask": 1, "without_mask": 3})

    def epoch(number):
        return looks(localizer.batches(weighted, crops, splits, 7, lambda: number))

    (one, answers, weights), (again, *_), (other, others, _) = epoch(1), epoch(1), epoch(2)
    assert len(one) == len(splits)
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(
        np.sort(one.mean(axis=(1, 2, 3))), np.sort(other.mean(axis=(1, 2, 3)))
    )
    assert not np.array_equal(answers["label"], others["label"])
    np.testing.assert_array_equal(weights["label"], np.where(answers["label"][:, 0] == 1, 1, 3))
    assert (weights["box"] == 1).all()


class Seer:
    """Stands for a model: says what can be seen on a canvas, and a little less from afar."""

    input_shape = (None, SIZE, SIZE, 3)

    def __init__(self, blur):
        self.blur, self.seen = blur, []

    def predict_on_batch(self, images):
        corners, blue = map(np.stack, zip(*map(colours, images), strict=True))
        self.seen.append(corners)
        if len(self.seen) <= 2:
            corners = corners + self.blur
        told = {"box": corners, "label": blue[:, None].astype(float)}
        return told | {"cells": np.zeros((len(images), 4))}


@pytest.mark.parametrize("fit", ["letterbox", "stretch"])
def test_answers_are_boxes_of_the_crop_from_the_closer_look(toys, fit):
    crops, splits = toys
    chosen = settings(canvas={"size": SIZE, "fit": fit, "closer": 0.4, "looks": 2})
    seer = Seer(blur=np.array([-0.03, 0.02, 0.02, 0.03]))
    found = answer(seer, [crops[n] for n in range(len(splits))], chosen)
    label, box, agreement = found
    true = true_boxes(splits)
    np.testing.assert_array_equal(label[:, 0], splits["label"])
    np.testing.assert_allclose(box, true, atol=0.02)
    assert (agreement > 0.8).all()
    first = seer.seen[2]
    assert 0.2 < (first[:, 2:] - first[:, :2]).max(axis=1).mean() < 0.6  # looked at closer


def test_corners_do_not_leave_the_crop(toys):
    crops, _ = toys
    _, box, _ = answer(Beyond(), [crops[0]], settings())
    np.testing.assert_array_equal(box, [[0, 0, 1, 1]])


class Beyond:
    input_shape = (None, SIZE, SIZE, 3)

    def predict_on_batch(self, images):
        box = np.tile([-1.0, -1, 2, 2], (len(images), 1))
        return {"box": box, "label": np.ones((1, 1)), "cells": np.zeros((len(images), 4))}


def test_boxes_of_two_faces_are_not_mixed():
    near = np.array([[0.0, 0, 10, 10], [2, 0, 12, 10]])
    far = np.array([[0.0, 0, 10, 10], [30, 0, 50, 10]])
    corners = np.stack([near, far, far], axis=1)
    sure = np.array([[0.9, 0.9, 0.1], [0.2, 0.2, 0.3]])
    np.testing.assert_array_equal(
        together(corners, corners, sure), [[1, 0, 11, 10], far[0], far[1]]
    )
    labels = np.array([[[0.2], [0.2], [0.2]], [[0.6], [0.6], [0.6]]])
    told = together(labels, corners, sure)
    np.testing.assert_allclose(told[:, 0], [0.4, 0.2, 0.6])
    np.testing.assert_allclose(agreement(corners), [80 / 120, 0, 0], rtol=1e-6)


class Stop(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


TAP = "last"


def small_application(name, size, weights):
    """Stands for an application of Keras, which takes a second to build: two convolutions."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((size, size, 3))
    x = keras.layers.Conv2D(8, 5, strides=4, padding="same", activation="relu", name="first")(
        inputs
    )
    x = keras.layers.Conv2D(16, 3, strides=2, padding="same", activation="relu", name=TAP)(x)
    return keras.Model(inputs, x), keras.layers.Rescaling(1 / 127.5, offset=-1), weights


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(localizer, "build_application", small_application)


@pytest.mark.usefixtures("eager", "small")
def test_a_training_goes_on_learns_and_answers(toys, tmp_path):
    crops, splits = toys
    first = {"epochs": 2, "learning_rate": 0.005}
    chosen = settings(taps=[TAP], frozen=TAP, optimizer=rate(0.01), head_first=first, epochs=4)

    def train(name, *callbacks):
        return localizer.train(
            chosen, "Small", "random", crops, splits, 3,
            tmp_path / f"{name}.keras", tmp_path / name, callbacks,
        )  # fmt: skip

    whole = train("whole")
    assert list(whole["epoch"]) == [1, 2, 3, 4, 5, 6]
    assert list(whole["learning_rate"][:2]) == pytest.approx([0.005] * 2)
    # The second step begins where the first ended.
    assert whole["cells_loss"][2] < whole["cells_loss"][0]
    assert whole["cells_loss"].iloc[-1] < whole["cells_loss"].iloc[0] - 0.1
    assert {"cells_loss", "val_cells_loss", "box_iou", "val_label_accuracy"} <= set(whole)
    # In either step.
    for stop in (Stop(1), Stop(3)):
        with pytest.raises(KeyboardInterrupt):
            train("stopped", stop)
    pd.testing.assert_frame_equal(
        train("stopped").drop(columns="seconds"), whole.drop(columns="seconds")
    )
    assert (tmp_path / "stopped.keras").read_bytes() == (tmp_path / "whole.keras").read_bytes()
    model = keras.saving.load_model(tmp_path / "whole.keras")
    table = predict(model, chosen, crops, splits)
    assert list(table["sample"]) == list(splits["sample"])
    assert table["probability"].between(0, 1).all()


@pytest.mark.usefixtures("eager", "small")
def test_the_head_is_trained_alone_and_the_best_epoch_of_both_steps_is_kept(toys, tmp_path):
    crops, splits = toys
    first = {"epochs": 1, "learning_rate": 0.001}
    # A rate that destroys what the first step found.
    chosen = settings(
        taps=[TAP], frozen="first", optimizer=rate(10.0), head_first=first, epochs=1,
        schedule={"name": "constant", "warmup": 0, "patience": 0, "factor": 0},
    )  # fmt: skip
    alone = localizer.head_only(chosen)
    assert (alone.frozen, alone.epochs, alone.optimizer.learning_rate) == (TAP, 1, 0.001)
    file = tmp_path / "model.keras"
    history = localizer.train(chosen, "Small", "random", crops, splits, 3, file, tmp_path / "state")
    assert history["val_loss"].idxmin() == 0
    model = keras.saving.load_model(file, compile=False)
    val = splits[splits["split"] == "val"]
    images, answers, _ = looks(localizer.batches(chosen, crops, val, 3, None))
    told = model.predict(images, verbose=0)
    iou = np.asarray(boxes.iou(answers["box"], told["box"]))
    assert iou.mean() == pytest.approx(history["val_box_iou"][0], abs=1e-5)


@pytest.mark.usefixtures("eager", "small")
def test_averaged_weights_are_those_that_are_validated_and_kept(toys, tmp_path):
    crops, splits = toys
    # A mean that never moves stays at the first weights, whatever the rate.
    still = {"use_ema": True, "ema_momentum": 1.0}
    chosen = settings(taps=[TAP], frozen=TAP, epochs=2, optimizer=rate(0.01) | {"options": still})
    history = localizer.train(
        chosen, "Small", "random", crops, splits, 3, tmp_path / "m.keras", tmp_path / "state"
    )
    assert history["val_loss"][0] == pytest.approx(history["val_loss"][1], abs=1e-6)
    moving = localizer.train(
        chosen.model_copy(update={"optimizer": settings(optimizer=rate(0.01)).optimizer}),
        "Small", "random", crops, splits, 3, tmp_path / "n.keras", tmp_path / "other",
    )  # fmt: skip
    assert abs(moving["val_loss"][0] - moving["val_loss"][1]) > 1e-3


def rate(value):
    return {"name": "adamw", "learning_rate": value, "weight_decay": 0.0, "options": {}}


def test_a_learning_curve_adds_photographs(toys):
    _, splits = toys
    samples = pd.concat([splits, splits]).assign(image=[f"{n % 20}.png" for n in range(48)])
    few, half, every = (localizer.of_some_photographs(samples, s, 1) for s in (0.01, 0.5, 1))
    assert (few["image"].nunique(), half["image"].nunique()) == (1, 10)
    assert set(few["image"]) < set(half["image"])
    # Whole photographs, in their order.
    kept = samples["image"].isin(half["image"])
    pd.testing.assert_frame_equal(half, samples[kept])
    pd.testing.assert_frame_equal(every, samples)
    others = localizer.of_some_photographs(samples, 0.5, 2)
    assert set(others["image"]) != set(half["image"])
