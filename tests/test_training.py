"""Training on toys: what is kept, what is written down, and when the rate falls or training stops.

Losses and figures are computed here once more, in NumPy, from the answers of the saved model.
"""

import tempfile
from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np
import pandas as pd
import pytest

from facemask import params
from facemask.config import Experiment, Optimizer
from facemask.errors import InputError
from facemask.training import classifier, loop

ROOT = Path(__file__).parents[1]
CONFIG = params.read(ROOT)
SIZE = 32
BASE = {"label_accuracy", "box_iou", "loss", "label_loss", "box_loss"}
COLUMNS = {"epoch", "learning_rate", "seconds", *BASE, *(f"val_{name}" for name in BASE)}
NO_DROPOUT = dict.fromkeys(("dense", "shared", "label", "box"), 0)
# Of each optimizer an option or two of its own.
OPTIMIZERS = {
    "rmsprop": {"momentum": 0.9, "centered": True},
    "adam": {"amsgrad": True, "epsilon": 1e-5},
    "adamw": {"beta_1": 0.8},
    "sgd": {"momentum": 0.9, "nesterov": True},
    "nadam": {"clipnorm": 0.5},
    "adamax": {"clipvalue": 0.1},
    "adagrad": {"initial_accumulator_value": 0.2},
    "adadelta": {"rho": 0.5, "global_clipnorm": 1},
    "adafactor": {"relative_step": False},
    "ftrl": {"l2_regularization_strength": 0.01},
    "lion": {"beta_2": 0.9, "use_ema": True},
}


def edited(name: str, **changes: Any) -> Experiment:
    """An experiment of params.yaml with some of its keys replaced, checked again."""
    return Experiment.model_validate(CONFIG.experiments[name].model_dump() | changes)


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


def on_features(**changes: Any) -> Experiment:
    """A head of 8 neurons on features, that learns with Adam."""
    return edited(
        "mobilenet_1",
        network={"filters": [], "pools": 0, "dense": [8], "label_dense": []},
        **{"optimizer": optimizer("adam", 0.01), "batch_size": 5} | changes,
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


class Recorded(np.ndarray):
    """Inputs that note which rows are read, a list a batch."""

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        if getattr(self, "reads", None) is None:
            return found
        self.reads.append(np.asarray(key).tolist())
        return np.asarray(found)


def train(*arguments: Any) -> pd.DataFrame:
    """Train from nothing: no call goes on where another with the same arguments has ended."""
    with tempfile.TemporaryDirectory() as state:
        return classifier.train(*arguments[:6], Path(state), *arguments[6:])


def fit(
    experiment: Experiment, inputs: np.ndarray, splits: pd.DataFrame, file: Path, seed: int = 3
) -> tuple[pd.DataFrame, keras.Model]:
    history = train(experiment, inputs, splits, SIZE, seed, file)
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
    model: keras.Model,
    experiment: Experiment,
    inputs: np.ndarray,
    rows: pd.DataFrame,
    class_weights: tuple[float, float] = (1, 1),
) -> dict[str, float]:
    """Losses, accuracy and IoU of a model on some samples; the box loss is the squared error.

    The label loss is cross-entropy, smoothed (a half of the smoothing goes to the other class) or
    focal (Lin et al. 2017), weighted by class: without mask, with mask.
    """
    answer = model.predict(inputs[rows["sample"].to_numpy()].astype(np.float32), verbose=0)
    label = rows["label"].to_numpy()
    about = experiment.losses.label
    if about.name == "categorical_crossentropy":
        of_truth = answer["label"][np.arange(len(label)), label]
        guess = answer["label"].argmax(axis=1)
    else:
        with_mask = answer["label"][:, 0]
        of_truth = np.where(label == 1, with_mask, 1 - with_mask)
        guess = with_mask > 0.5
    true = wanted_boxes(rows, experiment.box_format)
    of_truth, of_other = (np.clip(part, 1e-7, 1) for part in (of_truth, 1 - of_truth))
    surprise = -np.log(of_truth) * of_other**about.focal_gamma
    if about.smoothing:
        moved = about.smoothing / 2
        surprise = -(1 - moved) * np.log(of_truth) - moved * np.log(of_other)
    label_loss = (np.array(class_weights)[label] * surprise).mean()
    box_loss = ((answer["box"] - true) ** 2).mean()
    weights = experiment.loss_weights
    return {
        "loss": weights.label * label_loss + weights.box * box_loss,
        "label_loss": label_loss,
        "box_loss": box_loss,
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
                losses=losses("binary"),
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


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    ("label", "weights"),
    [
        (losses("categorical", smoothing=0.3), (0.5, 3)),
        (losses("binary", focal_gamma=0.5), (0.5, 1)),
        pytest.param(losses("binary", smoothing=0.3), (1, 1), marks=pytest.mark.slow),
        pytest.param(losses("categorical", focal_gamma=2), (1, 1), marks=pytest.mark.slow),
        pytest.param(losses("binary"), (3, 0.5), marks=pytest.mark.slow),
    ],
    ids=[
        "smoothed, weighted, categorical",
        "focal, weighted",
        "smoothed",
        "focal, categorical",
        "weighted",
    ],
)
def test_label_loss_is_smoothed_focused_and_in_training_weighted(
    label: dict[str, Any], weights: tuple[float, float], tmp_path: Path
) -> None:
    splits = toy_splits(count=30, val=9)
    inputs = toy_features(splits)
    without, with_mask = weights
    experiment = on_features(
        losses=label,
        class_weights={"with_mask": with_mask, "without_mask": without},
        loss_weights={"label": 0.7, "box": 3},
        dropout=NO_DROPOUT,
        # One batch, and a step too small to change anything: all figures are of the first weights.
        optimizer=optimizer("sgd", 1e-30),
        batch_size=50,
        epochs=1,
    )
    history, model = fit(experiment, inputs, splits, tmp_path / "model.keras")
    for name, prefix, counted in (("train", "", weights), ("val", "val_", (1, 1))):
        rows = splits[splits["split"] == name]
        for measure, value in figures(model, experiment, inputs, rows, counted).items():
            assert history[prefix + measure][0] == pytest.approx(value, rel=1e-4), measure


