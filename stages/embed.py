"""Run a frozen backbone once over all samples."""

from pathlib import Path

import numpy as np

from facemask.data.arrays import in_batches
from facemask.io import new_array, whole, write_json
from facemask.models import backbones
from stages.common import Run, run_stage


def embed(run: Run, name: str) -> None:
    """Write features/<backbone>/inputs.npy and what the backbone's weights are."""
    backbone = run.params.backbones[name]
    model, loaded = backbones.build_backbone(backbone, run.dataset.weights)
    crops = np.load(run.data / f"crops/{backbone.input_size}/inputs.npy", mmap_mode="r")
    folder = run.data / "features" / name
    shape = (len(crops), model.output_shape[1])
    with whole(folder / "inputs.npy") as file:
        features = new_array(file, np.float32, shape)
        done = 0
        for batch in in_batches(crops, f"embed {name}"):
            features[done : done + len(batch)] = model.predict_on_batch(batch)
            done += len(batch)
        features.flush()
    about = {
        "weights": Path(loaded).name,
        "sha256": backbones.weights_digest(model, loaded),
        "params": model.count_params(),
        "input_size": backbone.input_size,
    }
    write_json(about, folder / "backbone.json")
    write_json(about, run.backbones / f"{name}.json")


if __name__ == "__main__":
    run_stage(embed)
