"""Trainings that are stopped and go on, against the same left alone: equal to the last bit."""

import io
import json
import shutil

import keras
import numpy as np
import pytest
from conftest import ROOT
from toys import edited, on_features, optimizer, toy_features, toy_splits

from facemask.training import checkpoint, classifier

SEED = 5
# What can carry something from epoch to epoch: dropout, the optimizer, the rate, the waiting.
DROPOUT = {"dense": 0.5, "shared": 0.3, "label": 0.2, "box": 0.1}
PLATEAU = {"name": "plateau", "warmup": 1, "patience": 0, "factor": 0.5}
KINDS = {
    "dropout and a plateau": {
        "dropout": DROPOUT,
        "optimizer": optimizer("adam", 0.3),
        "schedule": PLATEAU,
    },
    "dropout and momentum": {
        "dropout": DROPOUT,
        "optimizer": optimizer("rmsprop", 0.01, momentum=0.9),
    },
    "cosine with averaged weights": {
        "optimizer": optimizer("nadam", 0.01, use_ema=True),
        "schedule": {"name": "cosine", "warmup": 1, "patience": 1, "factor": 0.1},
    },
    "stopped early": {"optimizer": optimizer("adam", 0.3), "early_stopping": 2},
}


class Kill(keras.callbacks.Callback):
    """Ends a training as a kill would: before an epoch, in its midst, or before it is kept."""

    def __init__(self, epoch: int, when: str) -> None:
        super().__init__()
        self.epoch, self.when = epoch, when

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.now = epoch
        self.at("begin", epoch)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.at("midst", self.now)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.at("end", epoch)

    def at(self, when: str, epoch: int) -> None:
        if (when, epoch) == (self.when, self.epoch):
            raise KeyboardInterrupt


class Witness(keras.callbacks.Callback):
    """Notes what a logger is given, all over again in every process."""

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.seen = []

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.seen.append((epoch, {k: v for k, v in logs.items() if k != "seconds"}))


@pytest.fixture
def every_epoch(monkeypatch):
    """A state after each epoch, however short it is."""
    monkeypatch.setattr(checkpoint, "SECONDS", 0)


@pytest.fixture
def data():
    splits = toy_splits(count=60, val=9)
    return toy_features(splits), splits


def train(experiment, data, folder, *callbacks):
    inputs, splits = data
    file = folder / "model.keras"
    history = classifier.train(experiment, inputs, splits, file, folder / "state", callbacks)
    model = keras.saving.load_model(file)
    return history.drop(columns="seconds"), [
        variable.numpy() for variable in [*model.variables, *model.optimizer.variables]
    ]


def same(one, other):
    one[0].equals(other[0]) or pytest.fail(f"{one[0]}\n{other[0]}")
    for a, b in zip(one[1], other[1], strict=True):
        np.testing.assert_array_equal(a, b)


def check_kills(experiment, data, folder, *kills):
    """Kills, then a call that is left alone, against a training that was never disturbed."""
    witness, again = Witness(), Witness()
    whole = train(experiment, data, folder / "whole", witness)
    for kill in kills:
        with pytest.raises(KeyboardInterrupt):
            train(experiment, data, folder / "stopped", kill)
    same(train(experiment, data, folder / "stopped", again), whole)
    assert again.seen == witness.seen
    return whole[0]


@pytest.mark.usefixtures("many_steps", "every_epoch")
def test_a_stopped_training_makes_what_it_would_have_made(data, tmp_path):
    experiment = on_features(seed=SEED, epochs=5, batch_size=10, **KINDS["dropout and a plateau"])
    history = check_kills(experiment, data, tmp_path, Kill(3, "midst"))
    assert history["learning_rate"].nunique() > 2


@pytest.mark.slow
@pytest.mark.usefixtures("every_epoch", "eager")
@pytest.mark.parametrize("kind", list(KINDS)[1:])
def test_training_of_every_kind_goes_on(kind, data, tmp_path):
    experiment = on_features(seed=SEED, epochs=7, batch_size=10, **KINDS[kind])
    history = check_kills(experiment, data, tmp_path, Kill(1, "midst"), Kill(2, "end"))
    if "early_stopping" in KINDS[kind]:
        assert 2 < len(history) < 7