@pytest.mark.usefixtures("eager")
def test_a_class_weight_counts_a_label_as_often_as_it_says(tmp_path: Path) -> None:
    """The step with 3 and 2 is that of 3 copies of the ones and 2 of the others."""
    splits = toy_splits(count=23, val=5)
    inputs = toy_features(splits)
    training_rows = splits[splits["split"] == "train"]
    repeated = pd.concat([splits, training_rows, training_rows.query("label == 1")])
    longer = len(repeated.query("split == 'train'")) / len(training_rows)
    assert longer == 2.5
    common = {
        "dropout": NO_DROPOUT,
        "optimizer": optimizer("sgd", 0.5),
        "batch_size": 100,
        "epochs": 1,
    }
    weighted, same = (
        fit(on_features(**common | changes), inputs, table, tmp_path / "model.keras")[1]
        for table, changes in (
            (
                splits,
                {
                    "class_weights": {"with_mask": 3, "without_mask": 2},
                    "loss_weights": {"label": 1, "box": 0},
                },
            ),
            # Keras divides by the number of samples, whatever they weigh.
            (repeated, {"loss_weights": {"label": longer, "box": 0}}),
        )
    )
    for here, there in zip(weighted.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("weights", [(1, 1), (2, 2), (0.5, 3)])
def test_samples_weigh_as_their_class(weights: tuple[float, float]) -> None:
    splits = toy_splits(count=20, val=5)
    without, with_mask = weights
    experiment = on_features(class_weights={"with_mask": with_mask, "without_mask": without})
    found = classifier.sample_weights(splits, experiment.class_weights)
    if weights == (1, 1):
        assert found is None
        return
    assert found["label"].tolist() == [(without, with_mask)[label] for label in splits["label"]]
    assert found["box"].tolist() == [1] * 20
    assert found["label"].dtype == found["box"].dtype == np.float32


@pytest.mark.usefixtures("eager")
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


@pytest.mark.usefixtures("eager")
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
    pd.testing.assert_frame_equal(
        history.drop(columns="seconds"), again.drop(columns="seconds"), check_exact=True
    )
    other_seed, _ = fit(experiment, inputs, splits, tmp_path / "three.keras", seed=4)
    assert not np.allclose(history["val_loss"], other_seed["val_loss"])


# 12 steps an epoch, the last one smaller: neither a multiple of 5 nor of 32.
@pytest.mark.parametrize("steps", [5, pytest.param(32, marks=pytest.mark.slow)])
def test_steps_taken_at_once_change_nothing(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = toy_splits(count=60, val=10)
    inputs = toy_features(splits)
    experiment = on_features(epochs=2, batch_size=4)
    told = Steps()
    one, other = [], []
    for most, found in ((loop.SHORT, one), (0, other)):
        monkeypatch.setattr(loop, "SHORT", most)
        monkeypatch.setattr(loop, "STEPS_PER_CALL", steps)
        file = tmp_path / f"{most}.keras"
        found += [train(experiment, inputs, splits, SIZE, 3, file, [told]), file]
    assert told.taken == [1, steps]
    assert_same_weights(*(keras.saving.load_model(file, compile=False) for _, file in (one, other)))
    pd.testing.assert_frame_equal(
        *(history.drop(columns="seconds") for history, _ in (one, other)), check_exact=True
    )


class Steps(keras.callbacks.Callback):
    """Notes how many steps Keras takes at once."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[int] = []

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.taken.append(self.model.steps_per_execution)


def test_only_long_trainings_take_many_steps_at_once() -> None:
    assert loop.steps_per_call(1) == loop.steps_per_call(loop.SHORT) == 1
    assert loop.steps_per_call(loop.SHORT + 1) == loop.STEPS_PER_CALL == 32


def orders(experiment: Experiment, splits: pd.DataFrame, seed: int, file: Path) -> np.ndarray:
    """The training samples as a fit reads them: (epochs, samples)."""
    inputs = toy_features(splits, seed=experiment.batch_size).view(Recorded)
    inputs.reads = []
    train(experiment, inputs, splits, SIZE, seed, file)
    training_samples = set(splits.loc[splits["split"] == "train", "sample"])
    read = [batch for batch in inputs.reads if batch[0] in training_samples]
    assert max(map(len, read)) == experiment.batch_size
    # Before the first epoch Keras looks at a batch to build the network.
    count = experiment.epochs * len(training_samples)
    return np.concatenate(read)[-count:].reshape(experiment.epochs, -1)


@pytest.mark.usefixtures("eager")
def test_the_order_of_samples_depends_on_seed_and_epoch_alone(tmp_path: Path) -> None:
    splits, file = toy_splits(count=30, val=8), tmp_path / "model.keras"
    found = orders(on_features(epochs=3, batch_size=10), splits, 3, file)
    samples = splits.loc[splits["split"] == "train", "sample"]
    for order in found:
        assert sorted(order) == sorted(samples)
    assert len({*map(tuple, found), tuple(samples), tuple(sorted(samples))}) == 5
    # Another experiment: the same orders.
    other = on_features(
        epochs=2,
        batch_size=7,
        losses=losses("categorical"),
        class_weights={"with_mask": 2, "without_mask": 1},
        optimizer=optimizer("sgd", 0.1),
        dropout=dict.fromkeys(NO_DROPOUT, 0.5),
    )
    assert orders(other, splits, 3, file).tolist() == found[:2].tolist()
    # Another seed: others, also in other epochs.
    assert not {*map(tuple, orders(other, splits, 4, file))} & {*map(tuple, found)}
    # An epoch without those before it.
    log = loop.EpochLog()
    numbers = np.arange(30, dtype=np.float32)[:, None]
    train_set, val_set = classifier.datasets(other, numbers, splits, SIZE, 3, log)
    for epoch in (2, 0, 1):
        log.on_epoch_begin(epoch)
        assert log.epoch == epoch
        read = np.concatenate([part[0] for part in train_set.as_numpy_iterator()])
        assert read[:, 0].tolist() == found[epoch].tolist()
        validated = np.concatenate([part[0] for part in val_set.as_numpy_iterator()])
        assert validated[:, 0].tolist() == splits.loc[splits["split"] == "val", "sample"].tolist()


def rates(about: dict[str, Any], epochs: int, rate: float) -> np.ndarray:
    """The learning rate of each epoch by Keras' own schedules, one step an epoch."""
    warmup, factor = about["warmup"], about["factor"]
    fall = {
        "constant": lambda _: rate,
        "plateau": lambda _: rate,
        "cosine": keras.optimizers.schedules.CosineDecay(rate, epochs - warmup, alpha=factor),
        "exponential": keras.optimizers.schedules.ExponentialDecay(rate, 1, factor or 1),
    }[about["name"]]
    climb = np.linspace(0, rate, warmup + 2)[1:-1]
    return np.array([*climb, *(float(fall(epoch)) for epoch in range(epochs - warmup))])


@pytest.mark.parametrize("warmup", [0, 1, 4])
@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("constant", 0),
        ("plateau", 0.3),
        ("cosine", 0),
        ("cosine", 0.2),
        ("exponential", 0.3),
        ("exponential", 0.9),
    ],
)
def test_learning_rate_is_that_of_keras_schedules(name: str, factor: float, warmup: int) -> None:
    about = schedule(name, warmup, factor)
    experiment = on_features(schedule=about, epochs=9, optimizer=optimizer("sgd", 0.7))
    found = [loop.learning_rate(experiment, epoch) for epoch in range(9)]
    np.testing.assert_allclose(found, rates(about, 9, 0.7), rtol=1e-5)


