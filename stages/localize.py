"""Train one localizer and let its best epoch answer on samples."""

from stages.quick_keras import keras

# isort: split
import shutil

import pandas as pd

from facemask.config import ResolvedLocalizer
from facemask.data.arrays import Crops
from facemask.evaluation.metrics import validated
from facemask.inference.localizer import predict
from facemask.inference.predict import parameters
from facemask.io import write_csv, write_json, write_text
from facemask.training import localizer
from stages.common import (
    DATA,
    MODELS,
    RECORDS,
    STATE,
    config_file,
    repeat_folders,
    run_stage,
    trained_folders,
)


def localize(name: str) -> None:
    """Write models/<localizer>, as the train stage does; it goes on where it stopped.

    A variant of the ablation, ablation/<variant>, answers on validation samples alone and is
    measured at once.
    """
    settings = ResolvedLocalizer.model_validate_json(config_file("localizer", name).read_bytes())
    crops, splits = Crops(DATA / "crops/own"), pd.read_csv(DATA / "splits.csv")
    variant = name.startswith("ablation/")
    asked = splits[splits["split"].isin(["val"] if variant else ["train", "val", "test"])]
    if settings.small_crops:
        small = pd.read_csv(DATA / "small_splits.csv").astype(splits.dtypes)
        splits = pd.concat([splits, small], ignore_index=True)
    models, state = MODELS / name, STATE / "localize" / name
    for number, folder in enumerate(repeat_folders(models, settings.repeats)):
        seed, file = settings.seed + number, folder / "model.keras"
        print(f"{name}: seed {seed} ({number + 1} of {settings.repeats})")
        history = localizer.train(
            settings,
            settings.application,
            settings.weights,
            crops,
            splits,
            seed,
            file,
            state / str(seed),
        )
        write_csv(history, folder / "history.csv")
        model = keras.saving.load_model(file, compile=False)
        write_json(parameters(model, 0), folder / "parameters.json")
        write_csv(predict(model, settings, crops, asked), folder / "predictions.csv")
    write_text(settings.model_dump_json(indent=2) + "\n", models / "config.json")
    if variant:
        measure(name)
    shutil.rmtree(state)


def measure(name: str) -> None:
    """Write the validation figures of a variant, a value a repeat."""
    folders = trained_folders(MODELS / name)
    predictions = [pd.read_csv(folder / "predictions.csv") for folder in folders]
    histories = [pd.read_csv(folder / "history.csv") for folder in folders]
    found = validated(predictions, histories, pd.read_csv(DATA / "splits.csv"))
    write_json(found, RECORDS / f"localizer/{name}.json")


if __name__ == "__main__":
    run_stage(localize)
