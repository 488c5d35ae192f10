"""Run a frozen backbone once over all samples."""

import stages.keras_import  # noqa: F401

# isort: split
from pathlib import Path

import numpy as np

from facemask import params
from facemask.data.arrays import in_batches
from facemask.io import atomic_write, new_array, write_json
from facemask.models.backbones import build_backbone, weights_digest
from stages.common import DATA, RECORDS, run_stage


def embed(name: str) -> None:
    """Write features/<backbone>/inputs.npy and whose weights the backbone has."""
    config = params.read()
    backbone = config.backbones[name]
    model, loaded = build_backbone(backbone, config.datasets[config.dataset].weights)
    crops = np.load(DATA / f"crops/{backbone.input_size}/inputs.npy", mmap_mode="r")
    folder = DATA / "features" / name
    shape = (len(crops), model.output_shape[1])
    with atomic_write(folder / "inputs.npy") as file:
        features = new_array(file, np.float32, shape)
        done = 0
        for batch in in_batches(crops, f"embed {name}"):
            features[done : done + len(batch)] = model.predict_on_batch(batch)
            done += len(batch)
        features.flush()
    about = {
        "weights": Path(loaded).name,
        "sha256": weights_digest(model, loaded),
        "params": model.count_params(),
        "input_size": backbone.input_size,
    }
    write_json(about, folder / "backbone.json")
    write_json(about, RECORDS / f"study/backbones/{name}.json")


if __name__ == "__main__":
    run_stage(embed)