@pytest.mark.parametrize("warmup", [1, 3])
def test_warm_up_and_cosine_are_one_schedule_of_keras(warmup: int) -> None:
    """Its first step, of rate 0, left out."""
    about = schedule("cosine", warmup, 0.1)
    experiment = on_features(schedule=about, epochs=8, optimizer=optimizer("sgd", 0.7))
    whole = keras.optimizers.schedules.CosineDecay(
        0.0, 8 - warmup, alpha=0.1, warmup_target=0.7, warmup_steps=warmup + 1
    )
    for epoch in range(8):
        expected = pytest.approx(float(whole(epoch + 1)), rel=1e-5)
        assert loop.learning_rate(experiment, epoch) == expected


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        (schedule("constant", warmup=3), [0.25, 0.5, 0.75, 1, 1, 1]),
        (schedule("cosine", factor=0), [1, 0.9330127, 0.75, 0.5, 0.25, 0.0669873]),
        (schedule("cosine", warmup=2, factor=0.5), [1 / 3, 2 / 3, 1, 0.9267767, 0.75, 0.5732233]),
        (schedule("exponential"), [1, 0.5, 0.25, 0.125, 0.0625, 0.03125]),
        (schedule("exponential", warmup=1), [0.5, 1, 0.5, 0.25, 0.125, 0.0625]),
    ],
)
def test_learning_rate_in_numbers(about: dict[str, Any], expected: list[float]) -> None:
    experiment = on_features(schedule=about, epochs=6, optimizer=optimizer("sgd", 1.0))
    found = [loop.learning_rate(experiment, epoch) for epoch in range(6)]
    assert found == pytest.approx(expected)


