"""Trainings that are stopped and go on, against the same left alone: equal to the last bit."""

import json
import shutil

import keras
import numpy as np
import pytest
from test_training import edited, on_features, optimizer, toy_features, toy_splits

from facemask.errors import InputError
from facemask.training import checkpoint, classifier, loop

SIZE, SEED = 32, 5
# What can carry something from epoch to epoch: dropout, the optimizer, the rate, the waiting.
KINDS = {
    "dropout and momentum": {
        "dropout": {"dense": 0.5, "shared": 0.3, "label": 0.2, "box": 0.1},
        "optimizer": optimizer("rmsprop", 0.01, momentum=0.9),
    },
    "adam on a plateau": {
        "optimizer": optimizer("adam", 0.3),
        "schedule": {"name": "plateau", "warmup": 1, "patience": 0, "factor": 0.5},
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
    """Notes what a logger is told, all over again in every process."""

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.seen = []

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.seen.append((epoch, {k: v for k, v in logs.items() if k != "seconds"}))


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """So that a small training has more batches than Keras runs at once, and is soon traced."""
    monkeypatch.setattr(loop, "STEPS_PER_CALL", 4)


@pytest.fixture
def data():
    splits = toy_splits(count=60, val=9)
    return toy_features(splits), splits


def train(experiment, data, folder, *callbacks):
    inputs, splits = data
    file = folder / "model.keras"
    history = classifier.train(
        experiment, inputs, splits, SIZE, SEED, file, folder / "state", callbacks
    )
    model = keras.saving.load_model(file)
    return history.drop(columns="seconds"), [
        variable.numpy() for variable in [*model.variables, *model.optimizer.variables]
    ]


def same(one, other):
    one[0].equals(other[0]) or pytest.fail(f"{one[0]}\n{other[0]}")
    for a, b in zip(one[1], other[1], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_training_makes_what_it_would_have_made(kind, data, tmp_path):
    experiment = on_features(epochs=7, **KINDS[kind])
    witness = Witness()
    whole = train(experiment, data, tmp_path / "whole", witness)
    if "early_stopping" in KINDS[kind]:
        assert 2 < len(whole[0]) < 7
    if "plateau" in kind:
        assert whole[0]["learning_rate"].nunique() > 2
    other = tmp_path / "stopped"
    last = len(whole[0]) - 1
    for epoch, when in ((1, "midst"), (2, "begin"), (last, "end")):
        with pytest.raises(KeyboardInterrupt):
            train(experiment, data, other, Kill(epoch, when))
    again = Witness()
    same(train(experiment, data, other, again), whole)
    assert again.seen == witness.seen


def test_a_training_that_was_over_trains_no_epoch_again(data, tmp_path, capfd):
    experiment = on_features(epochs=3, **KINDS["dropout and momentum"])
    whole = train(experiment, data, tmp_path)
    assert "Epoch 3/3" in capfd.readouterr().out
    before = (tmp_path / "model.keras").read_bytes()
    (tmp_path / "model.keras").unlink()
    same(train(experiment, data, tmp_path), whole)
    assert "Epoch" not in capfd.readouterr().out
    assert (tmp_path / "model.keras").read_bytes() == before


def test_only_the_last_state_and_the_best_are_kept(data, tmp_path):
    experiment = on_features(epochs=6, optimizer=optimizer("adam", 0.3))
    history, _ = train(experiment, data, tmp_path)
    best = int(history["val_loss"].idxmin()) + 1
    kept = {path.name for path in tmp_path.glob("state/*/*.npz")}
    assert kept == {f"{best}.npz", "6.npz"}


def test_a_state_of_which_a_part_is_missing_counts_for_nothing(data, tmp_path):
    experiment = on_features(epochs=6, optimizer=optimizer("adam", 0.3))
    history, _ = whole = train(experiment, data, tmp_path / "whole")
    best = int(history["val_loss"].idxmin()) + 1
    assert best < 6
    for lost in ("6.npz", f"{best}.npz", "state.json"):
        shutil.copytree(tmp_path / "whole", tmp_path / lost)
        (file,) = (tmp_path / lost / "state").glob(f"*/{lost}")
        if lost == "state.json":
            file.write_text('{"logs": [')
        else:
            file.unlink()
        same(train(experiment, data, tmp_path / lost), whole)


@pytest.mark.parametrize("change", ["seed", "inputs", "experiment"])
def test_the_state_of_another_training_is_not_taken_over(change, data, tmp_path):
    inputs, splits = data
    experiment = on_features(epochs=2)
    train(experiment, data, tmp_path)
    (first,) = (tmp_path / "state").iterdir()
    (tmp_path / "state/mine.txt").write_text("a file, not a folder")
    seed = SEED + (change == "seed")
    if change == "experiment":
        experiment = on_features(epochs=3)
    if change == "inputs":
        inputs = inputs + np.float32(1)
    classifier.train(
        experiment, inputs, splits, SIZE, seed, tmp_path / "m.keras", tmp_path / "state"
    )
    assert not first.exists()
    assert (tmp_path / "state/mine.txt").exists()


def test_a_loss_that_is_not_finite_names_batch_and_last_values(tmp_path):
    """The mean of an epoch is seen every few batches; which one it was is found all the same."""
    splits = toy_splits(count=640, val=8)
    inputs = toy_features(splits)
    # Without a dense layer, whose relu would answer 0 to what is no number.
    heads = {"filters": [], "pools": 0, "dense": [], "label_dense": []}
    experiment = edited(
        "mobilenet_1", network=heads, epochs=3, batch_size=16, optimizer=optimizer("adam", 0.01)
    )
    rows = splits.loc[splits["split"] == "train", "sample"].to_numpy()
    # The sample that comes in batch 21 of the second epoch, as training.datasets orders them.
    order = np.random.default_rng([SEED, 1]).permutation(len(rows))

    class Spoil(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
            value = np.nan if epoch == 1 else clean
            inputs[rows[order[20 * 16 + 3]], 0] = value

    clean = inputs[rows[order[20 * 16 + 3]], 0]
    with pytest.raises(InputError, match="batch 21 of epoch 2") as caught:
        train(experiment, (inputs, splits), tmp_path, Spoil())
    message = str(caught.value)
    assert "loss is not finite" in message
    assert "(batch 20 of epoch 2)" in message
    assert "learning_rate" in message
    assert not (tmp_path / "model.keras").exists()
    # The epoch before it is kept for the next call, and no later one.
    (state,) = (tmp_path / "state").glob("*/state.json")
    assert len(json.loads(state.read_text())["logs"]) == 1


def test_a_validation_loss_that_is_not_finite_is_told(tmp_path):
    splits = toy_splits(count=40, val=8)
    inputs = toy_features(splits)
    inputs[splits.loc[splits["split"] == "val", "sample"].iloc[0]] = np.inf
    with pytest.raises(InputError, match="validation after epoch") as caught:
        train(on_features(epochs=2), (inputs, splits), tmp_path)
    assert "the last finite values: box_loss 0." in str(caught.value)


@pytest.mark.parametrize("name", ["scratch_2"])
def test_convolutions_with_dropout_go_on_as_well(name, tmp_path):
    splits = toy_splits(count=40, val=9)
    crops = np.random.default_rng(0).integers(0, 256, (len(splits), 32, 32, 3), np.uint8)
    experiment = edited(name, epochs=4)
    whole = train(experiment, (crops, splits), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(experiment, (crops, splits), tmp_path / "stopped", Kill(2, "midst"))
    same(train(experiment, (crops, splits), tmp_path / "stopped"), whole)


def test_the_digest_depends_on_every_argument():
    splits = toy_splits(count=20, val=5)
    experiment = on_features()
    inputs = toy_features(splits)
    base = (inputs, splits, [experiment], [1, 2])
    changed = [
        (inputs + 1, *base[1:]),
        (inputs, splits.iloc[::-1], *base[2:]),
        (inputs, splits, [on_features(epochs=99)], [1, 2]),
        (*base[:3], [2, 1]),
    ]
    found = {checkpoint.digest(*arguments) for arguments in [base, *changed]}
    assert len(found) == 5
    assert checkpoint.digest(*base) in found
