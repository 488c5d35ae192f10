"""Train one localizer and predict with its best epoch on samples."""

from stages.keras_import import keras

# isort: split
import shutil
from functools import partial
from pathlib import Path

import pandas as pd

from facemask.config.localizer import ResolvedLocalizer
from facemask.inference.localizer import predict
from facemask.io import write_text
from facemask.shards import Crops
from facemask.training import localizer
from facemask.training.loop import parameters
from stages.common import DATA, MODELS, STATE, config_file, run_stage
from stages.repeats import train_repeats, write_repeat


def localize(name: str) -> None:
    """Write models/<localizer>, as the train stage does; it goes on where it stopped.

    A variant of the ablation, ablation/<variant>, predicts on validation samples alone.
    """
    settings = ResolvedLocalizer.model_validate_json(config_file("localizer", name).read_bytes())
    models, state = MODELS / name, STATE / "localize" / name
    parts = ["val"] if name.startswith("ablation/") else ["train", "val", "test"]
    train_repeats(partial(localize_one, parts, state), settings, models)
    write_text(settings.model_dump_json(indent=2) + "\n", models / "config.json")
    shutil.rmtree(state)


def localize_one(parts: list[str], state: Path, repeat: tuple[ResolvedLocalizer, Path]) -> None:
    """Train one repeat, and predict with it on the samples of some parts of the split."""
    settings, folder = repeat
    crops, splits = Crops(DATA / "crops/native"), pd.read_csv(DATA / "splits.csv")
    samples = splits[splits["split"].isin(parts)]
    if settings.extra_crops:
        extra = pd.read_csv(DATA / "extra_splits.csv").astype(splits.dtypes)
        splits = pd.concat([splits, extra], ignore_index=True)
    file = folder / "model.keras"
    history = localizer.train(settings, crops, splits, file, state / str(settings.seed))
    model = keras.saving.load_model(file, compile=False)
    predictions = predict(model, settings, crops, samples)
    write_repeat(folder, history, parameters(model, 0), predictions)


if __name__ == "__main__":
    run_stage(localize)
