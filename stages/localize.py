"""Train one localizer and predict with its best epoch on samples."""

from stages.keras_import import keras

# isort: split
import shutil

import pandas as pd

from facemask.config.localizer import ResolvedLocalizer
from facemask.data.arrays import Crops
from facemask.evaluation.metrics import validated
from facemask.inference.localizer import predict
from facemask.inference.predict import parameters
from facemask.io import write_json, write_text
from facemask.training import localizer
from stages.common import DATA, MODELS, RECORDS, STATE, config_file, run_stage, trained_folders
from stages.repeats import repeats, write_repeat


def localize(name: str) -> None:
    """Write models/<localizer>, as the train stage does; it goes on where it stopped.

    A variant of the ablation, ablation/<variant>, predicts on validation samples alone and is
    measured at once.
    """
    settings = ResolvedLocalizer.model_validate_json(config_file("localizer", name).read_bytes())
    crops, splits = Crops(DATA / "crops/native"), pd.read_csv(DATA / "splits.csv")
    variant = name.startswith("ablation/")
    samples = splits[splits["split"].isin(["val"] if variant else ["train", "val", "test"])]
    if settings.extra_crops:
        extra = pd.read_csv(DATA / "extra_splits.csv").astype(splits.dtypes)
        splits = pd.concat([splits, extra], ignore_index=True)
    models, state = MODELS / name, STATE / "localize" / name
    for repeat, folder in repeats(settings, models):
        file = folder / "model.keras"
        history = localizer.train(repeat, crops, splits, file, state / str(repeat.seed))
        model = keras.saving.load_model(file, compile=False)
        predictions = predict(model, repeat, crops, samples)
        write_repeat(folder, history, parameters(model, 0), predictions)
    write_text(settings.model_dump_json(indent=2) + "\n", models / "config.json")
    if variant:
        measure(name)
    shutil.rmtree(state)


def measure(name: str) -> None:
    """Write the validation metrics of a variant, a value a repeat."""
    folders = trained_folders(MODELS / name)
    predictions = [pd.read_csv(folder / "predictions.csv") for folder in folders]
    histories = [pd.read_csv(folder / "history.csv") for folder in folders]
    measured = validated(predictions, histories, pd.read_csv(DATA / "splits.csv"))
    write_json(measured, RECORDS / f"localizer/{name}.json")


if __name__ == "__main__":
    run_stage(localize)
