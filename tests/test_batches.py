"""Batches: every sample once, in the order asked for, read from the file when it is due."""

import math
import tracemalloc
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from facemask.training.batches import batches


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


def numbered(count: int, dtype: str = "float32") -> np.ndarray:
    """(count, 2) whose row i is (i, 100 + i)."""
    return np.stack([np.arange(count), 100 + np.arange(count)], axis=1).astype(dtype)


def answers_of(rows: np.ndarray) -> dict[str, np.ndarray]:
    """What tells the row: label the row, box four times it."""
    return {
        "label": rows[:, None].astype(np.float32),
        "box": np.repeat(rows[:, None], 4, 1).astype(np.float32),
    }


def weights_of(rows: np.ndarray) -> dict[str, np.ndarray]:
    return {"label": rows / np.float32(8), "box": np.ones(len(rows), np.float32)}


def seen(epoch: Iterable) -> list[list[int]]:
    """The rows of one pass, a list a batch; all parts of a batch must tell the same rows."""
    found = []
    for part in epoch:
        inputs, answers, *weights = (keras.tree.map_structure(np.asarray, item) for item in part)
        rows = inputs[:, 0].astype(int)
        np.testing.assert_array_equal(inputs[:, 1], 100 + rows)
        assert set(answers) == {"label", "box"}
        np.testing.assert_array_equal(answers["label"], rows[:, None])
        np.testing.assert_array_equal(answers["box"], np.repeat(rows[:, None], 4, 1))
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
    dataset = batches(numbered(12), ROWS, answers_of(ROWS), 3, lambda: next(left), weights)
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
    dataset = batches(numbered(20), rows, answers_of(rows), size, order)
    assert dataset.cardinality() == len(dataset) == math.ceil(count / size)
    for _ in range(2):
        found = seen(dataset)
        assert sorted(chain(*found)) == sorted(rows)
        assert [len(batch) for batch in found[:-1]] == [size] * (len(dataset) - 1)
        assert len(found) == len(dataset) and found[-1]


def test_rows_keep_their_order_where_none_is_given() -> None:
    dataset = batches(numbered(12), ROWS, answers_of(ROWS), 4, weights=weights_of(ROWS))
    for _ in range(2):
        assert seen(dataset) == [[7, 2, 9, 4], [0, 11, 5]]


@pytest.mark.parametrize("shape", [(5,), (6, 6, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float16"])
def test_types_and_shapes_are_those_of_the_arrays(dtype: str, shape: tuple[int, ...]) -> None:
    inputs = np.random.default_rng(0).integers(0, 256, (9, *shape)).astype(dtype)
    rows = np.array([8, 1, 3])
    answers = {"label": np.eye(2, dtype=np.float32)[[0, 1, 1]], "box": np.ones((3, 4), np.float32)}
    first, last = batches(inputs, rows, answers, 2).as_numpy_iterator()
    assert first[0].dtype == last[0].dtype == np.dtype(dtype)
    np.testing.assert_array_equal(first[0], inputs[[8, 1]])
    np.testing.assert_array_equal(last[0], inputs[[3]])
    np.testing.assert_array_equal(first[1]["label"], [[1, 0], [0, 1]])
    assert first[1]["label"].dtype == first[1]["box"].dtype == np.float32
    spec = batches(inputs, rows, answers, 2).element_spec
    assert (spec[0].shape.as_list(), spec[0].dtype.name) == ([None, *shape], dtype)
    assert spec[1]["label"].shape.as_list() == [None, 2]
    assert spec[1]["box"].shape.as_list() == [None, 4]


def test_a_batch_is_read_when_it_is_due() -> None:
    rows = np.random.default_rng(0).permutation(1000)
    inputs = recorded(numbered(1000))
    dataset = batches(inputs, rows, answers_of(rows), 10)
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
    answers = {"label": (rows % 251).astype(np.float32)[:, None]}
    inputs = np.load(file, mmap_mode="r")
    tracemalloc.start()
    try:
        for part, answer in batches(inputs, rows, answers, 8):
            assert np.asarray(part)[:, 0, 0].tolist() == np.asarray(answer["label"])[:, 0].tolist()
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
        numbered(12), ROWS, answers_of(ROWS), 3, lambda: orders[turn.epoch], weights_of(ROWS)
    )
    unseen = np.array([3, 1, 10, 8])
    validation = batches(numbered(12), unseen, answers_of(unseen), 3)
    watcher = Watcher()
    watcher.compile(run_eagerly=True)
    watcher.fit(train, validation_data=validation, epochs=3, callbacks=[turn], shuffle=False)
    assert [len(batch) for batch in watcher.trained] == [3, 3, 1] * 3
    assert [*chain(*watcher.trained)] == [row for order in orders for row in ROWS[order]]
    assert watcher.validated == [[3, 1, 10], [8]] * 3
