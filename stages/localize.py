"""Train one localizer and let its best epoch answer on every sample."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import keras
import pandas as pd

from facemask.config import Localizer
from facemask.data.arrays import Crops
from facemask.inference.localizer import predict
from facemask.inference.predict import parameters
from facemask.io import write_csv, write_json
from facemask.training import localizer
from stages.common import Run, run_stage, seed_folders

PARTS = ("train", "val", "test")


def localize(run: Run, name: str) -> None:
    """Write models/<dataset>/<localizer>, as the train stage does; it goes on where it stopped."""
    train_seeds(run, run.params.localizers[name], run.models / name, PARTS)


def train_seeds(run: Run, settings: Localizer, models: Path, parts: Sequence[str]) -> None:
    """Train a localizer with each seed and let it answer on the samples of some splits."""
    application = run.params.backbones[settings.backbone].application
    crops, splits = Crops(run.data / "crops/own"), pd.read_csv(run.splits)
    asked = splits[splits["split"].isin(parts)]
    if settings.small_crops:
        small = pd.read_csv(run.small_splits).astype(splits.dtypes)
        splits = pd.concat([splits, small], ignore_index=True)
    state = run.resume / "localize" / models.relative_to(run.models)
    for number, folder in enumerate(seed_folders(models, settings.seeds)):
        seed = run.params.seed + number
        print(f"{models.name}: seed {seed} ({number + 1} of {settings.seeds})")
        file, weights = folder / "model.keras", run.dataset.weights
        history = localizer.train(
            settings, application, weights, crops, splits, seed, file, state / str(seed)
        )
        write_csv(history, folder / "history.csv")
        model = keras.saving.load_model(file, compile=False)
        write_json(parameters(model, 0), folder / "parameters.json")
        answers = predict(model, settings, crops, asked)
        write_csv(answers, folder / "predictions.csv")
    shutil.rmtree(state)


if __name__ == "__main__":
    run_stage(localize)
