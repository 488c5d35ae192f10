"""What do augmentation and zoom passes cost beside training and predicting on ready images?

python -m benchmarks.localizer, after `dvc repro split pack pipelines/localizer/dvc.yaml:resolve`:
the first localizer, on the dataset of params.yaml, with its weights. Each call is an epoch of 320
training samples, or predicts on as many.
"""

from typing import Any

import keras
import numpy as np
import pandas as pd

from benchmarks.common import alternate, median, report
from facemask import params
from facemask.config.localizer import ResolvedLocalizer
from facemask.inference.localizer import predict_crops
from facemask.shards import Crops
from facemask.training import localizer
from stages.common import DATA, config_file

SAMPLES = 320
ROUNDS = 5


def main() -> None:
    """Measure."""
    config = params.read()
    name = next(iter(config.localizers))
    settings = ResolvedLocalizer.model_validate_json(config_file("localizer", name).read_bytes())
    size, passes = settings.model_input.size, settings.model_input.passes
    crops, splits = Crops(DATA / "crops/native"), pd.read_csv(DATA / "splits.csv")
    samples = splits[splits["split"] == "train"].head(SAMPLES)
    seen = [crops[number] for number in samples["sample"]]

    model = localizer.compiled(settings, 1, -(-len(samples) // settings.batch_size))
    augmented = localizer.batches(settings, crops, samples, lambda: 0)
    ready = augmented.cache()
    inputs = np.concatenate([images for images, *_ in ready.as_numpy_iterator()])

    def fit(batches: object) -> keras.callbacks.History:
        return model.fit(batches, verbose=0, shuffle=False)

    def predict() -> None:
        # As often as on crops and their mirror images, pass by pass.
        for _ in range(2 * passes):
            model.predict_on_batch(inputs)

    seconds = median(
        alternate(
            {
                "training: with augmentation": lambda: fit(augmented),
                "training: on ready images": lambda: fit(ready),
                "augmentation alone": lambda: list(augmented.as_numpy_iterator()),
                f"predicting: {passes} passes": lambda: predict_crops(model, seen, settings),
                f"predicting: on {2 * passes} ready images a crop": predict,
            },
            ROUNDS,
        )
    )
    rows = [
        {"what": what, "seconds": value, "samples/s": len(samples) / value}
        for what, value in seconds.items()
    ]
    train, ready_train, _, predicted, passed = seconds.values()
    ratios: dict[str, Any] = {
        "training_ratio": train / ready_train,
        "predicting_ratio": predicted / passed,
    }
    report("localizer", rows, dataset=config.dataset, localizer=name, size=size, **ratios)


if __name__ == "__main__":
    main()
