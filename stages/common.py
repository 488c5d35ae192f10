"""What all stages share: the parameters, where files lie, and how a wrong input is told."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from facemask import config
from facemask.errors import REMEDIES, InputError
from facemask.io import alone, read_json


class Run:
    """The parameters of this run and its folders, relative to the repository's root."""

    def __init__(self) -> None:
        self.params = config.read(Path("params.yaml"))
        name = self.params.dataset
        named = name + self.params.split.suffix
        self.dataset = self.params.datasets[name]
        self.workers = self.params.workers or os.cpu_count() or 1
        self.data = Path("data", name)
        self.raw = self.data / "raw"
        self.splits = self.data / f"splits{self.params.split.suffix}.csv"
        self.small_splits = self.data / f"small_splits{self.params.split.suffix}.csv"
        self.models = Path("models", named)
        self.metrics = Path("metrics", named)
        # What comes before the split is the same for both protocols and has no suffix.
        self.validation = Path("metrics", name, "validation.json")
        self.backbones = Path("metrics", name, "backbones")
        self.docs = Path("docs", "results", named)
        # What lets a stopped run go on; DVC deletes a stage's outputs before it runs.
        self.resume = Path(".resume", named)

    def experiment(self, name: str) -> config.Experiment:
        """Return an experiment of params.yaml, with what its search found if it has one."""
        experiment = self.params.experiments[name]
        found = self.data / experiment.inputs / "found.json"
        return config.choose(experiment, read_json(found)) if found.exists() else experiment

    def input_size(self, inputs: str) -> int:
        """Return the side in px of the crops that an experiment's inputs were made from."""
        kind, _, name = self.params.made_from(inputs).partition("/")
        return int(name) if kind == "crops" else self.params.backbones[name].input_size


def seed_folders(folder: Path, seeds: int) -> list[Path]:
    """Return where the model of each seed lies: the first in the experiment's own folder."""
    return [folder, *(folder / f"repeat_{number}" for number in range(1, seeds))]


def trained_folders(folder: Path) -> list[Path]:
    """Return the folders of `seed_folders` that are there."""
    return seed_folders(folder, 1 + len(list(folder.glob("repeat_*"))))


def run_stage(stage: Callable[..., None]) -> None:
    """Run a stage with the command line's arguments; what a user can mend is told in one message.

    One process at a time: what a killed DVC has left at work would write the same files.
    """
    name = Path(sys.argv[0]).stem
    try:
        run = Run()
        with alone(Path(".resume", "locks", "@".join([name, *sys.argv[1:]]))):
            stage(run, *sys.argv[1:])
    except InputError as error:
        sys.exit(f"\nThe {name} stage stopped: {error}\n")
    except OSError as error:
        if error.errno not in REMEDIES:
            raise
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(
            f"\nThe {name} stage stopped: {where}{os.strerror(error.errno)}. "
            f"{REMEDIES[error.errno]}\nThen run dvc repro again: it goes on from here.\n"
        )
