"""What lets a long run that was stopped go on: its own folder, and the state of a training."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from keras.callbacks import Callback

from facemask.config import Section
from facemask.io import read_json, whole, write_json


def own_folder(state: Path, digest: str) -> Path:
    """Return the folder of a run; those of others, whose inputs or code differed, are deleted."""
    for other in state.glob("*"):
        if other.is_dir() and other.name != digest:
            shutil.rmtree(other)
    return state / digest


def digest(
    inputs: np.ndarray,
    splits: pd.DataFrame,
    sections: Sequence[Section],
    others: Sequence[int | str],
) -> str:
    """Return 16 hex digits of all that decides what a run finds, the code included."""
    settings = [section.model_dump() for section in sections]
    versions = [keras.__version__, tf.__version__]
    array = [inputs.shape, str(inputs.dtype)]
    found = hashlib.sha256(json.dumps([settings, others, versions, array]).encode())
    found.update(splits.to_csv(index=False).encode())
    found.update(np.ascontiguousarray(inputs).data)
    library = Path(__file__).parents[1]
    for module in sorted(library.rglob("*.py")):
        # What only measures or shows decides nothing.
        if module.parent.name not in ("evaluation", "reporting"):
            found.update(module.read_bytes())
    return found.hexdigest()[:16]


class Progress(Callback):
    """Keep all variables of a training and what was logged after each epoch, and go on from there.

    Keras' own BackupAndRestore forgets the state of dropout, and what other callbacks have seen.
    Stands last: what it logs, the others have completed.
    """

    def __init__(self, folder: Path, told: Sequence[Callback]) -> None:
        """Read the state in a folder, if there is one.

        Args:
            folder: of the state.
            told: callbacks that are told of the epochs that are over before the training goes on.
        """
        super().__init__()
        self.folder, self.told = folder, told
        self.file = folder / "state.json"
        state = self._state()
        self.logs: list[dict[str, float]] = state.get("logs", [])
        self.best: int | None = state.get("best")
        self.stopped: bool = state.get("stopped", False)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Tell the others of the epochs that are over, then restore the state after the last."""
        for epoch, past in enumerate(self.logs):
            for callback in self.told:
                callback.on_epoch_end(epoch, dict(past))
        if self.logs:
            self.restore(len(self.logs))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Keep the state after an epoch, and that after the one of the least validation loss."""
        self.logs.append({name: float(value) for name, value in logs.items()})
        losses = [past["val_loss"] for past in self.logs]
        if losses[-1] < min(losses[:-1], default=np.inf):
            self.best = len(losses)
        with whole(self._variables_file(len(losses))) as part, part.open("wb") as file:
            np.savez(file, *[variable.numpy() for variable in self._variables()])
        state = {"logs": self.logs, "best": self.best, "stopped": self.model.stop_training}
        write_json(state, self.file)
        kept = {self._variables_file(number) for number in (len(losses), self.best)}
        for spare in set(self.folder.glob("*.npz")) - kept:
            spare.unlink()

    def restore(self, epoch: int | None) -> None:
        """Give the model and its optimizer the state they had after an epoch, counted from 1."""
        self.model.optimizer.build(self.model.trainable_variables)
        with np.load(self._variables_file(epoch)) as arrays:
            for variable, value in zip(self._variables(), arrays.values(), strict=True):
                variable.assign(value)

    def _state(self) -> dict[str, Any]:
        """What was kept; nothing if a part of it is missing, as after a deletion cut short."""
        try:
            state = read_json(self.file)
        except (OSError, ValueError):
            return {}
        kept = (len(state["logs"]), state["best"])
        return state if all(self._variables_file(epoch).exists() for epoch in kept) else {}

    def _variables(self) -> list[keras.Variable]:
        # The model's own are weights and, of each dropout, how far its random numbers are.
        return [*self.model.variables, *self.model.optimizer.variables]

    def _variables_file(self, epoch: int | None) -> Path:
        return self.folder / f"{epoch}.npz"
