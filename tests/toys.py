"""Toys that tests of training share: samples, features and crops, experiments, metrics in NumPy."""

import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from facemask import params
from facemask.config.training import ResolvedExperiment
from facemask.shards import Crops
from facemask.training import classifier

CONFIG = params.read(Path(__file__).parents[1])
SIZE, SEED = 32, 3
NO_DROPOUT = dict.fromkeys(("dense", "shared", "label", "box"), 0)


def edited(name: str, **changes: Any) -> ResolvedExperiment:
    """An experiment of params.yaml with some of its keys replaced, checked again."""
    entry = CONFIG.experiments[name].model_dump() | {"seed": SEED, "input_size": SIZE}
    return ResolvedExperiment.model_validate(entry | changes)


def optimizer(name: str, rate: float, decay: float = 0.0, **options: float) -> dict[str, Any]:
    return {"name": name, "learning_rate": rate, "weight_decay": decay, "options": options}


def losses(label: str, box: str = "mse", threshold: float = 1.0, **more: float) -> dict[str, Any]:
    """`more` may be smoothing and focal_gamma."""
    name = f"{label}_crossentropy"
    return {
        "label": {"name": name, "smoothing": 0.0, "focal_gamma": 0.0} | more,
        "box": {"name": box, "threshold": threshold},
    }


def schedule(name: str, warmup: int = 0, factor: float = 0.5) -> dict[str, Any]:
    return {"name": name, "warmup": warmup, "patience": 2, "factor": factor}


def on_features(**changes: Any) -> ResolvedExperiment:
    """A head of 8 neurons on features, that learns with Adam."""
    return edited(
        "mobilenet_1",
        network={"filters": [], "pools": 0, "dense": [8], "label_dense": []},
        **{"optimizer": optimizer("adam", 0.01), "batch_size": 5} | changes,
    )


def on_crops(**changes: Any) -> ResolvedExperiment:
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


class Recorded(np.ndarray):
    """An array that notes which rows are read, a list a time."""

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        if getattr(self, "reads", None) is not None:
            self.reads.append(np.asarray(key).tolist())
            return np.asarray(found)
        return found


def recorded(array: np.ndarray) -> Recorded:
    view = array.view(Recorded)
    view.reads = []
    return view


def train(
    experiment: ResolvedExperiment,
    inputs: np.ndarray,
    splits: pd.DataFrame,
    file: Path,
    *callbacks: keras.callbacks.Callback,
) -> pd.DataFrame:
    """Train from nothing: no call goes on where another with the same arguments has ended."""
    with tempfile.TemporaryDirectory() as state:
        return classifier.train(experiment, inputs, splits, file, Path(state), callbacks)


def fit(
    experiment: ResolvedExperiment, inputs: np.ndarray, splits: pd.DataFrame, file: Path
) -> tuple[pd.DataFrame, keras.Model]:
    history = train(experiment, inputs, splits, file)
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


def metrics(
    model: keras.Model,
    experiment: ResolvedExperiment,
    inputs: np.ndarray,
    rows: pd.DataFrame,
    class_weights: tuple[float, float] = (1, 1),
) -> dict[str, float]:
    """Losses, accuracy and IoU of a model on some samples; the box loss is the squared error.

    The label loss is cross-entropy, smoothed (a half of the smoothing goes to the other class) or
    focal (Lin et al. 2017), weighted by class: without mask, with mask.
    """
    predicted = model.predict(inputs[rows["sample"].to_numpy()].astype(np.float32), verbose=0)
    label = rows["label"].to_numpy()
    about = experiment.losses.label
    if about.name == "categorical_crossentropy":
        of_truth = predicted["label"][np.arange(len(label)), label]
        guess = predicted["label"].argmax(axis=1)
    else:
        with_mask = predicted["label"][:, 0]
        of_truth = np.where(label == 1, with_mask, 1 - with_mask)
        guess = with_mask > 0.5
    true = wanted_boxes(rows, experiment.box_format)
    of_truth, of_other = (np.clip(part, 1e-7, 1) for part in (of_truth, 1 - of_truth))
    surprise = -np.log(of_truth) * of_other**about.focal_gamma
    if about.smoothing:
        moved = about.smoothing / 2
        surprise = -(1 - moved) * np.log(of_truth) - moved * np.log(of_other)
    label_loss = (np.array(class_weights)[label] * surprise).mean()
    box_loss = ((predicted["box"] - true) ** 2).mean()
    weights = experiment.loss_weights
    return {
        "loss": weights.label * label_loss + weights.box * box_loss,
        "label_loss": label_loss,
        "box_loss": box_loss,
        "label_accuracy": (guess == label).mean(),
        "box_iou": corner_iou(
            *(to_corners(boxes, experiment.box_format) for boxes in (true, predicted["box"]))
        ).mean(),
    }


def assert_same_weights(one: keras.Model, other: keras.Model) -> None:
    for here, there in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(here, there)


def packed_crops(folder, images, shard=4):
    """Images, uint8 (h, w, 3), as `shards.Crops` reads them from a folder."""
    sides = [image.shape[1::-1] for image in images]
    table = pd.DataFrame(sides, columns=["width", "height"])
    table["shard"] = np.arange(len(images)) // shard
    table.to_csv(folder / "shapes.csv", index=False)
    for number in table["shard"].unique():
        some = images[number * shard : (number + 1) * shard]
        np.save(folder / f"{number:05d}.npy", np.concatenate([image.ravel() for image in some]))
    return Crops(folder)
