"""The study's networks in training: batches, targets and weights, seeds, precision, losses.

Losses and metrics are computed here once more, in NumPy, from the outputs of the saved model.
"""

import math
import tracemalloc
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from toys import (
    NO_DROPOUT,
    SEED,
    assert_same_weights,
    corner_iou,
    edited,
    fit,
    losses,
    metrics,
    on_crops,
    on_features,
    optimizer,
    recorded,
    to_corners,
    toy_crops,
    toy_features,
    toy_splits,
    train,
    wanted_boxes,
)

from facemask.config.training import ResolvedExperiment
from facemask.errors import InputError
from facemask.training import classifier, loop
from facemask.training.classifier import batches


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
        # One batch, and a step too small to change anything: all metrics are of the first weights.
        optimizer=optimizer("sgd", 1e-9),
        batch_size=50,
        epochs=1,
    )
    history, model = fit(experiment, inputs, splits, tmp_path / "model.keras")
    for name, prefix, counted in (("train", "", weights), ("val", "val_", (1, 1))):
        rows = splits[splits["split"] == name]
        for measure, value in metrics(model, experiment, inputs, rows, counted).items():
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
def test_a_seed_fixes_everything_and_test_samples_nothing(tmp_path: Path) -> None:
    splits = toy_splits(count=20, val=5)
    inputs, experiment = (
        toy_crops(splits),
        on_crops(epochs=2, dropout={"dense": 0, "shared": 0.3, "label": 0.3, "box": 0.3}),
    )
    history, model = fit(experiment, inputs, splits, tmp_path / "one.keras")
    # Again: memory-mapped, and with other labels and pixels in the rows that only test.
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
    reseeded = experiment.model_copy(update={"seed": SEED + 1})
    other_seed, _ = fit(reseeded, inputs, splits, tmp_path / "three.keras")
    assert not np.allclose(history["val_loss"], other_seed["val_loss"])


def orders(experiment: ResolvedExperiment, splits: pd.DataFrame, file: Path) -> np.ndarray:
    """The training samples as a fit reads them: (epochs, samples)."""
    inputs = recorded(toy_features(splits, seed=experiment.batch_size))
    train(experiment, inputs, splits, file)
    training_samples = set(splits.loc[splits["split"] == "train", "sample"])
    read = [batch for batch in inputs.reads if batch[0] in training_samples]
    assert max(map(len, read)) == experiment.batch_size
    # Before the first epoch Keras reads a batch to build the network.
    count = experiment.epochs * len(training_samples)
    return np.concatenate(read)[-count:].reshape(experiment.epochs, -1)


@pytest.mark.usefixtures("eager")
def test_the_order_of_samples_depends_on_seed_and_epoch_alone(tmp_path: Path) -> None:
    splits, file = toy_splits(count=30, val=8), tmp_path / "model.keras"
    found = orders(on_features(epochs=3, batch_size=10), splits, file)
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
    assert orders(other, splits, file).tolist() == found[:2].tolist()
    # Another seed: others, also in other epochs.
    reseeded = other.model_copy(update={"seed": SEED + 1})
    assert not {*map(tuple, orders(reseeded, splits, file))} & {*map(tuple, found)}
    # An epoch without those before it.
    log = loop.EpochLog()
    numbers = np.arange(30, dtype=np.float32)[:, None]
    train_set, val_set = classifier.datasets(other, numbers, splits, log)
    for epoch in (2, 0, 1):
        log.on_epoch_begin(epoch)
        assert log.epoch == epoch
        read = np.concatenate([part[0] for part in train_set.as_numpy_iterator()])
        assert read[:, 0].tolist() == found[epoch].tolist()
        validated = np.concatenate([part[0] for part in val_set.as_numpy_iterator()])
        assert validated[:, 0].tolist() == splits.loc[splits["split"] == "val", "sample"].tolist()


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
    outputs = model.predict(shown[rows["sample"]], verbose=0)
    assert outputs["label"].dtype == outputs["box"].dtype == np.float32
    # The metrics of its best epoch are the reloaded model's.
    best = history.loc[history["val_loss"].idxmin()]
    for name, value in metrics(model, experiment, shown, rows).items():
        assert best[f"val_{name}"] == pytest.approx(value, rel=1e-2, abs=1e-3), name


