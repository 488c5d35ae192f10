"""What all trainings share: their repeats, and what each writes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import pandas as pd

from facemask import cluster
from facemask.config.detector import ResolvedDetector
from facemask.config.localizer import ResolvedLocalizer
from facemask.config.training import ResolvedExperiment
from facemask.io import write_csv, write_json
from stages.common import repeat_folders

Settings = TypeVar("Settings", ResolvedExperiment, ResolvedLocalizer, ResolvedDetector)


def train_repeats(
    train: Callable[[tuple[Settings, Path]], None], settings: Settings, folder: Path
) -> None:
    """Train all repeats of a network, here one after the other.

    Args:
        train: trains one, given its settings, with a seed of its own, and the folder of its model.
        settings: of all of them.
        folder: of the first one's model, in which the others' folders lie.
    """
    items = []
    for number, each in enumerate(repeat_folders(folder, settings.repeats)):
        each.mkdir(parents=True, exist_ok=True)
        items.append((settings.model_copy(update={"seed": settings.seed + number}), each))
    print(f"{folder.name}: seeds {', '.join(str(repeat.seed) for repeat, _ in items)}")
    for _ in cluster.map(train, items, folder.name, "repeat"):
        pass


def write_repeat(
    folder: Path, history: pd.DataFrame, parameters: Mapping[str, int], predictions: pd.DataFrame
) -> None:
    """Write what belongs to a model beside it.

    Args:
        folder: of the model.
        history: see `loop.fit`.
        parameters: total and trainable.
        predictions: the table of `predict.predict`.
    """
    write_csv(history, folder / "history.csv")
    write_json(dict(parameters), folder / "parameters.json")
    write_csv(predictions, folder / "predictions.csv")
