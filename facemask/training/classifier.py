"""Train one of the study's networks: its batches, its losses, its optimizer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from facemask.columns import true_boxes
from facemask.config.training import ClassWeights, Experiment, LabelLoss, ResolvedExperiment
from facemask.errors import InputError
from facemask.models import boxes
from facemask.models.losses import box_loss, label_loss
from facemask.models.study_networks import build
from facemask.shards import Inputs
from facemask.training import checkpoint, loop
from facemask.training.loop import EpochLog


def train(
    experiment: ResolvedExperiment,
    inputs: Inputs,
    splits: pd.DataFrame,
    model_file: Path,
    state: Path,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> pd.DataFrame:
    """Train the network of an experiment and save its best epoch.

    Called again after it was stopped, at whatever moment, the training goes on from its last state
    and makes what it would have made.

    Args:
        experiment: layers, losses, optimizer, schedule, epochs, seed.
        inputs: (N, …) crops or features, one row per sample; may be memory-mapped.
        splits: the table of `splits.split`; sample numbers the rows of `inputs`.
        model_file: the .keras file to write.
        state: folder for what a next call with the same arguments and code goes on from.
        callbacks: called after every epoch beside the experiment's own.

    Returns:
        The history: see `loop.fit`.

    Raises:
        InputError: a loss was not finite; it names the batch.
    """
    # The number of repeats does not change this training.
    settings = experiment.model_copy(update={"repeats": 1})
    folder = checkpoint.state_folder(state, checkpoint.digest(inputs, splits, settings))
    batches_of_an_epoch = -(-(splits["split"] == "train").sum() // experiment.batch_size)
    return loop.fit(
        experiment,
        lambda steps: compiled(experiment, inputs.shape[1:], steps),
        lambda log: datasets(experiment, inputs, splits, log),
        model_file,
        folder,
        callbacks,
        loop.steps_per_call(batches_of_an_epoch * experiment.epochs),
    )


def compiled(
    experiment: ResolvedExperiment, input_shape: tuple[int, ...], steps: int = 1
) -> keras.Model:
    """Build the network of an experiment, ready to be fitted; its seed decides the first weights.

    Args:
        experiment: layers, losses, optimizer, precision, seed.
        input_shape: (s, s, 3) of crops, (d,) of features.
        steps: see `loop.fit`.

    Raises:
        InputError: the layers do not fit the input, or the optimizer does not know an option.
    """
    keras.utils.set_random_seed(experiment.seed)
    try:
        model = build(experiment, input_shape)
    except ValueError as error:
        raise InputError(
            f"the network does not fit inputs of {input_shape}: {error}\n"
            "Give it fewer filters or pools, or larger inputs"
        ) from error
    compile_as(experiment, model, steps)
    return model


def compile_as(experiment: Experiment, model: keras.Model, steps: int = 1) -> None:
    """Give a model with a label and a box output the experiment's losses and optimizer.

    Raises:
        InputError: the optimizer does not know an option.
    """
    model.compile(
        optimizer=loop.make_optimizer(experiment.optimizer),
        loss={
            "label": label_loss(experiment.losses.label),
            "box": box_loss(experiment.losses.box, experiment.box_format),
        },
        loss_weights=experiment.loss_weights.model_dump(),
        metrics={"label": "accuracy", "box": boxes.MeanIoU(experiment.box_format)},
        steps_per_execution=steps,
    )


def datasets(
    experiment: ResolvedExperiment, inputs: Inputs, splits: pd.DataFrame, log: EpochLog
) -> tuple[tf.data.Dataset, tf.data.Dataset]:
    """Return the training and the validation samples in batches.

    Args:
        experiment: losses, class weights, batch size, seed.
        inputs, splits: as for `train`.
        log: knows the epoch.

    Returns:
        See `batches`. The order of training samples depends on seed and epoch alone; their labels
        are weighted by class_weights.
    """
    train_rows, val_rows = (splits[splits["split"] == name] for name in ("train", "val"))

    def order() -> np.ndarray:
        return np.random.default_rng([experiment.seed, log.epoch]).permutation(len(train_rows))

    def batched(rows: pd.DataFrame, **more: Any) -> tf.data.Dataset:  # noqa: ANN401
        labels_and_boxes = targets(rows, experiment)
        numbers = rows["sample"].to_numpy()
        return batches(inputs, numbers, labels_and_boxes, experiment.batch_size, **more)

    weights = sample_weights(train_rows, experiment.class_weights)
    return batched(train_rows, order=order, weights=weights), batched(val_rows)


def batches(
    inputs: Inputs,
    rows: np.ndarray,
    targets: Mapping[str, np.ndarray],
    batch_size: int,
    order: Callable[[], np.ndarray] | None = None,
    weights: Mapping[str, np.ndarray] | None = None,
) -> tf.data.Dataset:
    """Return a dataset of (inputs, targets) or (inputs, targets, weights), the last batch smaller.

    Args:
        inputs: (N, …) crops or features; may be memory-mapped: a batch is read when it is due.
        rows: (n,) which rows of inputs.
        targets: of each head, (n, …).
        batch_size: samples per batch.
        order: called at the start of each epoch for the order of the n samples; None keeps theirs.
        weights: of each head, (n,).
    """
    by_head = [targets] if weights is None else [targets, weights]

    def read() -> Iterator[tuple[np.ndarray | dict[str, np.ndarray], ...]]:
        turn = np.arange(len(rows)) if order is None else order()
        for start in range(0, len(rows), batch_size):
            chosen = turn[start : start + batch_size]
            parts = [{head: values[chosen] for head, values in part.items()} for part in by_head]
            yield inputs[rows[chosen]], *parts

    signature = (
        _any_number_of(inputs),
        *({head: _any_number_of(values) for head, values in part.items()} for part in by_head),
    )
    return loop.prefetched(read, signature, -(-len(rows) // batch_size))


def _any_number_of(array: Inputs) -> tf.TensorSpec:
    return tf.TensorSpec((None, *array.shape[1:]), array.dtype)


def sample_weights(samples: pd.DataFrame, weights: ClassWeights) -> dict[str, np.ndarray] | None:
    """Return how much each sample counts for each head, float32 (N,); None if all count alike."""
    if weights.with_mask == weights.without_mask == 1:
        return None
    label = label_weights(samples, weights)
    return {"label": label, "box": np.ones_like(label)}


def label_weights(samples: pd.DataFrame, weights: ClassWeights) -> np.ndarray:
    """Return how much the label of each sample counts, float32 (N,)."""
    label = np.where(samples["label"] == 1, weights.with_mask, weights.without_mask)
    return label.astype(np.float32)


def targets(samples: pd.DataFrame, experiment: ResolvedExperiment) -> dict[str, np.ndarray]:
    """Return the targets of the two heads, in the experiment's formats.

    Args:
        samples: rows with label, the crop region and the box inside it.
        experiment: label loss, box format, size of the input.

    Returns:
        label: float32 (N, 1), or one-hot (N, 2) for categorical cross-entropy; box: float32 (N, 4).
    """
    label = label_targets(samples, experiment.losses.label)
    box = boxes.convert(
        true_boxes(samples), "rel_xyxy", experiment.box_format, experiment.input_size
    )
    return {"label": label, "box": keras.ops.convert_to_numpy(box)}


def label_targets(samples: pd.DataFrame, loss: LabelLoss) -> np.ndarray:
    """Return labels as float32 (N, 1), or one-hot (N, 2) for categorical cross-entropy."""
    label = samples["label"].to_numpy()
    if loss.name == "categorical_crossentropy":
        return keras.utils.to_categorical(label, 2).astype(np.float32)
    return label[:, None].astype(np.float32)
