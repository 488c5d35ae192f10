"""One training of any network: batches, learning rate, epochs, what stops it, the saved model."""

import itertools
import json
import re
import sys
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from keras.optimizers import schedules

from facemask.config.training import Optimizer, Training
from facemask.errors import InputError
from facemask.io import atomic_write
from facemask.training.checkpoint import Checkpoint

# Keras returns to Python once for this many steps: a fifth of the time of a small network. It takes
# a second to trace, which short trainings do not win back.
STEPS_PER_CALL = 32
SHORT = 1000  # steps of a whole training


def steps_per_call(total: int) -> int:
    """Return how many of a training's `total` steps Keras runs between two returns to Python."""
    return 1 if total <= SHORT else STEPS_PER_CALL


def fit(
    settings: Training,
    make_model: Callable[[int], keras.Model],
    make_batches: Callable[["EpochLog"], tuple[Any, Any]],
    model_file: Path,
    state: Path,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    steps: int = 1,
) -> pd.DataFrame:
    """Fit a network and save its best epoch; called again after a stop, go on from the last state.

    Args:
        settings: epochs, schedule, early stopping.
        make_model: returns the compiled network, for a number of steps per call.
        make_batches: returns training and validation batches; its argument knows the model and,
            once the training runs, the epoch.
        model_file: the .keras file to write, with the weights of the least validation loss.
        state: folder of the state to go on from.
        callbacks: called after every epoch beside those of the settings.
        steps: per call.

    Returns:
        One row per epoch: epoch (from 1), learning_rate, seconds, loss, label_loss, box_loss,
        label_accuracy, box_iou, and the same with val_. Keras averages the losses of single heads
        over batches, not samples: where the last batch is small they do not quite add up to loss.

    Raises:
        InputError: a loss was not finite; it names the batch.
    """

    def run(steps: int) -> Checkpoint:
        keras.backend.clear_session()
        model, log = make_model(steps), EpochLog()
        log.set_model(model)
        # One line an epoch in a log file, a moving bar on a terminal.
        verbose = 1 if sys.stdout.isatty() else 2
        batches, guard = make_batches(log), [NanGuard(steps)]
        checkpoint = Checkpoint(state, [*watching(settings), *callbacks])
        go_on(settings, checkpoint, model, batches, range(settings.epochs), log, guard, verbose)
        return checkpoint

    try:
        checkpoint = run(steps)
    except NotFiniteError:
        # Once more, batch by batch: it stops at the very one.
        run(1)
        raise
    checkpoint.restore_best()
    save(checkpoint.model, model_file)
    table = pd.DataFrame(checkpoint.logs)
    table.insert(0, "epoch", table.index + 1)
    return table


def go_on(
    settings: Training,
    checkpoint: Checkpoint,
    model: keras.Model,
    batches: tuple[tf.data.Dataset, tf.data.Dataset],
    epochs: range,
    log: "EpochLog",
    guard: Sequence[keras.callbacks.Callback] = (),
    verbose: int = 0,
) -> None:
    """Continue a training from the state of a checkpoint, which then holds its logs and best epoch.

    Args:
        settings: schedule.
        checkpoint: of a folder, and of what watches the training.
        model: compiled.
        batches: for training and for validation.
        epochs: counted from 0, those before a stop included.
        log: what the batches know the epoch by.
        guard: called after every step, or every few of them.
        verbose: as of Keras.
    """
    train_set, val_set = batches
    rate = keras.callbacks.LearningRateScheduler(partial(_rate, settings))
    # Averaged weights validate; those that train stay as they are.
    averages = [keras.callbacks.SwapEMAWeights()] if model.optimizer.use_ema else []
    reached = epochs.start + len(checkpoint.logs)
    # A training that was over has no epoch left, and only repeats the past ones.
    stop = reached if checkpoint.stopped else epochs.stop
    start = time.perf_counter()
    if reached < stop:
        _create_variables(model, val_set)
    log.prepared = time.perf_counter() - start
    model.fit(
        train_set,
        validation_data=val_set,
        initial_epoch=reached,
        epochs=stop,
        callbacks=[log, rate, *guard, *averages, *checkpoint.callbacks, checkpoint],
        shuffle=False,  # the batches are shuffled already
        verbose=verbose,
    )


def _create_variables(model: keras.Model, batches: tf.data.Dataset) -> None:
    """Create the variables of optimizer, losses and metrics.

    Else Keras creates them in the first step of training, which TensorFlow then traces twice.
    """
    model.optimizer.build(model.trainable_variables)
    model.evaluate(batches, steps=1, verbose=0)


def save(model: keras.Model, file: Path) -> None:
    """Write a .keras file without dates and addresses in memory: the same model, the same bytes."""
    with atomic_write(file) as part:
        model.save(part)
        with zipfile.ZipFile(part) as archive:
            members = {name: archive.read(name) for name in sorted(archive.namelist())}
        about = json.loads(members["metadata.json"])
        del about["date_saved"]
        members["metadata.json"] = json.dumps(about).encode()
        # Keras names an object that layers share by its address: numbers do as well.
        places = itertools.count()
        number: defaultdict[bytes, int] = defaultdict(lambda: next(places))
        members["config.json"] = re.sub(
            rb'(?<="shared_object_id": )\d+',
            lambda found: str(number[found.group()]).encode(),
            members["config.json"],
        )
        with zipfile.ZipFile(part, "w") as archive:
            for name, data in members.items():
                archive.writestr(zipfile.ZipInfo(name), data)