def test_a_network_that_cannot_be_built_leaves_the_precision_of_others(tmp_path: Path) -> None:
    crops = np.zeros((12, 4, 4, 3), np.uint8)
    experiment = edited("scratch_3", precision="bfloat16")
    with pytest.raises(InputError, match=r"\(4, 4, 3\)"):
        train(experiment, crops, toy_splits(12, 3), tmp_path / "model.keras")
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
        seed=1,
        losses=losses("binary", kind),
        box_format=box_format,
        loss_weights={"label": 0.1, "box": 1},
        optimizer=optimizer("adam", 0.003),
        dropout=NO_DROPOUT,
    )
    # Dark: no neuron of the box is saturated before it learns.
    crops = toy_crops(rows)[rows["sample"]] // 16
    targets = classifier.targets(rows, experiment)
    model = classifier.compiled(experiment, crops.shape[1:])

    def overlap() -> float:
        found = model.predict_on_batch(crops)["box"]
        pairs = (to_corners(boxes, box_format) for boxes in (targets["box"], found))
        return corner_iou(*pairs).mean()

    before = overlap()
    lost = []
    for _ in range(100):
        model.reset_metrics()
        lost.append(model.train_on_batch(crops, targets, return_dict=True)["box_loss"])
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
    found = metrics(model, experiment, inputs, train)
    assert found["label_accuracy"] == 1.0
    assert found["box_iou"] > 0.8
    assert history["val_loss"].min() < history["val_loss"][0] / 10


@pytest.mark.parametrize("box_format", ["rel_center_xywh", "center_xywh", "rel_xyxy", "xyxy"])
def test_targets_are_boxes_in_the_wanted_format(box_format: str) -> None:
    rows = toy_splits(count=12, val=3)
    found = classifier.targets(rows, on_features(box_format=box_format))
    np.testing.assert_allclose(found["box"], wanted_boxes(rows, box_format), rtol=1e-5)
    assert found["box"].dtype == np.float32


def test_targets_are_labels_as_the_loss_wants_them() -> None:
    rows = toy_splits(count=12, val=3)
    binary = classifier.targets(rows, on_features())["label"]
    assert binary.shape == (12, 1)
    assert binary[:, 0].tolist() == rows["label"].tolist()
    one_hot = classifier.targets(rows, on_features(losses=losses("categorical")))["label"]
    assert one_hot.shape == (12, 2)
    assert one_hot.sum(axis=1).tolist() == [1] * 12
    assert one_hot[:, 1].tolist() == rows["label"].tolist()  # the last neuron is "with mask"


def test_a_network_that_does_not_fit_its_inputs_is_reported(tmp_path: Path) -> None:
    deep = edited("scratch_3")
    crops = np.zeros((12, 16, 16, 3), np.uint8)
    with pytest.raises(InputError, match=r"\(16, 16, 3\)"):
        train(deep, crops, toy_splits(12, 3), tmp_path / "model.keras")


# Batches.


def numbered(count: int, dtype: str = "float32") -> np.ndarray:
    """(count, 2) whose row i is (i, 100 + i)."""
    return np.stack([np.arange(count), 100 + np.arange(count)], axis=1).astype(dtype)


def targets_of(rows: np.ndarray) -> dict[str, np.ndarray]:
    """What says which row it is: label the row, box four times it."""
    return {
        "label": rows[:, None].astype(np.float32),
        "box": np.repeat(rows[:, None], 4, 1).astype(np.float32),
    }


def weights_of(rows: np.ndarray) -> dict[str, np.ndarray]:
    return {"label": rows / np.float32(8), "box": np.ones(len(rows), np.float32)}


def seen(epoch: Iterable) -> list[list[int]]:
    """The rows of one pass, a list a batch; all parts of a batch must be of the same rows."""
    found = []
    for part in epoch:
        inputs, targets, *weights = (keras.tree.map_structure(np.asarray, item) for item in part)
        rows = inputs[:, 0].astype(int)
        np.testing.assert_array_equal(inputs[:, 1], 100 + rows)
        assert set(targets) == {"label", "box"}
        np.testing.assert_array_equal(targets["label"], rows[:, None])
        np.testing.assert_array_equal(targets["box"], np.repeat(rows[:, None], 4, 1))
        for weight in weights:
            np.testing.assert_array_equal(weight["label"], rows / 8)
            np.testing.assert_array_equal(weight["box"], np.ones(len(rows)))
        found.append(rows.tolist())
    return found


# Not sorted, not all of them.
ROWS = np.array([7, 2, 9, 4, 0, 11, 5])


@pytest.mark.parametrize("weighted", [False, True])
def test_each_epoch_follows_the_order_it_is_given(weighted: bool) -> None:
    orders = [[6, 5, 4, 3, 2, 1, 0], [2, 0, 1, 6, 4, 3, 5], [0, 1, 2, 3, 4, 5, 6]]
    left = iter(map(np.array, orders))
    weights = weights_of(ROWS) if weighted else None
    dataset = batches(numbered(12), ROWS, targets_of(ROWS), 3, lambda: next(left), weights)
    for order in orders:
        wanted = ROWS[order].tolist()
        assert seen(dataset) == [wanted[:3], wanted[3:6], wanted[6:]]
    assert len(dataset.element_spec) == 2 + weighted


