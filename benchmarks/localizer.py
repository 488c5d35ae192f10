"""What do views that are drawn anew cost beside training and answering on ready ones?

python -m benchmarks.localizer, after `dvc repro split pack`: the first localizer of its pipeline,
on the dataset of params.yaml, of its weights. Each call is an epoch of 320 training samples, or
lets the network answer on as many.
"""

from typing import Any

import keras
import numpy as np
import pandas as pd

from benchmarks.common import alternate, median, report
from facemask import params
from facemask.data.arrays import Crops
from facemask.inference.localizer import answer
from facemask.models.backbones import build_application
from facemask.models.localizer import build_localizer
from facemask.training import localizer
from stages.common import DATA

SAMPLES = 320
ROUNDS = 5


def main() -> None:
    """Measure."""
    config = params.read()
    name, settings = next(iter(config.localizers.items()))
    application = config.backbones[settings.backbone].application
    weights = config.datasets[config.dataset].weights
    size, looks = settings.canvas.size, settings.canvas.looks
    crops, splits = Crops(DATA / "crops/own"), pd.read_csv(DATA / "splits.csv")
    samples = splits[splits["split"] == "train"].head(SAMPLES)
    seen = [crops[number] for number in samples["sample"]]

    network, preprocess, _ = build_application(application, size, weights)
    model = build_localizer(settings, network, preprocess)
    localizer.compile_as(settings, model, 1, -(-len(samples) // settings.batch_size))
    drawn = localizer.batches(settings, crops, samples, 0, lambda: 0)
    ready = drawn.cache()
    canvases = np.concatenate([images for images, *_ in ready.as_numpy_iterator()])

    def fit(views: object) -> keras.callbacks.History:
        return model.fit(views, verbose=0, shuffle=False)

    def pass_on() -> None:
        # As many passes as the looks at crops and their mirror images.
        for _ in range(2 * looks):
            model.predict_on_batch(canvases)

    seconds = median(
        alternate(
            {
                "training: views drawn anew": lambda: fit(drawn),
                "training: ready views": lambda: fit(ready),
                "drawing alone": lambda: list(drawn.as_numpy_iterator()),
                f"answering: {looks} looks": lambda: answer(model, seen, settings),
                f"answering: {2 * looks} passes of ready views": pass_on,
            },
            ROUNDS,
        )
    )
    rows = [
        {"what": what, "seconds": value, "samples/s": len(samples) / value}
        for what, value in seconds.items()
    ]
    train, ready_train, _, answered, passed = seconds.values()
    ratios: dict[str, Any] = {
        "training_ratio": train / ready_train,
        "answering_ratio": answered / passed,
    }
    report("localizer", rows, dataset=config.dataset, localizer=name, size=size, **ratios)


if __name__ == "__main__":
    main()
