"""What lets a stopped training or search go on: its state, in a folder of its own."""

import hashlib
import json
import shutil
import time
import zipfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from keras.callbacks import Callback

from facemask.config.data import Section
from facemask.io import atomic_write
from facemask.shards import Crops, Inputs, files

SECONDS = 30  # between two states, at least, but for that of the last epoch
# What decides the result of a training, relative to the library.
CODE = ("columns.py", "resolve.py", "config/*.py", "data/*.py", "models/*.py", "training/*.py")


def state_folder(state: Path, digest: str) -> Path:
    """Return the folder of a run; those of other inputs, settings or code are deleted."""
    for other in state.glob("*"):
        if other.is_dir() and other.name != digest:
            shutil.rmtree(other)
    return state / digest


def digest(inputs: Inputs | Crops, splits: pd.DataFrame, settings: Section) -> str:
    """Return 16 hex digits of all that decides the result of a run, the code included.

    Args:
        inputs: crops or features, of any shape.
        splits: the table of `splits.split`.
        settings: everything else, resolved.
    """
    # Keras Tuner is not imported for its version: it takes half a second.
    versions = [keras.__version__, tf.__version__, metadata.version("keras-tuner")]
    # Files, not the array that they are mapped as: what lies between two is nothing.
    arrays = (
        [inputs]
        if isinstance(inputs, np.ndarray)
        else [inputs.places, *(np.load(path, mmap_mode="r") for path in files(inputs.folder))]
    )
    kinds = [(array.shape, str(array.dtype)) for array in arrays]
    about = [settings.model_dump(mode="json"), versions, kinds]
    found = hashlib.sha256(json.dumps(about).encode())
    found.update(splits.to_csv(index=False).encode())
    for array in arrays:
        found.update(np.ascontiguousarray(array).data)
    library = Path(__file__).parents[1]
    for pattern in CODE:
        for module in sorted(library.glob(pattern)):
            found.update(module.read_bytes())
    return found.hexdigest()[:16]


class Checkpoint(Callback):
    """Write the variables and logs of a training every now and then, and go on from there.

    Keras' own BackupAndRestore forgets the state of dropout, and what other callbacks have seen.
    Stands last, so that the logs are complete.
    """

    def __init__(self, folder: Path, callbacks: Sequence[Callback], at_end: bool = True) -> None:
        """Read the state in a folder, if there is one.

        Args:
            folder: of the state.
            callbacks: those to which past epochs are repeated before the training goes on.
            at_end: write the state of the last epoch, too.
        """
        super().__init__()
        self.file, self.callbacks, self.at_end = folder / "state.npz", callbacks, at_end
        self.logs: list[dict[str, float]] = []
        self.stopped = False
        self.last: list[np.ndarray] = []
        self.best: list[np.ndarray] = []
        self._read()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Repeat the past epochs to the others, then restore the variables."""
        for epoch, past in enumerate(self.logs):
            for callback in self.callbacks:
                callback.on_epoch_end(epoch, dict(past))
        if self.last:
            self._assign(self.last)
        self.written = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Note the variables of the least validation loss; write the state if it is time."""
        self.logs.append({name: float(value) for name, value in logs.items()})
        *before, loss = [past["val_loss"] for past in self.logs]
        self.stopped = self.model.stop_training
        is_last = self.stopped or epoch + 1 == self.params["epochs"]
        improved = loss < min(filter(np.isfinite, before), default=np.inf)
        due = self.at_end if is_last else time.monotonic() - self.written >= SECONDS
        if improved or due:
            # Copies: TensorFlow may hand out the memory of the variables themselves.
            self.last = [np.array(variable.numpy()) for variable in self._variables()]
        if improved:
            self.best = self.last
        if due:
            self._write()

    def restore_best(self) -> None:
        """Give the model the weights that had the least validation loss: averages, if there are.

        If no loss was finite, it keeps those of the last epoch.
        """
        if self.best:
            self._assign(self.best)
        if self.model.optimizer.use_ema:
            self.model.optimizer.finalize_variable_values(self.model.trainable_variables)

    def _assign(self, values: Sequence[np.ndarray]) -> None:
        self.model.optimizer.build(self.model.trainable_variables)
        for variable, value in zip(self._variables(), values, strict=True):
            variable.assign(value)

    def _variables(self) -> list[keras.Variable]:
        # The model's own are weights and, of each dropout, the state of its random numbers.
        return [*self.model.variables, *self.model.optimizer.variables]

    def _write(self) -> None:
        about = json.dumps({"logs": self.logs, "stopped": self.stopped})
        arrays: dict[str, Any] = {f"last_{i:05}": value for i, value in enumerate(self.last)}
        arrays |= {f"best_{i:05}": value for i, value in enumerate(self.best)}
        with atomic_write(self.file) as part, part.open("wb") as file:
            np.savez(file, about=np.array(about), **arrays)
        self.written = time.monotonic()

    def _read(self) -> None:
        """Take over what was written; nothing if it is no whole state."""
        try:
            with np.load(self.file) as arrays:
                about = json.loads(arrays["about"].item())
                self.last, self.best = (
                    [arrays[name] for name in sorted(arrays) if name.startswith(kind)]
                    for kind in ("last", "best")
                )
        except (EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile):
            return
        self.logs, self.stopped = about["logs"], about["stopped"]