@pytest.mark.parametrize("count", [1, 4, 7, 8])
@pytest.mark.parametrize("size", [1, 4, 50])
@pytest.mark.parametrize("shuffled", [False, True])
def test_every_row_comes_once_an_epoch(count: int, size: int, shuffled: bool) -> None:
    rng = np.random.default_rng(0)
    rows = rng.permutation(20)[:count]
    order = (lambda: rng.permutation(count)) if shuffled else None
    dataset = batches(numbered(20), rows, targets_of(rows), size, order)
    assert dataset.cardinality() == len(dataset) == math.ceil(count / size)
    for _ in range(2):
        found = seen(dataset)
        assert sorted(chain(*found)) == sorted(rows)
        assert [len(batch) for batch in found[:-1]] == [size] * (len(dataset) - 1)
        assert len(found) == len(dataset) and found[-1]


def test_rows_keep_their_order_where_none_is_given() -> None:
    dataset = batches(numbered(12), ROWS, targets_of(ROWS), 4, weights=weights_of(ROWS))
    for _ in range(2):
        assert seen(dataset) == [[7, 2, 9, 4], [0, 11, 5]]


@pytest.mark.parametrize("shape", [(5,), (6, 6, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float16"])
def test_types_and_shapes_are_those_of_the_arrays(dtype: str, shape: tuple[int, ...]) -> None:
    inputs = np.random.default_rng(0).integers(0, 256, (9, *shape)).astype(dtype)
    rows = np.array([8, 1, 3])
    targets = {"label": np.eye(2, dtype=np.float32)[[0, 1, 1]], "box": np.ones((3, 4), np.float32)}
    first, last = batches(inputs, rows, targets, 2).as_numpy_iterator()
    assert first[0].dtype == last[0].dtype == np.dtype(dtype)
    np.testing.assert_array_equal(first[0], inputs[[8, 1]])
    np.testing.assert_array_equal(last[0], inputs[[3]])
    np.testing.assert_array_equal(first[1]["label"], [[1, 0], [0, 1]])
    assert first[1]["label"].dtype == first[1]["box"].dtype == np.float32
    spec = batches(inputs, rows, targets, 2).element_spec
    assert (spec[0].shape.as_list(), spec[0].dtype.name) == ([None, *shape], dtype)
    assert spec[1]["label"].shape.as_list() == [None, 2]
    assert spec[1]["box"].shape.as_list() == [None, 4]


def test_a_batch_is_read_when_it_is_due() -> None:
    rows = np.random.default_rng(0).permutation(1000)
    inputs = recorded(numbered(1000))
    dataset = batches(inputs, rows, targets_of(rows), 10)
    assert inputs.reads == []
    running = iter(dataset)
    next(running)
    # Two wait, one is being read.
    assert len(inputs.reads) <= 4
    for _ in range(10):
        next(running)
    assert len(inputs.reads) <= 14
    assert all(len(read) <= 10 for read in inputs.reads)
    assert inputs.reads == [rows[10 * i : 10 * i + 10].tolist() for i in range(len(inputs.reads))]


def test_a_file_is_never_read_whole(tmp_path: Path) -> None:
    """32 MiB are read in batches of 128 KiB."""
    file = tmp_path / "inputs.npy"
    written = np.lib.format.open_memmap(file, "w+", np.uint8, (2048, 128, 128))
    written[:, 0, 0] = np.arange(2048) % 251
    written.flush()
    del written
    rows = np.random.default_rng(0).permutation(2048)
    targets = {"label": (rows % 251).astype(np.float32)[:, None]}
    inputs = np.load(file, mmap_mode="r")
    tracemalloc.start()
    try:
        for part, target in batches(inputs, rows, targets, 8):
            assert np.asarray(part)[:, 0, 0].tolist() == np.asarray(target["label"])[:, 0].tolist()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 8 * 128**2 < peak < 4 * 2**20


class Watcher(keras.Model):
    """Notes the rows it is trained and validated with, and learns nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.trained, self.validated = [], []

    def call(self, inputs: Any) -> Any:
        return inputs

    def train_step(self, data: tuple) -> dict[str, Any]:
        self.trained += seen([data])
        return {"loss": keras.ops.zeros(())}

    def test_step(self, data: tuple) -> dict[str, Any]:
        self.validated += seen([data])
        return {"loss": keras.ops.zeros(())}


class Turn(keras.callbacks.Callback):
    epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch


def test_fit_sees_the_order_of_its_epoch() -> None:
    turn = Turn()
    orders = [np.random.default_rng(epoch).permutation(len(ROWS)) for epoch in range(3)]
    train = batches(
        numbered(12), ROWS, targets_of(ROWS), 3, lambda: orders[turn.epoch], weights_of(ROWS)
    )
    unseen = np.array([3, 1, 10, 8])
    validation = batches(numbered(12), unseen, targets_of(unseen), 3)
    watcher = Watcher()
    watcher.compile(run_eagerly=True)
    watcher.fit(train, validation_data=validation, epochs=3, callbacks=[turn], shuffle=False)
    assert [len(batch) for batch in watcher.trained] == [3, 3, 1] * 3
    assert [*chain(*watcher.trained)] == [row for order in orders for row in ROWS[order]]
    assert watcher.validated == [[3, 1, 10], [8]] * 3
