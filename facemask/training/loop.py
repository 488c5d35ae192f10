"""One training, epoch by epoch: fit, schedules, the guard against losses that are not finite."""

import itertools
import json
import math
import re
import sys
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from facemask.config import Optimizer, Training
from facemask.errors import InputError
from facemask.io import whole
from facemask.training.checkpoint import Progress

# Python sees to the next step once for this many of them: a fifth of the time of a small network.
# It takes a second to trace, which short trainings do not win back.
STEPS_PER_CALL = 32
SHORT = 1000  # steps in all


def steps_per_call(total: int) -> int:
    """Return how many steps Python sees to at once, in a training of so many."""
    return 1 if total <= SHORT else STEPS_PER_CALL


def fit(
    settings: Training,
    make: Callable[[int], keras.Model],
    sets: Callable[["EpochLog"], tuple[Any, Any]],
    checkpoint: Path,
    folder: Path,
    callbacks: Sequence[keras.callbacks.Callback],
    steps: int,
) -> pd.DataFrame:
    """Fit a network epoch by epoch, from where a call before it was stopped.

    Args:
        settings: epochs, schedule, early stopping.
        make: returns the compiled network, for how many steps Python sees to at once.
        sets: returns training and validation batches; the log it is given says which epoch it is.
        checkpoint, callbacks: as for `train`.
        folder: of the state to go on from.
        steps: how many Python sees to at once, each of which makes the graph larger.

    Returns:
        As `train`.
    """

    def run(steps: int) -> Progress:
        keras.backend.clear_session()
        model = make(steps)
        log = EpochLog()
        # The first sets the rate of an epoch as it begins; the others go by what they have seen.
        rate, *watching = [*schedule_callbacks(settings), *callbacks]
        progress = Progress(folder, watching)
        train_set, val_set = sets(log)
        model.fit(
            train_set,
            validation_data=val_set,
            initial_epoch=len(progress.logs),
            # A training that was over already has no epoch left, and only tells of the past ones.
            epochs=len(progress.logs) if progress.stopped else settings.epochs,
            callbacks=[log, rate, Finite(steps), *watching, progress],
            shuffle=False,  # the batches are shuffled already
            # One line an epoch in a log file, a moving bar on a terminal.
            verbose=1 if sys.stdout.isatty() else 2,
        )
        return progress

    try:
        progress = run(steps)
    except NotFiniteError:
        # The epoch once more, with a look at every batch: it stops at the very one.
        run(1)
        raise
    progress.restore(progress.best)
    with whole(checkpoint) as part:
        progress.model.save(part)
        _make_reproducible(part)
    table = pd.DataFrame(progress.logs)
    table.insert(0, "epoch", table.index + 1)
    return table


def _make_reproducible(file: Path) -> None:
    """Take dates and addresses in memory out of a .keras file: the same model, the same bytes."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in sorted(archive.namelist())}
    about = json.loads(members["metadata.json"])
    del about["date_saved"]
    members["metadata.json"] = json.dumps(about).encode()
    # Keras tells layers that share an object by where it lay in memory: numbers do as well.
    places = itertools.count()
    number: defaultdict[bytes, int] = defaultdict(lambda: next(places))
    members["config.json"] = re.sub(
        rb'(?<="shared_object_id": )\d+',
        lambda found: str(number[found.group()]).encode(),
        members["config.json"],
    )
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)


def make_optimizer(optimizer: Optimizer) -> keras.optimizers.Optimizer:
    """Return a Keras optimizer by its lower-case name.

    Raises:
        InputError: its constructor does not take one of the options.
    """
    # None and 0 differ to Keras: AdamW refuses None, the others spend time on 0.
    decay = optimizer.weight_decay or (0.0 if optimizer.name == "adamw" else None)
    try:
        options = dict(
            learning_rate=optimizer.learning_rate, weight_decay=decay, **optimizer.options
        )
        return keras.optimizers.get({"class_name": optimizer.name, "config": options})
    except (TypeError, ValueError) as error:
        raise InputError(
            f"optimizer {optimizer.name} does not take {optimizer.options}: {error}\n"
            "Correct optimizer.options"
        ) from error


def learning_rate(settings: Training, epoch: int) -> float:
    """Return the learning rate of an epoch, counted from 0, that no plateau has lowered.

    The first `warmup` epochs climb in even steps to the optimizer's rate. From there, cosine falls
    along half a period so that the epoch after the last would have `factor` times that rate
    (Loshchilov & Hutter 2017), and exponential multiplies it by `factor` each epoch.
    """
    schedule, rate = settings.schedule, settings.optimizer.learning_rate
    past = epoch - schedule.warmup
    if past < 0:
        return rate * (epoch + 1) / (schedule.warmup + 1)
    if schedule.name == "exponential":
        return rate * schedule.factor**past
    if schedule.name == "cosine":
        fallen = (1 - math.cos(math.pi * past / (settings.epochs - schedule.warmup))) / 2
        return rate * (1 - (1 - schedule.factor) * fallen)
    return rate


class EpochLog(keras.callbacks.Callback):
    """Tell which epoch it is, and add its learning rate and seconds to what other callbacks see.

    It stands first: Keras hands one and the same dict to all callbacks in turn.
    """

    epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Note epoch and time."""
        self.epoch, self.start = epoch, time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Add learning_rate and seconds."""
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)
        logs["seconds"] = time.perf_counter() - self.start


class NotFiniteError(InputError):
    """A loss became infinite or no number in one of several batches."""


class Finite(keras.callbacks.Callback):
    """End a training at the first loss that is not finite.

    Keras tells the mean of an epoch so far, and only after as many batches as it runs at once.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.last = "none"

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Note the epoch."""
        self.epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        """Look at the losses after one batch or several; `batch` is the last, from 0."""
        first, last = batch - batch % self.steps + 1, min(batch + 1, self.params["steps"])
        batches = f"batch {first}" if first == last else f"batches {first} to {last}"
        error = InputError if first == last else NotFiniteError
        self._look(logs, f"{batches} of epoch {self.epoch}", error)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Look at the losses after validation."""
        self._look(logs, f"the validation after epoch {self.epoch}", InputError)

    def _look(self, logs: dict[str, Any], where: str, error: type[InputError]) -> None:
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


def schedule_callbacks(settings: Training) -> list[keras.callbacks.Callback]:
    """Return what sets the learning rate of each epoch and stops a training early."""
    schedule = settings.schedule
    on_plateau = schedule.name == "plateau"

    def rate(epoch: int, now: float) -> float:
        return now if on_plateau and epoch > schedule.warmup else learning_rate(settings, epoch)

    chosen = [keras.callbacks.LearningRateScheduler(rate)]
    if on_plateau:
        chosen.append(
            keras.callbacks.ReduceLROnPlateau(
                monitor="val_loss", patience=schedule.patience, factor=schedule.factor
            )
        )
    if settings.early_stopping:
        chosen.append(keras.callbacks.EarlyStopping("val_loss", patience=settings.early_stopping))
    return chosen