class Writes(keras.callbacks.Callback):
    """Notes what lies in the folder of states as each epoch begins, and at the end."""

    def __init__(self, folder):
        super().__init__()
        self.folder, self.seen = folder, []

    def note(self, *_, **__):
        self.seen.append(states(self.folder))

    on_epoch_begin = on_train_end = note


def states(folder):
    """The files in a folder of states, and how many epochs each has seen."""
    return {file.name: len(about(file)["logs"]) for file in folder.glob("*/*")}


def about(file):
    with np.load(file) as arrays:
        return json.loads(arrays["about"].item())


@pytest.mark.usefixtures("eager")
def test_a_short_training_writes_one_state_after_its_last_epoch(data, tmp_path):
    assert checkpoint.SECONDS == 30
    writes = Writes(tmp_path / "state")
    train(on_features(epochs=4, batch_size=25), data, tmp_path, writes)
    assert writes.seen == [{}, {}, {}, {}, {"state.npz": 4}]


@pytest.mark.usefixtures("eager")
def test_so_does_one_that_is_stopped_early(data, tmp_path):
    splits = data[1]
    splits.loc[splits["split"] == "val", "label"] ^= 1  # learning makes it worse
    writes = Writes(tmp_path / "state")
    experiment = on_features(
        epochs=30, batch_size=25, optimizer=optimizer("adam", 0.1), early_stopping=1
    )
    history, _ = train(experiment, data, tmp_path, writes)
    assert 1 < len(history) < 30
    assert writes.seen == [{}] * len(history) + [{"state.npz": len(history)}]