def parameters(model: keras.Model, frozen: int) -> dict[str, int]:
    """Count the parameters of a network in total, and those that were trained.

    `frozen` is the number in its backbone, if its inputs are a backbone's features.
    """
    trained = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    return {"total": model.count_params() + frozen, "trainable": trained}


def prefetched(
    read: Callable[[], Iterator[Any]], signature: tuple[Any, ...], count: int
) -> tf.data.Dataset:
    """Return a dataset of what a generator yields, `count` batches an epoch, read ahead."""
    options = tf.data.Options()
    # The autotuner has nothing to tune here and can sleep for seconds at the end of an epoch.
    options.autotune.enabled = False
    dataset = tf.data.Dataset.from_generator(read, output_signature=signature)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(count))
    return dataset.prefetch(2).with_options(options)


def make_optimizer(
    optimizer: Optimizer, steps_per_epoch: int | None = None
) -> keras.optimizers.Optimizer:
    """Return a Keras optimizer by its lower-case name.

    Args:
        optimizer: name, learning rate, weight decay, options.
        steps_per_epoch: over which the option use_ema averages weights, if ema_momentum is not
            given. None: Keras' own momentum.

    Raises:
        InputError: its constructor does not take one of the options.
    """
    # None and 0 differ to Keras: AdamW refuses None, the others spend time on 0.
    decay = optimizer.weight_decay or (0.0 if optimizer.name == "adamw" else None)
    try:
        options = dict(
            learning_rate=optimizer.learning_rate, weight_decay=decay, **optimizer.options
        )
        if optimizer.options.get("use_ema") and steps_per_epoch:
            # Of the weights that an epoch began with, a twentieth is left at its end; with Keras'
            # own .99 nine tenths would be left on a small dataset.
            options.setdefault("ema_momentum", 0.05 ** (1 / steps_per_epoch))
        return keras.optimizers.get({"class_name": optimizer.name, "config": options})
    except (TypeError, ValueError) as error:
        raise InputError(
            f"optimizer {optimizer.name} does not take {optimizer.options}: {error}\n"
            "Correct optimizer.options"
        ) from error


def learning_rate(settings: Training, epoch: int) -> float:
    """Return the learning rate of an epoch, counted from 0, that no plateau has lowered.

    The first `warmup` epochs climb in even steps to the optimizer's rate. From there on, cosine is
    `keras.optimizers.schedules.CosineDecay` down to `factor` times that rate in the epoch after the
    last, and exponential `ExponentialDecay` by `factor` an epoch.
    """
    schedule, rate = settings.schedule, settings.optimizer.learning_rate
    past = epoch - schedule.warmup
    if past < 0:
        return rate * (epoch + 1) / (schedule.warmup + 1)
    if schedule.name == "exponential":
        return float(schedules.ExponentialDecay(rate, 1, schedule.factor)(past))
    if schedule.name == "cosine":
        epochs = settings.epochs - schedule.warmup
        return float(schedules.CosineDecay(rate, epochs, schedule.factor)(past))
    return rate


def _rate(settings: Training, epoch: int, now: float) -> float:
    """The learning rate of an epoch; on a plateau it is what it was lowered to."""
    schedule = settings.schedule
    on_plateau = schedule.name == "plateau" and epoch > schedule.warmup
    return now if on_plateau else learning_rate(settings, epoch)


def watching(settings: Training) -> list[keras.callbacks.Callback]:
    """Return what lowers the learning rate on a plateau, and what stops a training early."""
    schedule, chosen = settings.schedule, []
    if schedule.name == "plateau":
        chosen.append(
            keras.callbacks.ReduceLROnPlateau(
                monitor="val_loss", patience=schedule.patience, factor=schedule.factor
            )
        )
    if settings.early_stopping:
        chosen.append(keras.callbacks.EarlyStopping("val_loss", patience=settings.early_stopping))
    return chosen


class EpochLog(keras.callbacks.Callback):
    """Know the epoch, and add its learning rate and seconds to the logs.

    It stands first: Keras hands one and the same dict to all callbacks in turn. The seconds of
    the first epoch hold those that preparing it took.
    """

    epoch, prepared = 0, 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Note epoch and time."""
        self.epoch, self.start = epoch, time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Add learning_rate and seconds."""
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)
        logs["seconds"] = self.prepared + time.perf_counter() - self.start
        self.prepared = 0.0


class NotFiniteError(InputError):
    """A loss became infinite or NaN in one of several batches."""


class NanGuard(keras.callbacks.Callback):
    """End a training at the first loss that is not finite.

    Keras logs the mean of an epoch so far, and only after as many batches as it runs per call.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.last = "none"

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Note the epoch."""
        self.epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        """Check the losses after one batch or several; `batch` is the last, from 0."""
        first, last = batch - batch % self.steps + 1, min(batch + 1, self.params["steps"])
        batches = f"batch {first}" if first == last else f"batches {first} to {last}"
        error = InputError if first == last else NotFiniteError
        self._check(logs, f"{batches} of epoch {self.epoch}", error)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Check the losses after validation."""
        self._check(logs, f"the validation after epoch {self.epoch}", InputError)

    def _check(self, logs: dict[str, Any], where: str, error: type[InputError]) -> None:
        shown = {name: value for name, value in logs.items() if name.endswith("loss")}
        if np.isfinite(list(shown.values())).all():
            self.last = ", ".join(f"{name} {value:.6g}" for name, value in shown.items())
            self.last += f" ({where})"
            return
        wrong = ", ".join(name for name, value in shown.items() if not np.isfinite(value))
        raise error(
            f"{wrong} is not finite in {where}; the last finite values: {self.last}. Lower "
            "optimizer.learning_rate or loss_weights, or warm up (schedule.warmup)"
        )
