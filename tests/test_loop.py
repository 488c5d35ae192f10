"""One training of any network: what is kept, what is written down, rates, stops and saved files.

Losses and metrics are computed here once more, in NumPy, from the outputs of the saved model.
"""

import json
import math
import zipfile
from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np
import pandas as pd
import pytest
from toys import (
    NO_DROPOUT,
    SEED,
    assert_same_weights,
    edited,
    fit,
    losses,
    metrics,
    on_crops,
    on_features,
    optimizer,
    schedule,
    toy_crops,
    toy_features,
    toy_splits,
    train,
)

from facemask.config.training import Optimizer, ResolvedExperiment
from facemask.errors import InputError
from facemask.training import checkpoint, classifier, loop

BASE = {"label_accuracy", "box_iou", "loss", "label_loss", "box_loss"}
COLUMNS = {"epoch", "learning_rate", "seconds", *BASE, *(f"val_{name}" for name in BASE)}


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
def test_saved_model_has_the_metrics_of_the_best_epoch(
    experiment: ResolvedExperiment, val: int, tmp_path: Path
) -> None:
    splits = toy_splits(count=17 + val, val=val)
    inputs = toy_crops(splits) // 16  # dark: no output so near 0 or 1 that its logarithm is lost
    history, model = fit(experiment, inputs, splits, tmp_path / "model.keras")
    assert set(history.columns) == COLUMNS
    assert history["epoch"].tolist() == [1, 2, 3]
    np.testing.assert_allclose(history["learning_rate"], 0.001, rtol=1e-6)
    assert (history["seconds"] > 0).all()
    expected = metrics(model, experiment, inputs, splits[splits["split"] == "val"])
    best = history.loc[history["val_loss"].idxmin()]
    for name, value in expected.items():
        # Keras averages the losses of single heads over batches, whatever their length.
        if val % experiment.batch_size == 0 or name not in ("label_loss", "box_loss"):
            assert best[f"val_{name}"] == pytest.approx(value, rel=1e-3, abs=1e-4), name
    # The other epochs differ from it.
    assert (np.abs(history["val_loss"] - expected["loss"]) > 1e-3 * expected["loss"]).sum() == 2


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
    expected = metrics(model, experiment, inputs, splits[splits["split"] == "val"])
    assert expected["loss"] == pytest.approx(history["val_loss"][best], rel=1e-4)
    # Early stopping: four epochs without a better one, then no more.
    assert len(history) == best + 1 + 4


