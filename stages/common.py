"""What all stages share: the parameters, where files lie, and how a wrong input is told."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from facemask import config
from facemask.errors import InputError


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


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table without its index, making the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)


def write_json(value: dict[str, Any], path: Path) -> None:
    """Write a mapping as readable JSON, making the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Return the contents of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def run_stage(stage: Callable[..., None]) -> None:
    """Run a stage with the command line's arguments; a wrong input ends in one message, exit 1."""
    try:
        stage(Run(), *sys.argv[1:])
    except InputError as error:
        sys.exit(f"\nThe {Path(sys.argv[0]).stem} stage stopped: {error}\n")