@pytest.mark.usefixtures("eager")
def test_states_are_as_far_apart_as_they_should_be(data, tmp_path, monkeypatch):
    """Epochs of ten seconds each: the fourth is thirty after the beginning, or after a state."""
    clock = iter(range(0, 10_000, 10))

    class Time:
        now = 0

        @classmethod
        def monotonic(cls):
            return cls.now

    class Tick(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            Time.now = next(clock) + 10

    monkeypatch.setattr(checkpoint, "time", Time)
    writes = Writes(tmp_path / "state")
    train(on_features(epochs=8, batch_size=25), data, tmp_path, Tick(), writes)
    epochs = [seen.get("state.npz", 0) for seen in writes.seen]
    assert epochs == [0, 0, 0, 3, 3, 3, 6, 6, 8]


@pytest.mark.usefixtures("every_epoch", "eager")
def test_the_best_epoch_is_in_the_state(data, tmp_path):
    """However long ago it was, and whatever was written in between."""
    splits = data[1]
    splits.loc[splits["split"] == "val", "label"] ^= 1  # learning makes it worse
    experiment = on_features(epochs=4, batch_size=25, optimizer=optimizer("adam", 0.1))
    check_kills(experiment, data, tmp_path, Kill(3, "midst"))


@pytest.mark.usefixtures("eager")
def test_a_training_that_was_over_trains_no_epoch_again(data, tmp_path, capfd):
    splits = data[1]
    splits.loc[splits["split"] == "val", "label"] ^= 1  # learning makes it worse
    experiment = on_features(epochs=3, batch_size=25, optimizer=optimizer("adam", 0.1))
    whole = train(experiment, data, tmp_path)
    assert "Epoch 3/3" in capfd.readouterr().out
    assert whole[0]["val_loss"].idxmin() < 2
    assert states(tmp_path / "state") == {"state.npz": 3}
    before = (tmp_path / "model.keras").read_bytes()
    (tmp_path / "model.keras").unlink()
    same(train(experiment, data, tmp_path), whole)
    assert "Epoch" not in capfd.readouterr().out
    assert (tmp_path / "model.keras").read_bytes() == before


def cut(data):
    return data[: len(data) // 2]


def none(data):
    return b""


def text(data):
    return b"no archive of arrays"


def other_arrays(data):
    file = io.BytesIO()
    np.savez(file, last_00000=np.zeros(3))
    return file.getvalue()


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    "spoil",
    [
        cut,
        text,
        other_arrays,
        none,
    ],
)
def test_a_state_that_is_not_whole_counts_for_nothing(data, tmp_path, capfd, spoil):
    experiment = on_features(epochs=2, batch_size=25)
    whole = train(experiment, data, tmp_path)
    (file,) = tmp_path.glob("state/*/state.npz")
    file.write_bytes(spoil(file.read_bytes()))
    capfd.readouterr()
    same(train(experiment, data, tmp_path), whole)
    assert "Epoch 1/2" in capfd.readouterr().out


@pytest.mark.usefixtures("eager")
def test_the_state_of_another_training_is_not_taken_over(data, tmp_path):
    """What makes a training another one, the digest's test shows."""
    experiment = on_features(epochs=1, batch_size=25)
    train(experiment, data, tmp_path)
    (first,) = (tmp_path / "state").iterdir()
    (tmp_path / "state/mine.txt").write_text("a file, not a folder")
    train(experiment.model_copy(update={"seed": SEED + 1}), data, tmp_path)
    assert not first.exists()
    assert (tmp_path / "state/mine.txt").exists()


@pytest.mark.usefixtures("eager")
def test_the_number_of_repeats_is_no_matter_of_a_state(data, tmp_path, capfd):
    experiment = on_features(epochs=1, batch_size=25)
    whole = train(experiment, data, tmp_path)
    capfd.readouterr()
    same(train(experiment.model_copy(update={"repeats": 3}), data, tmp_path), whole)
    assert "Epoch" not in capfd.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("every_epoch")
def test_convolutions_with_dropout_go_on_as_well(tmp_path):
    splits = toy_splits(count=40, val=9)
    crops = np.random.default_rng(0).integers(0, 256, (len(splits), 32, 32, 3), np.uint8)
    check_kills(edited("scratch_2", epochs=4), (crops, splits), tmp_path, Kill(2, "midst"))


def test_the_digest_depends_on_every_argument():
    splits = toy_splits(count=20, val=5)
    experiment = on_features()
    inputs = toy_features(splits)
    base = (inputs, splits, experiment)
    changed = [
        (inputs + 1, splits, experiment),
        (inputs.astype(float), splits, experiment),
        (inputs.reshape(-1, 3), splits, experiment),
        (inputs, splits.iloc[::-1], experiment),
        (inputs, splits, on_features(epochs=99)),
        (inputs, splits, experiment.model_copy(update={"seed": SEED + 1})),
        (inputs, splits, experiment.model_copy(update={"input_size": 64})),
    ]
    found = {checkpoint.digest(*arguments) for arguments in [base, *changed]}
    assert len(found) == 1 + len(changed)
    assert checkpoint.digest(*base) in found


@pytest.mark.parametrize(
    ("module", "counts"),
    [
        ("data/splits.py", True),
        ("models/losses.py", True),
        ("training/augment.py", True),
        ("inference/predict.py", False),
        ("evaluation/metrics.py", False),
        ("reporting/plots.py", False),
        ("cli.py", False),
    ],
)
def test_the_digest_depends_on_the_code_that_trains_alone(tmp_path, monkeypatch, module, counts):
    splits = toy_splits(count=20, val=5)
    arguments = toy_features(splits), splits, on_features()
    before = checkpoint.digest(*arguments)
    source = ROOT / "facemask"
    shutil.copytree(source, tmp_path / "facemask", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(checkpoint, "__file__", str(tmp_path / "facemask/training/checkpoint.py"))
    assert checkpoint.digest(*arguments) == before  # wherever the code lies
    with (tmp_path / "facemask" / module).open("a") as file:
        file.write("# changed\n")
    assert (checkpoint.digest(*arguments) != before) == counts
