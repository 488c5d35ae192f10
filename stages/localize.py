"""Train one localizer and let its best epoch answer on every sample."""

import shutil

import keras
import pandas as pd

from facemask import localizing
from facemask.files import write_csv, write_json
from facemask.pixels import Crops
from facemask.prediction import parameters
from stages.common import Run, run_stage, seed_folders


def localize(run: Run, name: str) -> None:
    """Write models/<dataset>/<localizer>, as the train stage does; it goes on where it stopped."""
    settings = run.params.localizers[name]
    application = run.params.backbones[settings.backbone].application
    crops = Crops(run.data / "crops/own")
    splits = pd.read_csv(run.splits)
    state = run.resume / "localize" / name
    for number, folder in enumerate(seed_folders(run.models / name, settings.seeds)):
        seed = run.params.seed + number
        print(f"{name}: seed {seed} ({number + 1} of {settings.seeds})")
        file = folder / "model.keras"
        history = localizing.train(
            settings,
            application,
            run.dataset.weights,
            crops,
            splits,
            seed,
            file,
            state / str(seed),
        )
        write_csv(history, folder / "history.csv")
        model = keras.saving.load_model(file, compile=False)
        write_json(parameters(model, 0), folder / "parameters.json")
        samples = splits[splits["split"] != "unused"]
        answers = localizing.predict(model, settings, crops, samples)
        write_csv(answers, folder / "predictions.csv")
    shutil.rmtree(state)


if __name__ == "__main__":
    run_stage(localize)