@pytest.mark.usefixtures("eager")
def test_each_epoch_is_trained_at_its_rate(tmp_path: Path) -> None:
    splits = toy_splits(count=14, val=4)
    about = schedule("cosine", 2, 0.3)
    # Steps of one sign and full length: the sum of the rates is how far the last bias moves.
    experiment = on_features(
        schedule=about,
        epochs=5,
        batch_size=50,
        optimizer=optimizer("lion", 0.01),
        loss_weights={"label": 0, "box": 1},
        dropout=NO_DROPOUT,
        box_format="xyxy",
    )
    ends = Ends()
    history = train(
        experiment, toy_features(splits), splits, SIZE, 3, tmp_path / "model.keras", [ends]
    )
    expected = rates(about, 5, 0.01)
    np.testing.assert_allclose(history["learning_rate"], expected, rtol=1e-5)
    np.testing.assert_allclose(np.diff(ends.biases, axis=0)[:, 2], expected, rtol=1e-3)


class Ends(keras.callbacks.Callback):
    """Notes the bias of the box head before the first epoch and after each."""

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.biases: list[np.ndarray] = []
        self.on_epoch_end(-1)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.biases.append(self.model.get_layer("box").get_weights()[1])


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("warmup", [4, pytest.param(0, marks=pytest.mark.slow)])
def test_plateau_lowers_the_rate_when_the_loss_stands_still(warmup: int, tmp_path: Path) -> None:
    splits = toy_splits(count=30, val=8)
    inputs = toy_features(splits)
    splits.loc[splits["split"] == "val", "label"] ^= 1
    experiment = on_features(
        epochs=12,
        schedule=schedule("plateau", warmup),
        optimizer=optimizer("adam", 0.05),
        batch_size=20,
    )
    history, _ = fit(experiment, inputs, splits, tmp_path / "model.keras")
    rate, best, waited, expected = 0.05, np.inf, 0, []
    for epoch, loss in enumerate(history["val_loss"]):
        if epoch <= warmup:  # whatever the loss did
            rate = 0.05 * (epoch + 1) / (warmup + 1)
        expected.append(rate)
        waited = 0 if loss < best - 1e-4 else waited + 1
        if waited == 0:
            best = loss
        elif waited == 2:
            rate, waited = rate / 2, 0
    np.testing.assert_allclose(history["learning_rate"], expected, rtol=1e-5)
    assert expected[warmup] == pytest.approx(0.05)
    assert expected[-1] <= 0.05 / 4
    assert len(history) == 12  # early_stopping: 0 never stops


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("name", ["adamw", "ftrl"])
def test_an_optimizer_trains(name: str, tmp_path: Path) -> None:
    splits = toy_splits(count=14, val=4)
    inputs = toy_features(splits)
    experiment = on_features(optimizer=optimizer(name, 0.01, 0.1, **OPTIMIZERS[name]), epochs=1)
    history, model = fit(experiment, inputs, splits, tmp_path / "model.keras")
    assert np.isfinite(history.to_numpy()).all()
    keras.utils.set_random_seed(3)
    for before, after in zip(
        classifier.compiled(experiment, (6,)).get_weights(), model.get_weights(), strict=True
    ):
        assert np.isfinite(after).all()
        assert before.ndim == 1 or (before != after).all()


