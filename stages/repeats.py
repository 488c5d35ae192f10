"""What the train and localize stages share: the repeats of a training, and what each writes."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import pandas as pd

from facemask.config.detector import ResolvedDetector
from facemask.config.localizer import ResolvedLocalizer
from facemask.config.training import ResolvedExperiment
from facemask.io import write_csv, write_json
from stages.common import repeat_folders

Settings = TypeVar("Settings", ResolvedExperiment, ResolvedLocalizer, ResolvedDetector)


def repeats(settings: Settings, folder: Path) -> Iterator[tuple[Settings, Path]]:
    """Yield the settings of each repeat, with a seed of its own, and the folder of its model."""
    for number, each in enumerate(repeat_folders(folder, settings.repeats)):
        seed = settings.seed + number
        print(f"{folder.name}: seed {seed} ({number + 1} of {settings.repeats})")
        each.mkdir(parents=True, exist_ok=True)
        yield settings.model_copy(update={"seed": seed}), each


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
