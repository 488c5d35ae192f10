"""Train one of the study's networks: its batches, its losses, its optimizer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from facemask.config import ClassWeights, Experiment, LabelLoss
from facemask.errors import InputError
from facemask.models import boxes
from facemask.models.heads import build
from facemask.models.losses import box_loss, label_loss
from facemask.schema import true_boxes
from facemask.training import loop
from facemask.training.batches import batches
from facemask.training.checkpoint import digest, own_folder
from facemask.training.loop import EpochLog, make_optimizer


def train(
    experiment: Experiment,
    inputs: np.ndarray,
    splits: pd.DataFrame,
    size: int,
    seed: int,
    checkpoint: Path,
    state: Path,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> pd.DataFrame:
    """Train the network of an experiment and save its best epoch.

    Called again after it was stopped, at whatever moment, the training goes on after its last whole
    epoch and makes what it would have made.

    Args:
        experiment: layers, losses, optimizer, schedule, epochs.
        inputs: (N, …) crops or features, one row a sample; may be memory-mapped.
        splits: the table of `split`; sample numbers the rows of `inputs`.
        size: side of the input in px, the unit of box formats in pixels.
        seed: of first weights, batch order and dropout.
        checkpoint: the .keras file to write.
        state: folder for what a next call with the same arguments and code goes on from.
        callbacks: called after every epoch beside the experiment's own.

    Returns:
        One row an epoch: epoch (from 1), learning_rate, seconds, loss, label_loss, box_loss,
        label_accuracy, box_iou, and the same with val_. Keras averages the losses of single heads
        over batches, not samples: where the last batch is small they do not quite add up to loss.

    Raises:
        InputError: a loss was not finite; it names the batch.
    """
    # How often it is repeated with other seeds does not change this training.
    settings = experiment.model_copy(update={"repeats": 1})
    folder = own_folder(state, digest(inputs, splits, [settings], [size, seed]))

    def make(steps: int) -> keras.Model:
        keras.utils.set_random_seed(seed)
        return compiled(experiment, inputs.shape[1:], steps)

    def sets(log: EpochLog) -> tuple[Any, Any]:
        return datasets(experiment, inputs, splits, size, seed, log)

    batches_of_an_epoch = -(-(splits["split"] == "train").sum() // experiment.batch_size)
    steps = loop.steps_per_call(batches_of_an_epoch * experiment.epochs)
    return loop.fit(experiment, make, sets, checkpoint, folder, callbacks, steps)


def compiled(experiment: Experiment, input_shape: tuple[int, ...], steps: int = 1) -> keras.Model:
    """Build the network of an experiment, ready to be fitted.

    Args:
        experiment: layers, losses, optimizer, precision.
        input_shape: (s, s, 3) of crops, (d,) of features.
        steps: how many Python sees to at once.

    Raises:
        InputError: the layers do not fit the input, or the optimizer does not know an option.
    """
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
        optimizer=make_optimizer(experiment.optimizer),
        loss={
            "label": label_loss(experiment.losses.label),
            "box": box_loss(experiment.losses.box, experiment.box_format),
        },
        loss_weights=experiment.loss_weights.model_dump(),
        metrics={"label": "accuracy", "box": boxes.MeanIoU(experiment.box_format)},
        steps_per_execution=steps,
    )


def datasets(
    experiment: Experiment,
    inputs: np.ndarray,
    splits: pd.DataFrame,
    size: int,
    seed: int,
    log: EpochLog,
) -> tuple[Any, Any]:
    """Return the training and the validation samples in batches.

    Training samples come in an order that seed and epoch (as `log` has it) alone decide; their
    labels weigh as class_weights says.
    """
    train_rows, val_rows = (splits[splits["split"] == name] for name in ("train", "val"))

    def order() -> np.ndarray:
        return np.random.default_rng([seed, log.epoch]).permutation(len(train_rows))

    def batched(rows: pd.DataFrame, **more: Any) -> Any:  # noqa: ANN401
        answers = targets(rows, experiment, size)
        return batches(inputs, rows["sample"].to_numpy(), answers, experiment.batch_size, **more)

    weights = sample_weights(train_rows, experiment.class_weights)
    return batched(train_rows, order=order, weights=weights), batched(val_rows)


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


def targets(samples: pd.DataFrame, experiment: Experiment, size: int) -> dict[str, Any]:
    """Return what the two heads should answer, in the experiment's formats.

    Args:
        samples: rows with label, the crop rectangle and the box inside it.
        size: side of the input in px.

    Returns:
        label: float32 (N, 1), or one-hot (N, 2) for categorical cross-entropy; box: float32 (N, 4).
    """
    label = label_targets(samples, experiment.losses.label)
    box = boxes.convert(true_boxes(samples), "rel_xyxy", experiment.box_format, size)
    return {"label": label, "box": keras.ops.convert_to_numpy(box)}


def label_targets(samples: pd.DataFrame, loss: LabelLoss) -> np.ndarray:
    """Return labels as float32 (N, 1), or one-hot (N, 2) for categorical cross-entropy."""
    label = samples["label"].to_numpy()
    if loss.name == "categorical_crossentropy":
        return keras.utils.to_categorical(label, 2).astype(np.float32)
    return label[:, None].astype(np.float32)
