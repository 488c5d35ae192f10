"""Train one localizer and predict with its best epoch on samples."""

from stages.keras_import import keras

# isort: split
import shutil

import pandas as pd

from facemask.config.localizer import ResolvedLocalizer
from facemask.data.arrays import Crops
from facemask.inference.localizer import predict
from facemask.io import write_text
from facemask.training import localizer
from facemask.training.loop import parameters
from stages.common import DATA, MODELS, STATE, config_file, run_stage
from stages.repeats import repeats, write_repeat


def localize(name: str) -> None:
    """Write models/<localizer>, as the train stage does; it goes on where it stopped.

    A variant of the ablation, ablation/<variant>, predicts on validation samples alone.
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
    shutil.rmtree(state)


if __name__ == "__main__":
    run_stage(localize)
