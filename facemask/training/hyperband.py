"""Search the hyperparameters of a head with Hyperband (Li et al. 2018), as Keras Tuner has it.

Keras Tuner's oracle chooses the next values and epochs; trials are trained here. Its own loop
would treat an error in the code as a failed trial and go on, keep all trials' weights and
optimizers, and resume from files that a kill can leave torn or at odds with one another. The
oracle's choices depend on its seed and the scores alone: a stopped search replays them, with the
scores of finished trials from their records.
"""

import math
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import keras
import keras_tuner as kt
import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from facemask import cluster
from facemask.config.training import ResolvedSearch, Search, Space
from facemask.errors import InputError
from facemask.io import atomic_write, read_json, write_json
from facemask.resolve import with_values
from facemask.shards import Inputs
from facemask.training import checkpoint, classifier, loop

# What a table of trials holds of their best epochs, and Keras' name for it.
METRICS = {"val_loss": "val_loss", "val_accuracy": "val_label_accuracy", "val_iou": "val_box_iou"}

Row = dict[str, Any]
History = dict[str, list[float]]  # a value an epoch, by Keras' names
Weights = list[np.ndarray]
# Trains the trial of a number with its values, from weights if given; returns its best epoch's.
Fit = Callable[[int, Mapping[str, Any], Weights | None], tuple[History, Weights]]
Trial = tuple[int, Mapping[str, Any]]  # its number and its values


@dataclass(frozen=True, eq=False)
class Given:
    """What all trials of a search are made of, and the folder of their records."""

    search: ResolvedSearch
    inputs: Inputs
    splits: pd.DataFrame
    folder: Path


