"""Training on toys: what is kept, what is written down, and when the rate falls or training stops.

Losses and figures are computed here once more, in NumPy, from the answers of the saved model.
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import yaml

from facemask import training
from facemask.config import Experiment, parse
from facemask.errors import InputError

ROOT = Path(__file__).parents[1]
CONFIG = parse(yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8")))
SIZE = 32
BASE = {"label_accuracy", "box_iou", "loss", "label_loss", "box_loss"}
COLUMNS = {"epoch", "learning_rate", "seconds", *BASE, *(f"val_{name}" for name in BASE)}


def edited(name: str, **changes: Any) -> Experiment:
    """An experiment of params.yaml with some of its keys replaced, checked again."""
    return Experiment.model_validate(CONFIG.experiments[name].model_dump() | changes)


def on_features(**changes: Any) -> Experiment:
    """A head of 8 neurons on features, that learns with Adam."""
    return edited(
        "mobilenet_1",
        network={"filters": [], "pools": 0, "dense": [8], "label_dense": []},
        **{"optimizer": {"name": "adam", "learning_rate": 0.01}, "batch_size": 5} | changes,
    )


def on_crops(**changes: Any) -> Experiment:
    """A convolution of 4 filters on crops."""
    return edited(
        "scratch_3",
        network={"filters": [4], "pools": 1, "dense": [], "label_dense": []},
        **{"batch_size": 5, "epochs": 3} | changes,
    )


def toy_splits(count: int, val: int, seed: int = 0) -> pd.DataFrame:
    """Samples in crops of several sides: 2 for testing, `val` for validation, the rest to train.

    Their order is not that of their numbers, and labels alternate.
    """
    rng = np.random.default_rng(seed)
    width, height = rng.integers(40, 200, (2, count))
    x0, y0 = rng.integers(0, 50, (2, count))
    box_x0, box_y0 = rng.integers(0, width // 2), rng.integers(0, height // 2)
    table = pd.DataFrame(
        {
            "sample": np.arange(count),
            "image": "a.png",
            "face": np.arange(count),
            "label": np.arange(count) % 2,
            "x0": x0,
            "y0": y0,
            "x1": x0 + width,
            "y1": y0 + height,
            "box_x0": box_x0,
            "box_y0": box_y0,
            "box_x1": box_x0 + rng.integers(width // 4, width // 2),
            "box_y1": box_y0 + rng.integers(height // 4, height // 2),
            "flip": 0,
            "split": ["test"] * 2 + ["val"] * val + ["train"] * (count - val - 2),
        }
    )
    return table.sample(frac=1, random_state=seed)


def toy_features(splits: pd.DataFrame, seed: int = 0) -> np.ndarray:
    """One row a sample number; the first feature is the label, 1 or -1, under noise."""
    features = np.random.default_rng(seed).normal(0, 0.3, (len(splits), 6)).astype(np.float32)
    features[splits["sample"], 0] += 2 * splits["label"] - 1
    return features


def toy_crops(splits: pd.DataFrame, seed: int = 0) -> np.ndarray:
    """uint8 images with the box painted in: red without mask, blue with."""
    images = np.random.default_rng(seed).integers(0, 60, (len(splits), SIZE, SIZE, 3))
    for row in splits.itertuples():
        x0, x1 = (np.array([row.box_x0, row.box_x1]) * SIZE / (row.x1 - row.x0)).round().astype(int)
        y0, y1 = (np.array([row.box_y0, row.box_y1]) * SIZE / (row.y1 - row.y0)).round().astype(int)
        images[row.sample, y0:y1, x0:x1, 2 * row.label] = 255
    return images.astype(np.uint8)


def fit(
    experiment: Experiment, inputs: np.ndarray, splits: pd.DataFrame, file: Path, seed: int = 3
) -> tuple[pd.DataFrame, keras.Model]:
    history = training.train(experiment, inputs, splits, SIZE, seed, file)
    return history, keras.saving.load_model(file, compile=False, safe_mode=True)


def wanted_boxes(rows: pd.DataFrame, box_format: str) -> np.ndarray:
    """The box of each row in a format, from the definitions."""
    sides = np.stack([rows["x1"] - rows["x0"], rows["y1"] - rows["y0"]], axis=1)
    low = rows[["box_x0", "box_y0"]].to_numpy() / sides
    high = rows[["box_x1", "box_y1"]].to_numpy() / sides
    if "center" in box_format:
        low, high = (low + high) / 2, high - low
    return np.concatenate([low, high], axis=1) * (1 if "rel_" in box_format else SIZE)


def corner_iou(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    def area(box: np.ndarray) -> np.ndarray:
        return np.clip(box[:, 2:] - box[:, :2], 0, None).prod(axis=1)

    shared = np.concatenate(
        [np.maximum(true, predicted)[:, :2], np.minimum(true, predicted)[:, 2:]], axis=1
    )
    return area(shared) / (area(true) + area(predicted) - area(shared))


def to_corners(boxes: np.ndarray, box_format: str) -> np.ndarray:
    if "center" not in box_format:
        return boxes
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def figures(
    model: keras.Model, experiment: Experiment, inputs: np.ndarray, rows: pd.DataFrame
) -> dict[str, float]:
    """Losses, accuracy and IoU of a model on some samples; the box loss is the squared error."""
    answer = model.predict(inputs[rows["sample"].to_numpy()].astype(np.float32), verbose=0)
    label = rows["label"].to_numpy()
    if experiment.losses.label == "categorical_crossentropy":
        of_truth = answer["label"][np.arange(len(label)), label]
        guess = answer["label"].argmax(axis=1)
    else:
        with_mask = answer["label"][:, 0]
        of_truth = np.where(label == 1, with_mask, 1 - with_mask)
        guess = with_mask > 0.5
    true = wanted_boxes(rows, experiment.box_format)
    losses = -np.log(np.clip(of_truth, 1e-7, 1)).mean(), ((answer["box"] - true) ** 2).mean()
    weights = experiment.loss_weights
    return {
        "loss": weights.label * losses[0] + weights.box * losses[1],
        "label_loss": losses[0],
        "box_loss": losses[1],
        "label_accuracy": (guess == label).mean(),
        "box_iou": corner_iou(
            *(to_corners(boxes, experiment.box_format) for boxes in (true, answer["box"]))
        ).mean(),
    }


def assert_same_weights(one: keras.Model, other: keras.Model) -> None:
    for here, there in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(here, there)


@pytest.mark.parametrize(
    ("experiment", "val"),
    [
        (on_crops(loss_weights={"label": 0.5, "box": 10}), 7),
        (
            on_crops(
                losses={"label": "binary_crossentropy", "box": {"name": "mse", "threshold": 1.0}},
                loss_weights={"label": 1, "box": 0.01},
                box_format="center_xywh",
            ),
            10,
        ),
    ],
    ids=["categorical, last batch short", "binary, boxes in pixels"],
)
def test_saved_model_has_the_figures_of_the_best_epoch(
    experiment: Experiment, val: int, tmp_path: Path
) -> None:
    splits = toy_splits(count=17 + val, val=val)
    inputs = toy_crops(splits) // 16  # dark: no answer so near 0 or 1 that its logarithm is lost
    history, model = fit(experiment, inputs, splits, tmp_path / "model.keras")
    assert set(history.columns) == COLUMNS
    assert history["epoch"].tolist() == [1, 2, 3]
    np.testing.assert_allclose(history["learning_rate"], 0.001, rtol=1e-6)
    assert (history["seconds"] > 0).all()
    expected = figures(model, experiment, inputs, splits[splits["split"] == "val"])
    best = history.loc[history["val_loss"].idxmin()]
    for name, value in expected.items():
        # Keras averages the losses of single heads over batches, whatever their length.
        if val % experiment.batch_size == 0 or name not in ("label_loss", "box_loss"):
            assert best[f"val_{name}"] == pytest.approx(value, rel=1e-3, abs=1e-4), name
    # The other epochs are told apart from it.
    assert (np.abs(history["val_loss"] - expected["loss"]) > 1e-3 * expected["loss"]).sum() == 2


def test_the_first_epoch_is_kept_where_all_later_ones_are_worse(tmp_path: Path) -> None:
    splits = toy_splits(count=30, val=8)
    inputs = toy_features(splits)
    # Validation contradicts training, so that learning makes it worse.
    splits.loc[splits["split"] == "val", "label"] ^= 1
    experiment = on_features(epochs=30, early_stopping=4)
    history, model = fit(experiment, inputs, splits, tmp_path / "model.keras")
    best = int(history["val_loss"].idxmin())
    assert best < len(history) - 1
    expected = figures(model, experiment, inputs, splits[splits["split"] == "val"])
    assert expected["loss"] == pytest.approx(history["val_loss"][best], rel=1e-4)
    # Early stopping: four epochs without a better one, then no more.
    assert len(history) == best + 1 + 4


def test_a_seed_fixes_everything_and_test_samples_nothing(tmp_path: Path) -> None:
    splits = toy_splits(count=20, val=5)
    inputs, experiment = (
        toy_crops(splits),
        on_crops(epochs=2, dropout={"dense": 0, "shared": 0.3, "label": 0.3, "box": 0.3}),
    )
    history, model = fit(experiment, inputs, splits, tmp_path / "one.keras")
    # Again: memory-mapped, and with other answers and pixels in the rows that only test.
    tested = splits["split"] == "test"
    inputs[splits.loc[tested, "sample"]] = 255
    np.save(tmp_path / "inputs.npy", inputs)
    others = splits.assign(label=splits["label"].where(~tested, 1 - splits["label"]))
    others.loc[tested & (others["sample"] == 0), "split"] = "unused"
    again, same = fit(
        experiment,
        np.load(tmp_path / "inputs.npy", mmap_mode="r"),
        others,
        tmp_path / "two.keras",
    )
    assert_same_weights(model, same)
    pd.testing.assert_frame_equal(history.drop(columns="seconds"), again.drop(columns="seconds"))
    other_seed, _ = fit(experiment, inputs, splits, tmp_path / "three.keras", seed=4)
    assert not np.allclose(history["val_loss"], other_seed["val_loss"])


def test_plateau_lowers_the_rate_when_the_loss_stands_still(tmp_path: Path) -> None:
    splits = toy_splits(count=30, val=8)
    inputs = toy_features(splits)
    splits.loc[splits["split"] == "val", "label"] ^= 1
    schedule = {"name": "plateau", "patience": 2, "factor": 0.5}
    experiment = on_features(epochs=12, schedule=schedule)
    history, _ = fit(experiment, inputs, splits, tmp_path / "model.keras")
    rate, best, waited, expected = 0.01, np.inf, 0, []
    for loss in history["val_loss"]:
        expected.append(rate)
        waited = 0 if loss < best - 1e-4 else waited + 1
        if waited == 0:
            best = loss
        elif waited == 2:
            rate, waited = rate / 2, 0
    np.testing.assert_allclose(history["learning_rate"], expected, rtol=1e-5)
    assert expected[-1] <= 0.01 / 4
    assert len(history) == 12  # early_stopping: 0 never stops


def test_a_toy_is_learned_by_heart_from_raw_pixels(tmp_path: Path) -> None:
    train = toy_splits(count=26, val=0).query("split == 'train'")
    splits = pd.concat([train, train.assign(split="val")])
    inputs = toy_crops(toy_splits(count=26, val=0))
    experiment = on_crops(
        epochs=25,
        box_format="center_xywh",
        loss_weights={"label": 1, "box": 0.1},
        optimizer={"name": "adam", "learning_rate": 0.001},
        dropout=dict.fromkeys(["dense", "shared", "label", "box"], 0),
    )
    history, model = fit(experiment, inputs, splits, tmp_path / "model.keras")
    found = figures(model, experiment, inputs, train)
    assert found["label_accuracy"] == 1.0
    assert found["box_iou"] > 0.8
    assert history["val_loss"].min() < history["val_loss"][0] / 10


class Witness(keras.callbacks.Callback):
    """Notes what a logger that is handed in gets to see."""

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.seen: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.seen.append(dict(logs or {}))


def test_callbacks_see_every_epoch_with_its_learning_rate(tmp_path: Path) -> None:
    splits = toy_splits(count=20, val=5)
    witness = Witness()
    history = training.train(
        on_features(epochs=2),
        toy_features(splits),
        splits,
        SIZE,
        0,
        tmp_path / "m.keras",
        [witness],
    )
    assert len(witness.seen) == 2
    for epoch, seen in enumerate(witness.seen):
        assert set(seen) == COLUMNS - {"epoch"}
        for name, value in seen.items():
            assert history[name][epoch] == pytest.approx(value)


def test_a_saved_model_also_reloads_with_its_losses_and_metrics(tmp_path: Path) -> None:
    """As a user would who wants to go on training: load_model without compile=False."""
    splits = toy_splits(count=20, val=5)
    inputs, file = toy_features(splits), tmp_path / "model.keras"
    box = {"name": "smooth_l1", "threshold": 0.5}
    experiment = on_features(epochs=1, losses={"label": "binary_crossentropy", "box": box})
    history, _ = fit(experiment, inputs, splits, file)
    model = keras.saving.load_model(file, safe_mode=True)
    rows = splits[splits["split"] == "val"]
    found = model.evaluate(
        inputs[rows["sample"]],
        training.targets(rows, experiment, SIZE),
        return_dict=True,
        verbose=0,
    )
    for name, value in found.items():
        assert history[f"val_{name}"][0] == pytest.approx(value, rel=1e-4)


@pytest.mark.parametrize("leftover", [False, True], ids=["no file before", "a file of another run"])
def test_a_loss_that_is_never_finite_is_told(leftover: bool, tmp_path: Path) -> None:
    splits, file = toy_splits(count=20, val=5), tmp_path / "model.keras"
    if leftover:
        file.write_bytes(b"an older model")
    experiment = on_features(epochs=1, optimizer={"name": "sgd", "learning_rate": 1e38})
    with pytest.raises(InputError, match="learning_rate"):
        training.train(experiment, toy_features(splits), splits, SIZE, 0, file)


@pytest.mark.parametrize("box_format", ["rel_center_xywh", "center_xywh", "rel_xyxy", "xyxy"])
def test_targets_are_boxes_in_the_format_asked_for(box_format: str) -> None:
    rows = toy_splits(count=12, val=3)
    found = training.targets(rows, on_features(box_format=box_format), SIZE)
    np.testing.assert_allclose(found["box"], wanted_boxes(rows, box_format), rtol=1e-5)
    assert found["box"].dtype == np.float32


def test_targets_are_labels_as_the_loss_wants_them() -> None:
    rows = toy_splits(count=12, val=3)
    binary = training.targets(rows, on_features(), SIZE)["label"]
    assert binary.shape == (12, 1)
    assert binary[:, 0].tolist() == rows["label"].tolist()
    losses = {"label": "categorical_crossentropy", "box": {"name": "mse", "threshold": 1.0}}
    one_hot = training.targets(rows, on_features(losses=losses), SIZE)["label"]
    assert one_hot.shape == (12, 2)
    assert one_hot.sum(axis=1).tolist() == [1] * 12
    assert one_hot[:, 1].tolist() == rows["label"].tolist()  # the last neuron is "with mask"


def test_a_network_that_does_not_fit_its_inputs_is_told(tmp_path: Path) -> None:
    deep = edited("scratch_3")
    crops = np.zeros((12, 16, 16, 3), np.uint8)
    with pytest.raises(InputError, match=r"\(16, 16, 3\)"):
        training.train(deep, crops, toy_splits(12, 3), 16, 0, tmp_path / "model.keras")
