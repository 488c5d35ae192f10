"""Search the hyperparameters of a head on a backbone's features."""

import shutil

import numpy as np
import pandas as pd
import tensorflow as tf

from facemask.io import write_csv, write_json
from facemask.training.search import search as search_search
from stages.common import Run, run_stage


def tune(run: Run, name: str) -> None:
    """Write searches/<search>: what was found, beside a copy of the features it was found on.

    An experiment on a search reads both from that one folder, which DVC tracks.
    """
    # It warns that every trial traces a network of its own.
    tf.get_logger().setLevel("ERROR")
    search = run.params.searches[name]
    source, folder, state = (
        run.data / search.inputs,
        run.data / "searches" / name,
        run.resume / "tune" / name,
    )
    found, summary, trials, epochs = search_search(
        search,
        run.params.experiments[search.base],
        np.load(source / "inputs.npy", mmap_mode="r"),
        pd.read_csv(run.splits),
        run.input_size(search.inputs),
        run.params.seed,
        state,
    )
    write_json(found, folder / "found.json")
    for file in ("inputs.npy", "backbone.json"):
        shutil.copyfile(source / file, folder / file)
    metrics = run.metrics / "searches"
    write_json(found | summary, metrics / f"{name}.json")
    trials.insert(0, "search", name)
    write_csv(trials, metrics / f"{name}.csv")
    write_csv(epochs, metrics / f"{name}_epochs.csv")
    shutil.rmtree(state)


if __name__ == "__main__":
    run_stage(tune)