def search(
    search: ResolvedSearch, inputs: Inputs, splits: pd.DataFrame, state: Path
) -> tuple[dict[str, Any], dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """Find the values of a space with which the base's head has the least validation loss.

    A trial that continues another takes over the weights of its best epoch, but not the state of
    its optimizer, and counts epochs from the end of the other's round. Called again after it was
    stopped, at whatever moment, the search goes on and finds what it would have found.

    Args:
        search: space, epochs, factor, patience, and the experiment, for what is not in the space.
            Its seed is that of the values drawn; with a trial's number, of its first weights and
            dropout; with that of an epoch, of its order of samples.
        inputs: (N, d) features, one row per sample; may be memory-mapped.
        splits: the table of `splits.split`; sample numbers the rows of `inputs`; test is not used.
        state: folder of finished trials and of the states of others, for a next call with the same
            arguments and code; all else in it is deleted.

    Returns:
        The best values, one for each key of `Space`; a summary: val_loss, and trials, epochs and
        seconds in all; the trials, one row each: trial (from 1), bracket and round (s and i of the
        paper), epochs (the last one trained), continues (a trial), the values, val_loss,
        val_accuracy and val_iou (of its epoch of the least val_loss; infinite if no loss was
        finite); and their epochs: trial, bracket, round, epoch (from 1), loss, val_loss.

    Raises:
        InputError: the space has fewer combinations than trials begin, a network cannot be made,
            or no trial had a finite validation loss.
    """
    folder = checkpoint.state_folder(state, checkpoint.digest(inputs, splits, search))
    given = Given(search, inputs, splits, folder)
    try:
        trials, epochs, seconds = _run(given)
    except _UnreadableError as error:
        tqdm.write(f"The search starts again: {error}")
        shutil.rmtree(folder)
        trials, epochs, seconds = _run(given)
    best = min(trials, key=lambda trial: trial["val_loss"])
    if not math.isfinite(best["val_loss"]):
        raise InputError(
            "no trial had a finite validation loss; give the space lower learning rates"
        )
    found = {name: best[name] for name in Space.model_fields}
    counts = {"trials": len(trials), "epochs": len(epochs), "seconds": round(seconds, 1)}
    table = pd.DataFrame(trials).astype({"continues": "Int64"})
    return found, {"val_loss": best["val_loss"], **counts}, table, pd.DataFrame(epochs)


def hyperband(search: Search, seed: int, folder: Path) -> kt.oracles.HyperbandOracle:
    """Return Keras Tuner's oracle over a space, before its first trial; it writes into the folder.

    Raises:
        InputError: the space has fewer combinations than trials begin.
    """
    space = kt.HyperParameters()
    for name, values in search.space:
        space.Choice(name, list(values))
    oracle = kt.oracles.HyperbandOracle(
        kt.Objective("val_loss", "min"),
        max_epochs=search.max_epochs,
        factor=search.factor,
        seed=seed + 1,  # given 0, the oracle would draw one
        hyperparameters=space,
    )
    oracle.verbose = 0
    oracle._set_project_dir(folder, "oracle")
    # After this many draws of values that were tried before, the oracle ends the search early.
    oracle._max_collisions = 10_000
    begun = sum(size for (_, number), size in round_sizes(oracle).items() if number == 0)
    combinations = math.prod(len(set(values)) for _, values in search.space)
    if combinations < begun:
        raise InputError(
            f"the space has {combinations} combinations of values, but with max_epochs "
            f"{search.max_epochs} and factor {search.factor} {begun} trials begin\n"
            "Give it more values, or lower max_epochs or raise factor"
        )
    return oracle


def round_sizes(oracle: kt.oracles.HyperbandOracle) -> dict[tuple[int, int], int]:
    """Return how many trials run in each (bracket, round), in the order they do."""
    return {
        (bracket, number): oracle._get_size(bracket, number)
        for bracket in reversed(range(oracle._get_num_brackets()))
        for number in range(oracle._get_num_rounds(bracket))
    }


@lru_cache(1)
def _trainer(given: Given) -> Fit:
    """Return what trains the trials of a search, whose datasets are made once in a process."""
    search, inputs, base, log = given.search, given.inputs, given.search.experiment, loop.EpochLog()
    batches = classifier.datasets(base, inputs, given.splits, log)

    def fit(
        number: int, values: Mapping[str, Any], weights: Weights | None
    ) -> tuple[History, Weights]:
        keras.backend.clear_session()
        # A trial is the same whatever ran before it in this process.
        seed = np.random.SeedSequence([base.seed, number]).generate_state(1).item()
        changes = {"seed": seed, "early_stopping": search.patience}
        experiment = with_values(base, values).model_copy(update=changes)
        epochs = range(values["tuner/initial_epoch"], values["tuner/epochs"])
        steps = loop.steps_per_call(len(batches[0]) * len(epochs))
        model = classifier.compiled(experiment, inputs.shape[1:], steps)
        if weights:
            model.set_weights(weights)
        state, watching = _state(given.folder, number), loop.watching(experiment)
        # No state after the last epoch: the trial's record replaces it.
        trained = checkpoint.Checkpoint(state, watching, at_end=False)
        loop.go_on(experiment, trained, model, batches, epochs, log)
        trained.restore_best()
        best = model.get_weights()
        _free(model)
        names = ("loss", *METRICS.values(), "seconds")
        return {name: [epoch[name] for epoch in trained.logs] for name in names}, best

    return fit


def _free(model: keras.Model) -> None:
    """Give back the memory of a model's variables: TensorFlow keeps them after they are deleted.

    Without it a search grows by the size of weights and optimizer with each trial.
    """
    for variable in [*model.variables, *model.optimizer.variables]:
        nothing = tf.zeros(0, variable.value.dtype)
        tf.raw_ops.AssignVariableOp(resource=variable.value.handle, value=nothing)


def _run(given: Given) -> tuple[list[Row], list[Row], float]:
    """Return a row per trial that the oracle chooses, a row per epoch, and the seconds they took.

    The trials of a round do not depend on one another: a cluster trains them side by side.
    """
    oracle = hyperband(given.search, given.search.experiment.seed, given.folder)
    sizes = round_sizes(oracle)
    trials: list[Row] = []
    epochs: list[Row] = []
    seconds = 0.0
    with tqdm(total=sum(sizes.values()), desc="search", unit="trial") as bar:
        for size in sizes.values():
            # To the oracle each is of a tuner of its own, which would else go on with its last one.
            chosen = [oracle.create_trial(f"tuner {number}") for number in range(size)]
            values = [trial.hyperparameters.values for trial in chosen]
            numbered = [*enumerate(values, len(trials) + 1)]
            records = cluster.map(partial(_record, given), numbered, "", "trial")
            for trial, one, record in zip(chosen, numbered, records, strict=True):
                trials.append(_trial_row(*one, record))
                epochs.extend(_epoch_rows(trials[-1], record))
                seconds += sum(record["seconds"])
                oracle.update_trial(trial.trial_id, {"val_loss": trials[-1]["val_loss"]})
                trial.status = "COMPLETED"
                oracle.end_trial(trial)
                for spare in {row["trial"] for row in trials} - _needed(trials, sizes):
                    _weights_file(given.folder, spare).unlink(missing_ok=True)
                bar.set_postfix(val_loss=f"{min(row['val_loss'] for row in trials):.5f}")
                bar.update()
    return trials, epochs, seconds


def _record(given: Given, trial: Trial) -> History:
    """Return the history of a trial, trained unless its record lies in the folder."""
    (number, values), folder = trial, given.folder
    file = folder / f"{number}.json"
    if not file.exists():
        parent = _parent(values)
        weights = _read_weights(_weights_file(folder, parent)) if parent else None
        history, best = _trainer(given)(number, values, weights)
        with atomic_write(_weights_file(folder, number)) as part:
            np.savez(part, *best)
        write_json(history, file)
        shutil.rmtree(_state(folder, number), ignore_errors=True)
    return _read(file)


def _trial_row(number: int, values: Mapping[str, Any], history: History) -> Row:
    # A loss that is no number is worse than any; to the oracle it would be a trial that failed.
    losses = np.nan_to_num(history["val_loss"], nan=np.inf, posinf=np.inf)
    best = int(np.argmin(losses))
    return {
        "trial": number,
        "bracket": values["tuner/bracket"],
        "round": values["tuner/round"],
        "epochs": values["tuner/initial_epoch"] + len(losses),
        "continues": _parent(values),
        **{name: values[name] for name in Space.model_fields},
        **{name: history[logged][best] for name, logged in METRICS.items()},
        "val_loss": float(losses[best]),
    }


def _epoch_rows(trial: Row, history: History) -> Iterator[Row]:
    where = {name: trial[name] for name in ("trial", "bracket", "round")}
    first = trial["epochs"] - len(history["loss"]) + 1
    pairs = zip(history["loss"], history["val_loss"], strict=True)
    for epoch, (loss, val_loss) in enumerate(pairs, first):
        yield {**where, "epoch": epoch, "loss": loss, "val_loss": val_loss}


def _parent(values: Mapping[str, Any]) -> int | None:
    """Return the number of the trial that one with these values continues."""
    return int(values["tuner/trial_id"]) + 1 if "tuner/trial_id" in values else None


def _needed(trials: Sequence[Row], sizes: Mapping[tuple[int, int], int]) -> set[int]:
    """Return the trials that may still be continued: of each round, as many as the next one takes.

    Later trials can only push others out: who is not needed once never will be.
    """
    best = set()
    for (bracket, number), size in sizes.items():
        before = [row for row in trials if (row["bracket"], row["round"] + 1) == (bracket, number)]
        before.sort(key=lambda row: row["val_loss"])
        best |= {row["trial"] for row in before[:size]}
    return best - {row["continues"] for row in trials}


class _UnreadableError(Exception):
    """A file that a search has left cannot be read."""


def _weights_file(folder: Path, number: int) -> Path:
    return folder / f"{number}.npz"


def _state(folder: Path, number: int) -> Path:
    """The folder of what a trial goes on from."""
    return folder / str(number)


def _read_weights(file: Path) -> Weights:
    try:
        with np.load(file) as arrays:
            return list(arrays.values())
    except (EOFError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise _UnreadableError(f"{file} cannot be read ({error})") from None


def _read(file: Path) -> History:
    try:
        return read_json(file)
    except ValueError as error:
        raise _UnreadableError(f"{file} cannot be read ({error})") from None
