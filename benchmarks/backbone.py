"""What does it save to run a frozen backbone once, rather than in every epoch of every network?

python -m benchmarks.backbone, after `dvc repro resolve split pack embed`: on the dataset of
params.yaml. A search is run whole, with its features; with the backbone in every trial it is
extrapolated from epochs of one. Ten minutes.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import keras
import pandas as pd

from benchmarks.common import alternate, median, report, study
from benchmarks.products import operations, product_rate
from facemask import params
from facemask.config.training import ResolvedExperiment, ResolvedSearch
from facemask.models import backbones, features
from facemask.shards import Shards
from facemask.training import classifier, hyperband, loop
from stages.common import DATA, config_file

BACKBONE, SEARCH, NAME = "mobilenet_v2", "mobilenet", "mobilenet_1"
OTHER = "xception"
ROUNDS = 2


def through_the_backbone(
    experiment: ResolvedExperiment, backbone: keras.Model, crops: Shards, splits: pd.DataFrame
) -> Callable[[], keras.callbacks.History]:
    """Return a function that trains an epoch of a head on its frozen backbone, and validates."""
    head = classifier.compiled(experiment, backbone.output_shape[1:])
    model = backbones.assemble(backbone, head)
    classifier.compile_as(experiment, model)
    log = loop.EpochLog()
    train_set, val_set = classifier.datasets(experiment, crops, splits, log)
    return lambda: model.fit(train_set, validation_data=val_set, verbose=0, shuffle=False)


def extract(backbone: keras.Model, crops: Shards) -> None:
    """Run a backbone over all crops, as the stage does."""
    for start in range(0, len(crops), features.ROWS):
        features.pooled(backbone, crops[start : start + features.ROWS])


def main() -> None:
    """Measure."""
    config = params.read()
    weights, other = config.datasets[config.dataset].weights, config.backbones[OTHER]
    one, inputs, splits = study(NAME)
    splits = splits[splits["split"].isin(["train", "val"])]
    backbone, _ = backbones.build_backbone(config.backbones[BACKBONE], weights)
    crops = Shards(DATA / f"crops/{one.input_size}")
    epoch = through_the_backbone(one, backbone, crops, splits)

    others, _ = backbones.build_backbone(other, weights)
    smaller = Shards(DATA / f"crops/{other.input_size}")
    rates: list[float] = []
    seconds = median(
        alternate(
            {
                "extract": lambda: extract(backbone, crops),
                "epoch": epoch,
                OTHER: lambda: extract(others, smaller),
                "products": lambda: rates.append(product_rate()),
            },
            ROUNDS,
        )
    )
    rate = statistics.median(rates)
    extraction = {
        name: {
            "images/s": len(crops) / taken,
            "share of the rate of float32 products": operations(model) * len(crops) / taken / rate,
        }
        for name, model, taken in (
            (BACKBONE, backbone, seconds["extract"]),
            (OTHER, others, seconds[OTHER]),
        )
    }
    names = [name for name, each in config.experiments.items() if each.inputs == one.inputs]
    heads = {name: study(name)[0] for name in names}
    chosen = ResolvedSearch.model_validate_json(
        config_file("study", f"searches/{SEARCH}").read_bytes()
    )
    trained, epochs = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for name, experiment in heads.items():
            start = time.perf_counter()
            file = Path(folder, "model.keras")
            history = classifier.train(experiment, inputs, splits, file, Path(folder, name))
            trained[name], epochs[name] = time.perf_counter() - start, len(history)
        start = time.perf_counter()
        _, summary, *_ = hyperband.search(chosen, inputs, splits, Path(folder, "search"))
        searched = time.perf_counter() - start
    cases = {
        f"{NAME}: {epochs[NAME]} epochs": (
            epochs[NAME] * seconds["epoch"],
            seconds["extract"] + trained[NAME],
        ),
        f"{len(heads)} experiments: {sum(epochs.values())} epochs": (
            sum(epochs.values()) * seconds["epoch"],
            seconds["extract"] + sum(trained.values()),
        ),
        f"a search: {summary['epochs']} epochs through the backbone": (
            summary["epochs"] * seconds["epoch"],
            searched,
        ),
        f"a search: {summary['trials']} trials that each extract": (
            summary["trials"] * seconds["extract"] + searched,
            searched,
        ),
    }
    rows = [
        {"case": name, "again and again, s": slow, "this project, s": fast, "ratio": slow / fast}
        for name, (slow, fast) in cases.items()
    ]
    report("backbone", rows, dataset=config.dataset, backbone=BACKBONE, extraction=extraction)


if __name__ == "__main__":
    main()
