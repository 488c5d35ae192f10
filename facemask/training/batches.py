"""Feed samples to Keras a batch at a time, read from the array as they are needed."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf


def batches(
    inputs: np.ndarray,
    rows: np.ndarray,
    answers: Mapping[str, np.ndarray],
    batch_size: int,
    order: Callable[[], np.ndarray] | None = None,
    weights: Mapping[str, np.ndarray] | None = None,
) -> tf.data.Dataset:
    """Return a dataset of (inputs, answers) or (inputs, answers, weights), the last batch smaller.

    Args:
        inputs: (N, …) crops or features; may be memory-mapped: a batch is read when it is due.
        rows: (n,) which rows of inputs.
        answers: of each head, (n, …).
        batch_size: samples a batch.
        order: called at the start of each epoch for the order of the n samples; None keeps theirs.
        weights: of each head, (n,).
    """

    def read() -> Iterator[tuple[np.ndarray | dict[str, np.ndarray], ...]]:
        turn = np.arange(len(rows)) if order is None else order()
        for start in range(0, len(rows), batch_size):
            chosen = turn[start : start + batch_size]
            parts = [{head: values[chosen] for head, values in part.items()} for part in told]
            yield inputs[rows[chosen]], *parts

    told = [answers] if weights is None else [answers, weights]
    signature = (
        _any_number_of(inputs),
        *({head: _any_number_of(values) for head, values in part.items()} for part in told),
    )
    return lasting(read, signature, -(-len(rows) // batch_size))


def lasting(read: Callable[[], Iterator[Any]], signature: Any, count: int) -> tf.data.Dataset:  # noqa: ANN401
    """Return a dataset of what a generator yields, `count` batches an epoch, read ahead."""
    options = tf.data.Options()
    # The autotuner has nothing to tune here and can sleep for seconds at the end of an epoch.
    options.autotune.enabled = False
    dataset = tf.data.Dataset.from_generator(read, output_signature=signature)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(count))
    return dataset.prefetch(2).with_options(options)


def _any_number_of(array: np.ndarray) -> tf.TensorSpec:
    return tf.TensorSpec((None, *array.shape[1:]), array.dtype)
