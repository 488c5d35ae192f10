"""Localizers in training: what they are shown, that trainings go on, and what is kept."""

import keras
import numpy as np
import pandas as pd
import pytest
from localizer_toys import SIZE, colours, model_input, settings, squares

from facemask.columns import true_boxes
from facemask.inference.localizer import predict
from facemask.models import boxes
from facemask.training import checkpoint, localizer


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    return squares(tmp_path_factory.mktemp("native"))


STILL = {
    "flip": 0.5, "zoom": [0.8, 1.2], "shift": 0.1, "brightness": 0, "contrast": 0, "saturation": 0,
    "hue": 0, "blur": 0, "jpeg": 0, "erase": 0, "erase_mouth": 0,
}  # fmt: skip


@pytest.mark.parametrize("seed", [None, 0, 1, 2])
@pytest.mark.parametrize("zoomed", [False, True])
@pytest.mark.parametrize("mode", ["letterbox", "stretch"])
def test_the_box_of_a_view_is_where_the_face_is_seen(toys, mode, zoomed, seed):
    crops, splits = toys
    chosen = settings(model_input=model_input(resize_mode=mode), augment=STILL)
    for number, true in enumerate(true_boxes(splits)):
        rng = None if seed is None else np.random.default_rng([seed, number])
        image, box = localizer.placed(chosen, crops[number], true, zoomed, rng)
        assert (image.shape, image.dtype) == ((SIZE, SIZE, 3), np.uint8)
        corners, blue = colours(image)
        assert blue == splits["label"][number]
        np.testing.assert_allclose(box, SIZE * corners, atol=1.2)
        if zoomed and seed is None:
            assert max(box[2:] - box[:2]) == pytest.approx(0.4 * SIZE)


def gathered(batches):
    """All batches as one: images, targets and weights."""
    images, targets, weights = zip(*batches.as_numpy_iterator(), strict=True)
    heads = ("label", "box", "heatmap")
    return np.concatenate(images), *(
        {head: np.concatenate([each[head] for each in part]) for head in heads}
        for part in (targets, weights)
    )


def test_validation_shows_every_sample_in_full_view_and_zoomed(toys):
    crops, splits = toys
    weighted = settings(class_weights={"with_mask": 1, "without_mask": 3})
    images, targets, weights = gathered(localizer.batches(weighted, crops, splits, None))
    assert len(images) == 2 * len(splits)
    np.testing.assert_array_equal(targets["label"][:, 0], [*splits["label"], *splits["label"]])
    np.testing.assert_array_equal(targets["box"], targets["heatmap"])
    full, zoomed = np.split(targets["box"], 2)
    assert (full[:, 2:] - full[:, :2]).max() < (zoomed[:, 2:] - zoomed[:, :2]).max()
    for image, box in zip(images, targets["box"], strict=True):
        np.testing.assert_allclose(box, colours(image)[0], atol=1.2 / SIZE)
    assert all((values == 1).all() for values in weights.values())


@pytest.mark.parametrize("epoch", [None, lambda: 1])
def test_zoomed_views_are_off_the_centre_without_augmentation_too(toys, epoch):
    crops, splits = toys
    still = STILL | {"flip": 0, "zoom": [1, 1], "shift": 0}
    _, targets, _ = gathered(localizer.batches(settings(augment=still), crops, splits, epoch))
    box = targets["box"]
    side, centre = (box[:, 2:] - box[:, :2]).max(axis=1), (box[:, 2:] + box[:, :2]) / 2
    zoomed = side > 0.27  # in full view faces take less of the model input
    assert zoomed.sum() > 5
    assert (np.abs(centre[zoomed] - 0.5).max(axis=1) > 0.02).mean() > 0.8
    assert side[zoomed].std() > 0.03


@pytest.mark.parametrize("epoch", [None, lambda: 1])
def test_a_network_of_one_pass_sees_full_views_alone(toys, epoch):
    crops, splits = toys
    still = STILL | {"flip": 0, "zoom": [1, 1], "shift": 0}
    chosen = settings(augment=still, model_input=model_input(passes=1))
    images, targets, _ = gathered(localizer.batches(chosen, crops, splits, epoch))
    assert len(images) == len(splits)
    found = np.sort((targets["box"][:, 2:] - targets["box"][:, :2]).max(axis=1))
    crop_sides = splits[["x1", "y1"]].max(axis=1)  # a letterbox keeps the aspect
    np.testing.assert_allclose(
        found, np.sort((splits["box_x1"] - splits["box_x0"]) / crop_sides), atol=1e-6
    )


def test_training_shows_other_views_in_an_order_of_the_epoch(toys):
    crops, splits = toys
    weighted = settings(seed=7, class_weights={"with_mask": 1, "without_mask": 3})

    def epoch(number):
        return gathered(localizer.batches(weighted, crops, splits, lambda: number))

    (one, targets, weights), (again, *_), (other, others, _) = epoch(1), epoch(1), epoch(2)
    assert len(one) == len(splits)
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(
        np.sort(one.mean(axis=(1, 2, 3))), np.sort(other.mean(axis=(1, 2, 3)))
    )
    assert not np.array_equal(targets["label"], others["label"])
    np.testing.assert_array_equal(weights["label"], np.where(targets["label"][:, 0] == 1, 1, 3))
    assert (weights["box"] == 1).all()