def test_there_is_no_other_optimizer() -> None:
    assert set(OPTIMIZERS) == set(get_args(Optimizer.model_fields["name"].annotation))


@pytest.mark.parametrize("decay", [0, 0.125])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_has_the_options_it_is_given(name: str, decay: float) -> None:
    asked = on_features(optimizer=optimizer(name, 0.25, decay, **OPTIMIZERS[name])).optimizer
    found = loop.make_optimizer(asked)
    assert type(found).__name__.lower() == name
    told = found.get_config()
    assert {key: told[key] for key in OPTIMIZERS[name]} == OPTIMIZERS[name]
    assert (float(found.learning_rate), found.weight_decay or 0) == (0.25, decay)


def steps(
    asked: dict[str, Any], count: int, loss_weights: dict[str, float]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The weights of a head before and after some steps on one batch."""
    keras.utils.set_random_seed(0)
    experiment = on_features(
        optimizer=asked, loss_weights=loss_weights, dropout=NO_DROPOUT, box_format="xyxy"
    )
    model = classifier.compiled(experiment, (6,))
    model.run_eagerly = True
    model.set_weights([np.sign(weight + 1e-9) + weight for weight in model.get_weights()])
    before = model.get_weights()
    rows = toy_splits(count=14, val=4)
    answers = classifier.targets(rows, experiment, SIZE)
    for _ in range(count):
        model.train_on_batch(toy_features(rows)[rows["sample"]], answers)
    return before, model.get_weights()


@pytest.mark.parametrize(("name", "decay"), [("rmsprop", 0.5), ("adamw", 0.5), ("adamw", 0.0)])
def test_weights_decay_by_themselves(name: str, decay: float) -> None:
    """Decoupled (Loshchilov & Hutter 2019): where no loss pulls, each step takes rate x decay."""
    before, after = steps(optimizer(name, 0.1, decay), 3, {"label": 0, "box": 0})
    for here, there in zip(before, after, strict=True):
        np.testing.assert_allclose(there, here * (1 - 0.1 * decay) ** 3, rtol=1e-5)


@pytest.mark.parametrize(
    ("option", "lengths"),
    [
        ("clipnorm", lambda moves: [np.linalg.norm(move) for move in moves]),
        ("clipvalue", lambda moves: [np.abs(move).max() for move in moves]),
        (
            "global_clipnorm",
            lambda moves: [np.linalg.norm(np.concatenate([move.ravel() for move in moves]))],
        ),
    ],
)
def test_clipped_gradients_make_short_steps(option: str, lengths: Any) -> None:
    for limit in (None, 0.125):
        asked = optimizer("sgd", 1.0, **({option: limit} if limit else {}))
        before, after = steps(asked, 1, {"label": 100, "box": 1})
        moved = lengths([there - here for here, there in zip(before, after, strict=True)])
        if limit:
            np.testing.assert_allclose(moved, limit, rtol=1e-3)
        else:
            assert min(moved) > 0.2


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_option_that_an_optimizer_does_not_have_is_told(name: str) -> None:
    asked = on_features(optimizer=optimizer(name, 0.01, warp=9)).optimizer
    with pytest.raises(InputError, match=r"optimizer\.options") as told:
        loop.make_optimizer(asked)
    for word in (name, "warp", "9"):
        assert word in str(told.value)


def test_a_wrong_option_is_told_before_training(tmp_path: Path) -> None:
    splits, file = toy_splits(14, 4), tmp_path / "model.keras"
    experiment = on_features(optimizer=optimizer("adam", 0.01, warp=9))
    with pytest.raises(InputError, match="warp"):
        train(experiment, toy_features(splits), splits, SIZE, 0, file)
    assert not file.exists()


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("adam", {"momentum": 0.9}, ["momentum"]),
        ("sgd", {"momentum": 5}, ["momentum", "5"]),
        ("rmsprop", {"clipnorm": 1, "clipvalue": 1}, ["clipnorm", "clipvalue"]),
        ("sgd", {"gradient_accumulation_steps": 1}, ["gradient_accumulation_steps"]),
        # These have keys of their own, and cannot be said twice.
        ("adam", {"learning_rate": 0.5}, ["learning_rate"]),
        ("adam", {"weight_decay": 0.5}, ["weight_decay"]),
    ],
    ids=str,
)
def test_a_wrong_option_is_told(name: str, options: dict[str, float], words: list[str]) -> None:
    asked = on_features(optimizer=optimizer(name, 0.01, **options)).optimizer
    with pytest.raises(InputError, match=r"optimizer\.options") as told:
        loop.make_optimizer(asked)
    for word in (name, *words):
        assert word in str(told.value)


def test_a_network_of_half_the_bits_trains_and_reloads(tmp_path: Path) -> None:
    splits = toy_splits(count=36, val=10)
    shown = toy_crops(splits) // 16
    experiment = on_crops(
        precision="bfloat16", epochs=6, optimizer=optimizer("adam", 0.001), losses=losses("binary")
    )
    history, model = fit(experiment, shown, splits, tmp_path / "model.keras")
    assert keras.config.dtype_policy().name == "float32"
    assert history["val_loss"].min() < history["val_loss"][0]
    inner = [layer for layer in model.layers if layer.name not in ("inputs", "label", "box")]
    assert {layer.compute_dtype for layer in inner} == {"bfloat16"}
    assert {weight.dtype for weight in model.weights} == {"float32"}
    rows = splits[splits["split"] == "val"]
    answers = model.predict(shown[rows["sample"]], verbose=0)
    assert answers["label"].dtype == answers["box"].dtype == np.float32
    # The figures of its best epoch are the reloaded model's.
    best = history.loc[history["val_loss"].idxmin()]
    for name, value in figures(model, experiment, shown, rows).items():
        assert best[f"val_{name}"] == pytest.approx(value, rel=1e-2, abs=1e-3), name


def test_a_network_that_cannot_be_built_leaves_the_precision_of_others(tmp_path: Path) -> None:
    crops = np.zeros((12, 4, 4, 3), np.uint8)
    experiment = edited("scratch_3", precision="bfloat16")
    with pytest.raises(InputError, match=r"\(4, 4, 3\)"):
        train(experiment, crops, toy_splits(12, 3), 4, 0, tmp_path / "model.keras")
    assert keras.config.dtype_policy().name == "float32"


# That each loss is its formula in every format, test_losses shows.
@pytest.mark.parametrize(
    ("kind", "box_format"),
    [
        ("diou", "center_xywh"),
        pytest.param("giou", "rel_center_xywh", marks=pytest.mark.slow),
        pytest.param("diou", "rel_xyxy", marks=pytest.mark.slow),
        pytest.param("ciou", "xyxy", marks=pytest.mark.slow),
    ],
)
def test_losses_of_overlap_train(kind: str, box_format: str) -> None:
    rows = toy_splits(count=26, val=4)
    experiment = on_crops(
        losses=losses("binary", kind),
        box_format=box_format,
        loss_weights={"label": 0.1, "box": 1},
        optimizer=optimizer("adam", 0.003),
        dropout=NO_DROPOUT,
    )
    # Dark: no neuron of the box is sure of itself before it learns.
    crops = toy_crops(rows)[rows["sample"]] // 16
    answers = classifier.targets(rows, experiment, SIZE)
    keras.utils.set_random_seed(1)
    model = classifier.compiled(experiment, crops.shape[1:])

    def overlap() -> float:
        found = model.predict_on_batch(crops)["box"]
        pairs = (to_corners(boxes, box_format) for boxes in (answers["box"], found))
        return corner_iou(*pairs).mean()

    before = overlap()
    lost = []
    for _ in range(100):
        model.reset_metrics()
        lost.append(model.train_on_batch(crops, answers, return_dict=True)["box_loss"])
    assert lost[-1] < lost[0] - 0.3
    assert overlap() > before + 0.3


def test_a_toy_is_learned_by_heart_from_raw_pixels(tmp_path: Path) -> None:
    train = toy_splits(count=26, val=0).query("split == 'train'")
    splits = pd.concat([train, train.assign(split="val")])
    inputs = toy_crops(toy_splits(count=26, val=0))
    experiment = on_crops(
        epochs=25,
        box_format="center_xywh",
        loss_weights={"label": 1, "box": 0.1},
        optimizer=optimizer("adam", 0.001),
        dropout=NO_DROPOUT,
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


@pytest.mark.usefixtures("eager")
def test_callbacks_see_every_epoch_with_its_learning_rate(
    recwarn: pytest.WarningsRecorder, tmp_path: Path
) -> None:
    splits = toy_splits(count=20, val=5)
    witness = Witness()
    history = train(
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
    # Of nothing that a user could mend it warns.
    assert [str(one.message) for one in recwarn if "shuffle" in str(one.message)] == []


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    "asked",
    [
        losses("categorical", "ciou", focal_gamma=2),
        pytest.param(losses("binary", "smooth_l1", 0.5), marks=pytest.mark.slow),
        pytest.param(losses("binary", "giou", smoothing=0.2), marks=pytest.mark.slow),
    ],
    ids=["ciou, focal", "smooth_l1", "giou, smoothed"],
)
def test_a_saved_model_also_reloads_with_its_losses_and_metrics(
    asked: dict[str, Any], tmp_path: Path
) -> None:
    """As a user would who wants to go on training: load_model without compile=False."""
    splits = toy_splits(count=20, val=5)
    inputs, file = toy_features(splits), tmp_path / "model.keras"
    experiment = on_features(epochs=1, losses=asked)
    history, _ = fit(experiment, inputs, splits, file)
    model = keras.saving.load_model(file, safe_mode=True)
    rows = splits[splits["split"] == "val"]
    found = model.evaluate(
        inputs[rows["sample"]],
        classifier.targets(rows, experiment, SIZE),
        return_dict=True,
        verbose=0,
    )
    for name, value in found.items():
        assert history[f"val_{name}"][0] == pytest.approx(value, rel=1e-4)


@pytest.mark.usefixtures("eager")
def test_a_loss_that_is_never_finite_is_told(tmp_path: Path) -> None:
    splits, file = toy_splits(count=20, val=5), tmp_path / "model.keras"
    file.write_bytes(b"an older model")
    experiment = on_features(epochs=1, optimizer=optimizer("sgd", 1e38))
    with pytest.raises(InputError, match="learning_rate"):
        train(experiment, toy_features(splits), splits, SIZE, 0, file)


@pytest.mark.parametrize("box_format", ["rel_center_xywh", "center_xywh", "rel_xyxy", "xyxy"])
def test_targets_are_boxes_in_the_format_asked_for(box_format: str) -> None:
    rows = toy_splits(count=12, val=3)
    found = classifier.targets(rows, on_features(box_format=box_format), SIZE)
    np.testing.assert_allclose(found["box"], wanted_boxes(rows, box_format), rtol=1e-5)
    assert found["box"].dtype == np.float32


def test_targets_are_labels_as_the_loss_wants_them() -> None:
    rows = toy_splits(count=12, val=3)
    binary = classifier.targets(rows, on_features(), SIZE)["label"]
    assert binary.shape == (12, 1)
    assert binary[:, 0].tolist() == rows["label"].tolist()
    one_hot = classifier.targets(rows, on_features(losses=losses("categorical")), SIZE)["label"]
    assert one_hot.shape == (12, 2)
    assert one_hot.sum(axis=1).tolist() == [1] * 12
    assert one_hot[:, 1].tolist() == rows["label"].tolist()  # the last neuron is "with mask"


def test_a_network_that_does_not_fit_its_inputs_is_told(tmp_path: Path) -> None:
    deep = edited("scratch_3")
    crops = np.zeros((12, 16, 16, 3), np.uint8)
    with pytest.raises(InputError, match=r"\(16, 16, 3\)"):
        train(deep, crops, toy_splits(12, 3), 16, 0, tmp_path / "model.keras")