# 12 steps an epoch, the last one smaller: neither a multiple of 5 nor of 32.
@pytest.mark.parametrize("steps", [5, pytest.param(32, marks=pytest.mark.slow)])
def test_steps_taken_at_once_change_nothing(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = toy_splits(count=60, val=10)
    inputs = toy_features(splits)
    experiment = on_features(epochs=2, batch_size=4)
    witness = Steps()
    one, other = [], []
    for most, found in ((loop.SHORT, one), (0, other)):
        monkeypatch.setattr(loop, "SHORT", most)
        monkeypatch.setattr(loop, "STEPS_PER_CALL", steps)
        file = tmp_path / f"{most}.keras"
        found += [train(experiment, inputs, splits, file, witness), file]
    assert witness.taken == [1, steps]
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


def rates(about: dict[str, Any], epochs: int, rate: float) -> np.ndarray:
    """The learning rate of each epoch by formulas (cosine: Loshchilov & Hutter 2017, eq. 5)."""
    warmup, factor = about["warmup"], about["factor"]
    length = epochs - warmup
    fall = {
        "constant": lambda past: 1,
        "plateau": lambda past: 1,
        "cosine": lambda past: factor + (1 - factor) * (1 + math.cos(math.pi * past / length)) / 2,
        "exponential": lambda past: factor**past,
    }[about["name"]]
    climb = np.linspace(0, rate, warmup + 2)[1:-1]
    return np.array([*climb, *(rate * fall(past) for past in range(length))])


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
def test_learning_rate_is_its_formula(name: str, factor: float, warmup: int) -> None:
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
    history = train(experiment, toy_features(splits), splits, tmp_path / "model.keras", ends)
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


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("name", ["adamw", "ftrl"])
def test_an_optimizer_trains(name: str, tmp_path: Path) -> None:
    splits = toy_splits(count=14, val=4)
    inputs = toy_features(splits)
    experiment = on_features(optimizer=optimizer(name, 0.01, 0.1, **OPTIMIZERS[name]), epochs=1)
    history, model = fit(experiment, inputs, splits, tmp_path / "model.keras")
    assert np.isfinite(history.to_numpy()).all()
    first = classifier.compiled(experiment, (6,))
    for before, after in zip(first.get_weights(), model.get_weights(), strict=True):
        assert np.isfinite(after).all()
        assert before.ndim == 1 or (before != after).all()


def test_there_is_no_other_optimizer() -> None:
    assert set(OPTIMIZERS) == set(get_args(Optimizer.model_fields["name"].annotation))


@pytest.mark.parametrize("decay", [0, 0.125])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_has_the_options_it_is_given(name: str, decay: float) -> None:
    wanted = on_features(optimizer=optimizer(name, 0.25, decay, **OPTIMIZERS[name])).optimizer
    found = loop.make_optimizer(wanted)
    assert type(found).__name__.lower() == name
    reported = found.get_config()
    assert {key: reported[key] for key in OPTIMIZERS[name]} == OPTIMIZERS[name]
    assert (float(found.learning_rate), found.weight_decay or 0) == (0.25, decay)


def test_averaged_weights_forget_those_that_an_epoch_began_with() -> None:
    options: dict[str, Any] = {"use_ema": True}
    averaging = loop.make_optimizer(Optimizer(**optimizer("sgd", 1.0, **options)), 6)
    weight = keras.Variable(0.0)
    # One step away from 0 at the start of the second epoch, and no other.
    for step in range(12):
        averaging.apply([np.float32(-1 if step == 6 else 0)], [weight])
    averaging.finalize_variable_values([weight])
    assert float(weight.value) == pytest.approx(0.95, abs=1e-4)


def steps(
    wanted: dict[str, Any], count: int, loss_weights: dict[str, float]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The weights of a head before and after some steps on one batch."""
    experiment = on_features(
        optimizer=wanted, loss_weights=loss_weights, dropout=NO_DROPOUT, box_format="xyxy"
    )
    model = classifier.compiled(experiment, (6,))
    model.run_eagerly = True
    model.set_weights([np.sign(weight + 1e-9) + weight for weight in model.get_weights()])
    before = model.get_weights()
    rows = toy_splits(count=14, val=4)
    targets = classifier.targets(rows, experiment)
    for _ in range(count):
        model.train_on_batch(toy_features(rows)[rows["sample"]], targets)
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
        wanted = optimizer("sgd", 1.0, **({option: limit} if limit else {}))
        before, after = steps(wanted, 1, {"label": 100, "box": 1})
        moved = lengths([there - here for here, there in zip(before, after, strict=True)])
        if limit:
            np.testing.assert_allclose(moved, limit, rtol=1e-3)
        else:
            assert min(moved) > 0.2


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_option_that_an_optimizer_does_not_have_is_reported(name: str) -> None:
    wanted = on_features(optimizer=optimizer(name, 0.01, warp=9)).optimizer
    with pytest.raises(InputError, match=r"optimizer\.options") as caught:
        loop.make_optimizer(wanted)
    for word in (name, "warp", "9"):
        assert word in str(caught.value)


def test_a_wrong_option_is_reported_before_training(tmp_path: Path) -> None:
    splits, file = toy_splits(14, 4), tmp_path / "model.keras"
    experiment = on_features(optimizer=optimizer("adam", 0.01, warp=9))
    with pytest.raises(InputError, match="warp"):
        train(experiment, toy_features(splits), splits, file)
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
def test_a_wrong_option_is_reported(name: str, options: dict[str, float], words: list[str]) -> None:
    wanted = on_features(optimizer=optimizer(name, 0.01, **options)).optimizer
    with pytest.raises(InputError, match=r"optimizer\.options") as caught:
        loop.make_optimizer(wanted)
    for word in (name, *words):
        assert word in str(caught.value)


class Witness(keras.callbacks.Callback):
    """Notes what a logger that is handed in is given."""

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
        on_features(epochs=2), toy_features(splits), splits, tmp_path / "m.keras", witness
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
    "wanted",
    [
        losses("categorical", "ciou", focal_gamma=2),
        pytest.param(losses("binary", "study_smooth_l1", 0.5), marks=pytest.mark.slow),
        pytest.param(losses("binary", "giou", smoothing=0.2), marks=pytest.mark.slow),
    ],
    ids=["ciou, focal", "study_smooth_l1", "giou, smoothed"],
)
def test_a_saved_model_also_reloads_with_its_losses_and_metrics(
    wanted: dict[str, Any], tmp_path: Path
) -> None:
    """As a user would who wants to go on training: load_model without compile=False."""
    splits = toy_splits(count=20, val=5)
    inputs, file = toy_features(splits), tmp_path / "model.keras"
    experiment = on_features(epochs=1, losses=wanted)
    history, _ = fit(experiment, inputs, splits, file)
    model = keras.saving.load_model(file, safe_mode=True)
    rows = splits[splits["split"] == "val"]
    found = model.evaluate(
        inputs[rows["sample"]],
        classifier.targets(rows, experiment),
        return_dict=True,
        verbose=0,
    )
    for name, value in found.items():
        assert history[f"val_{name}"][0] == pytest.approx(value, rel=1e-4)


@pytest.mark.usefixtures("eager")
def test_a_loss_that_is_never_finite_is_reported(tmp_path: Path) -> None:
    splits, file = toy_splits(count=20, val=5), tmp_path / "model.keras"
    file.write_bytes(b"an older model")
    experiment = on_features(epochs=1, optimizer=optimizer("sgd", 1e38))
    with pytest.raises(InputError, match="learning_rate"):
        train(experiment, toy_features(splits), splits, file)


@pytest.mark.usefixtures("many_steps")
@pytest.mark.parametrize("seconds", [0, 30])
def test_a_loss_that_is_not_finite_names_batch_and_last_values(
    seconds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mean of an epoch is seen every few batches; which one it was is found all the same."""
    monkeypatch.setattr(checkpoint, "SECONDS", seconds)
    splits, file = toy_splits(count=640, val=8), tmp_path / "model.keras"
    inputs = toy_features(splits)
    # Without a dense layer, whose relu would make 0 of what is no number, as would dropout.
    experiment = edited(
        "mobilenet_1",
        network={"filters": [], "pools": 0, "dense": [], "label_dense": []},
        dropout=NO_DROPOUT,
        epochs=3,
        batch_size=16,
        optimizer=optimizer("adam", 0.01),
    )
    rows = splits.loc[splits["split"] == "train", "sample"].to_numpy()
    # The sample that comes in batch 21 of the second epoch, as classifier.datasets orders them.
    order = np.random.default_rng([SEED, 1]).permutation(len(rows))

    class Spoil(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
            value = np.nan if epoch == 1 else clean
            inputs[rows[order[20 * 16 + 3]], 0] = value

    clean = inputs[rows[order[20 * 16 + 3]], 0]
    with pytest.raises(InputError, match="batch 21 of epoch 2") as caught:
        classifier.train(experiment, inputs, splits, file, tmp_path / "state", [Spoil()])
    message = str(caught.value)
    assert "loss is not finite" in message
    assert "(batch 20 of epoch 2)" in message
    assert "learning_rate" in message
    assert not file.exists()
    # The epoch before it is kept for the next call, if it is time for that, and no later one.
    kept = [np.load(state)["about"].item() for state in (tmp_path / "state").glob("*/*")]
    assert [len(json.loads(about)["logs"]) for about in kept] == ([1] if seconds == 0 else [])


@pytest.mark.usefixtures("eager")
def test_a_validation_loss_that_is_not_finite_is_reported(tmp_path: Path) -> None:
    splits = toy_splits(count=40, val=8)
    inputs = toy_features(splits)
    inputs[splits.loc[splits["split"] == "val", "sample"].iloc[0]] = np.inf
    with pytest.raises(InputError, match="validation after epoch") as caught:
        train(on_features(epochs=1), inputs, splits, tmp_path / "model.keras")
    assert "the last finite values: box_loss 0." in str(caught.value)


def two_layers_of_one_initializer() -> keras.Model:
    keras.backend.clear_session()
    start = keras.initializers.GlorotUniform(seed=1)
    inputs = keras.Input((3,))
    x = keras.layers.Dense(4, kernel_initializer=start, name="one")(inputs)
    x = keras.layers.Dense(4, kernel_initializer=start, name="other")(x)
    return keras.Model(inputs, x, name="same")


def test_the_same_network_is_the_same_file(tmp_path: Path) -> None:
    """Keras writes when a model was saved, and where in memory an initializer lay."""
    models = [two_layers_of_one_initializer() for _ in range(2)]  # at once: not in one place
    files = [tmp_path / "one.keras", tmp_path / "new/other.keras"]
    for model, file in zip(models, files, strict=True):
        loop.save(model, file)
    one, other = (file.read_bytes() for file in files)
    assert one == other
    with zipfile.ZipFile(files[0]) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert "date_saved" not in json.loads(archive.read("metadata.json"))
        assert b"shared_object_id" in archive.read("config.json")
    again = keras.saving.load_model(files[1], safe_mode=True)
    assert_same_weights(models[0], again)
    assert [*tmp_path.rglob(".*")] == []


@pytest.mark.parametrize("frozen", [0, 2_257_984])
def test_parameters_are_counted_by_hand(frozen: int) -> None:
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8), keras.layers.Dense(4)])
    by_hand = (6 * 8 + 8) + (8 * 4 + 4)
    assert loop.parameters(model, frozen) == {"total": by_hand + frozen, "trainable": by_hand}
    model.layers[0].trainable = False
    assert loop.parameters(model, 0) == {"total": by_hand, "trainable": by_hand - 56}
