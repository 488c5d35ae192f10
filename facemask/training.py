"""Train one experiment: compile, fit, keep the epoch of the best validation loss."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from facemask import boxes
from facemask.config import Experiment
from facemask.errors import InputError
from facemask.losses import box_loss
from facemask.networks import build


def train(
    experiment: Experiment,
    inputs: np.ndarray,
    splits: pd.DataFrame,
    size: int,
    seed: int,
    checkpoint: Path,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> pd.DataFrame:
    """Train the network of an experiment and save its best epoch.

    Args:
        experiment: layers, losses, optimizer, schedule, epochs.
        inputs: (N, …) crops or features, one row a sample; may be memory-mapped.
        splits: the table of `split`; sample numbers the rows of `inputs`.
        size: side of the input in px, the unit of box formats in pixels.
        seed: of first weights, batch order and dropout.
        checkpoint: the .keras file to write.
        callbacks: called after every epoch beside the experiment's own.

    Returns:
        One row an epoch: epoch (from 1), learning_rate, seconds, loss, label_loss, box_loss,
        label_accuracy, box_iou, and the same with val_. Keras averages the losses of single heads
        over batches, not samples: where the last batch is small they do not quite add up to loss.

    Raises:
        InputError: no epoch had a finite validation loss.
    """
    keras.utils.set_random_seed(seed)
    try:
        model = build(experiment, inputs.shape[1:])
    except ValueError as error:
        raise InputError(
            f"the network does not fit inputs of {inputs.shape[1:]}: {error}\n"
            "Give it fewer filters or pools, or larger inputs"
        ) from error
    optimizer = experiment.optimizer
    model.compile(
        optimizer=keras.optimizers.get(
            {
                "class_name": optimizer.name,
                "config": {"learning_rate": optimizer.learning_rate},
            }
        ),
        loss={"label": experiment.losses.label, "box": box_loss(experiment.losses.box)},
        loss_weights=experiment.loss_weights.model_dump(),
        metrics={"label": "accuracy", "box": boxes.MeanIoU(experiment.box_format)},
    )
    train_set, val_set = (
        (inputs[rows["sample"]], targets(rows, experiment, size))
        for rows in (splits[splits["split"] == name] for name in ("train", "val"))
    )
    history = model.fit(
        *train_set,
        validation_data=val_set,
        batch_size=experiment.batch_size,
        epochs=experiment.epochs,
        callbacks=[EpochLog(), *_schedule(experiment), *callbacks, _best(checkpoint)],
        # One line an epoch in a log file, a moving bar on a terminal.
        verbose=1 if sys.stdout.isatty() else 2,
    ).history
    if not np.isfinite(history["val_loss"]).any():
        raise InputError(
            "no epoch had a finite validation loss; lower optimizer.learning_rate or loss_weights"
        )
    table = pd.DataFrame(history)
    table.insert(0, "epoch", table.index + 1)
    return table


def targets(samples: pd.DataFrame, experiment: Experiment, size: int) -> dict[str, Any]:
    """Return what the two heads should answer, in the experiment's formats.

    Args:
        samples: rows with label, the crop rectangle and the box inside it.
        size: side of the input in px.

    Returns:
        label: float32 (N, 1), or one-hot (N, 2) for categorical cross-entropy; box: float32 (N, 4).
    """
    label = samples["label"].to_numpy()
    if experiment.losses.label == "categorical_crossentropy":
        label = keras.utils.to_categorical(label, 2)
    else:
        label = label[:, None].astype(np.float32)
    box = boxes.convert(boxes.true_boxes(samples), "rel_xyxy", experiment.box_format, size)
    return {"label": label, "box": keras.ops.convert_to_numpy(box)}


class EpochLog(keras.callbacks.Callback):
    """Add the learning rate and the seconds of the epoch to what other callbacks see.

    It stands first: Keras hands one and the same dict to all callbacks in turn.
    """

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Note the time."""
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Add learning_rate and seconds."""
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)
        logs["seconds"] = time.perf_counter() - self.start


def _schedule(experiment: Experiment) -> list[keras.callbacks.Callback]:
    chosen: list[keras.callbacks.Callback] = []
    if experiment.schedule.name == "plateau":
        chosen.append(
            keras.callbacks.ReduceLROnPlateau(
                monitor="val_loss",
                patience=experiment.schedule.patience,
                factor=experiment.schedule.factor,
            )
        )
    if experiment.early_stopping:
        chosen.append(keras.callbacks.EarlyStopping("val_loss", patience=experiment.early_stopping))
    return chosen


def _best(checkpoint: Path) -> keras.callbacks.Callback:
    # The threshold keeps a first loss that is not a number from passing for the best.
    return keras.callbacks.ModelCheckpoint(
        checkpoint, monitor="val_loss", save_best_only=True, initial_value_threshold=np.inf
    )
