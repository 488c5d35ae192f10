"""Trainings that are stopped and go on, against the same left alone: equal to the last bit."""

import json

import keras
import numpy as np
import pytest
from test_training import edited, on_features, optimizer, toy_features, toy_splits

from facemask.errors import InputError
from facemask.training import checkpoint, classifier, loop

SIZE, SEED = 32, 5
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
    """Notes what a logger is told, all over again in every process."""

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.seen = []

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.seen.append((epoch, {k: v for k, v in logs.items() if k != "seconds"}))


@pytest.fixture
def many_steps(monkeypatch):
    """As a long training has it: Keras runs several batches at once, and the last of them fewer."""
    monkeypatch.setattr(loop, "SHORT", 0)
    monkeypatch.setattr(loop, "STEPS_PER_CALL", 2)


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


@pytest.mark.usefixtures("many_steps")
def test_a_stopped_training_makes_what_it_would_have_made(data, tmp_path):
    experiment = on_features(epochs=5, batch_size=10, **KINDS["dropout and a plateau"])
    history = check_kills(experiment, data, tmp_path, Kill(3, "midst"))
    assert history["learning_rate"].nunique() > 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS)[1:])
def test_training_of_every_kind_goes_on(kind, data, tmp_path):
    experiment = on_features(epochs=7, batch_size=10, **KINDS[kind])
    kills = [Kill(1, "begin"), Kill(1, "midst"), Kill(2, "end")]
    history = check_kills(experiment, data, tmp_path, *kills)
    if "early_stopping" in KINDS[kind]:
        assert 2 < len(history) < 7


@pytest.mark.usefixtures("eager")
def test_a_training_that_was_over_trains_no_epoch_again(data, tmp_path, capfd):
    splits = data[1]
    splits.loc[splits["split"] == "val", "label"] ^= 1  # learning makes it worse
    experiment = on_features(epochs=3, batch_size=25, optimizer=optimizer("adam", 0.1))
    whole = train(experiment, data, tmp_path)
    assert "Epoch 3/3" in capfd.readouterr().out
    # Only the last state and the best are kept.
    best = int(whole[0]["val_loss"].idxmin()) + 1
    assert best < 3
    kept = {path.name for path in tmp_path.glob("state/*/*.npz")}
    assert kept == {f"{best}.npz", "3.npz"}
    before = (tmp_path / "model.keras").read_bytes()
    (tmp_path / "model.keras").unlink()
    same(train(experiment, data, tmp_path), whole)
    assert "Epoch" not in capfd.readouterr().out
    assert (tmp_path / "model.keras").read_bytes() == before
    # A state of which a part is missing counts for nothing.
    for lost in (f"{best}.npz", "state.json"):
        (file,) = tmp_path.glob(f"state/*/{lost}")
        if lost == "state.json":
            file.write_text('{"logs": [')
        else:
            file.unlink()
        same(train(experiment, data, tmp_path), whole)
        assert "Epoch 1/3" in capfd.readouterr().out


@pytest.mark.usefixtures("eager")
def test_the_state_of_another_training_is_not_taken_over(data, tmp_path):
    """What makes a training another one, the digest's test shows."""
    inputs, splits = data
    experiment = on_features(epochs=1, batch_size=25)
    train(experiment, data, tmp_path)
    (first,) = (tmp_path / "state").iterdir()
    (tmp_path / "state/mine.txt").write_text("a file, not a folder")
    classifier.train(
        experiment, inputs, splits, SIZE, SEED + 1, tmp_path / "m.keras", tmp_path / "state"
    )
    assert not first.exists()
    assert (tmp_path / "state/mine.txt").exists()


@pytest.mark.usefixtures("many_steps")
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


@pytest.mark.usefixtures("eager")
def test_a_validation_loss_that_is_not_finite_is_told(tmp_path):
    splits = toy_splits(count=40, val=8)
    inputs = toy_features(splits)
    inputs[splits.loc[splits["split"] == "val", "sample"].iloc[0]] = np.inf
    with pytest.raises(InputError, match="validation after epoch") as caught:
        train(on_features(epochs=1), (inputs, splits), tmp_path)
    assert "the last finite values: box_loss 0." in str(caught.value)


@pytest.mark.slow
def test_convolutions_with_dropout_go_on_as_well(tmp_path):
    splits = toy_splits(count=40, val=9)
    crops = np.random.default_rng(0).integers(0, 256, (len(splits), 32, 32, 3), np.uint8)
    check_kills(edited("scratch_2", epochs=4), (crops, splits), tmp_path, Kill(2, "midst"))


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