def test_an_augmented_sample_depends_on_seed_epoch_and_number_alone(toys):
    """Whatever batch it is in, and in whatever order: as the epoch's batches show it."""
    crops, splits = toys
    chosen = settings(batch_size=5)
    images, targets, _ = gathered(localizer.batches(chosen, crops, splits, lambda: 4))
    true = true_boxes(splits)
    alone = [localizer.augmented(chosen, crops[n], true[n], n, 4) for n in range(len(splits))]
    order = [int(np.flatnonzero([np.array_equal(one, im) for one, _ in alone])[0]) for im in images]
    assert sorted(order) == list(range(len(splits)))
    assert order != sorted(order)
    expected = np.stack([alone[n][1] for n in order]) / SIZE
    np.testing.assert_allclose(targets["box"], expected, rtol=1e-6)
    for other in ({"seed": 4}, {}):
        image, _ = localizer.augmented(
            chosen.model_copy(update=other), crops[0], true[0], 0, 4 if other else 5
        )
        assert not np.array_equal(image, alone[0][0])


class Stop(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


LEVEL = "last"


def small_application(name, size, weights):
    """Stands for an application of Keras, which takes a second to build: two convolutions."""
    assert (name, weights) == ("Small", "random")
    keras.utils.set_random_seed(1)
    inputs = keras.Input((size, size, 3))
    x = keras.layers.Conv2D(8, 5, strides=4, padding="same", activation="relu", name="first")(
        inputs
    )
    x = keras.layers.Conv2D(16, 3, strides=2, padding="same", activation="relu", name=LEVEL)(x)
    return keras.Model(inputs, x), keras.layers.Rescaling(1 / 127.5, offset=-1), weights


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(localizer, "build_application", small_application)


def on_small(**changes):
    return settings(feature_levels=[LEVEL], freeze_until=LEVEL, **changes)


@pytest.mark.usefixtures("eager", "small")
def test_a_training_goes_on_learns_and_predicts(toys, tmp_path, monkeypatch):
    crops, splits = toys
    chosen = on_small(optimizer=rate(0.01), epochs=6)

    def train(name, *callbacks):
        return localizer.train(
            chosen, crops, splits, tmp_path / f"{name}.keras", tmp_path / name, callbacks
        )

    whole = train("whole")
    assert list(whole["epoch"]) == [1, 2, 3, 4, 5, 6]
    assert whole["heatmap_loss"].iloc[-1] < whole["heatmap_loss"].iloc[0] - 0.1
    assert {"heatmap_loss", "val_heatmap_loss", "box_iou", "val_label_accuracy"} <= set(whole)
    monkeypatch.setattr(checkpoint, "SECONDS", 0)
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
def test_the_best_epoch_is_kept(toys, tmp_path):
    crops, splits = toys
    # A first epoch at a rate that learns, and others that destroy what it found.
    chosen = on_small(
        optimizer=rate(10.0),
        epochs=3,
        schedule={"name": "constant", "warmup": 0, "patience": 0, "factor": 0},
    )

    class Gently(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.optimizer.learning_rate = 0.001 if epoch == 0 else 10.0

    file = tmp_path / "model.keras"
    history = localizer.train(chosen, crops, splits, file, tmp_path / "state", [Gently()])
    assert history["val_loss"].idxmin() == 0
    model = keras.saving.load_model(file, compile=False)
    val = splits[splits["split"] == "val"]
    images, targets, _ = gathered(localizer.batches(chosen, crops, val, None))
    predicted = model.predict(images, verbose=0)
    iou = np.asarray(boxes.iou(targets["box"], predicted["box"]))
    assert iou.mean() == pytest.approx(history["val_box_iou"][0], abs=1e-5)


@pytest.mark.usefixtures("eager", "small")
def test_averaged_weights_are_those_that_are_validated_and_kept(toys, tmp_path):
    crops, splits = toys

    def trained(options, name):
        chosen = on_small(epochs=2, optimizer=rate(0.01) | {"options": options})
        return localizer.train(chosen, crops, splits, tmp_path / f"{name}.keras", tmp_path / name)

    # A mean that never moves stays at the first weights, whatever the rate.
    still = trained({"use_ema": True, "ema_momentum": 1.0}, "still")
    assert still["val_loss"][0] == pytest.approx(still["val_loss"][1], abs=1e-6)
    moving = trained({}, "moving")
    assert abs(moving["val_loss"][0] - moving["val_loss"][1]) > 1e-3


def rate(value):
    return {"name": "adamw", "learning_rate": value, "weight_decay": 0.0, "options": {}}


def test_a_learning_curve_adds_images(toys):
    _, splits = toys
    samples = pd.concat([splits, splits]).assign(image=[f"{n % 20}.png" for n in range(48)])
    few, half, every = (localizer.some_images(samples, s, 1) for s in (0.01, 0.5, 1))
    assert (few["image"].nunique(), half["image"].nunique()) == (1, 10)
    assert set(few["image"]) < set(half["image"])
    # Whole images, in their order.
    kept = samples["image"].isin(half["image"])
    pd.testing.assert_frame_equal(half, samples[kept])
    pd.testing.assert_frame_equal(every, samples)
    others = localizer.some_images(samples, 0.5, 2)
    assert set(others["image"]) != set(half["image"])
