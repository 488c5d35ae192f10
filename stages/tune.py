"""Search the hyperparameters of a head on a backbone's features."""

import stages.keras_import  # noqa: F401

# isort: split
import shutil

import pandas as pd
import tensorflow as tf

from facemask.config.training import ResolvedSearch
from facemask.io import write_csv, write_json
from facemask.shards import Shards
from facemask.training.hyperband import search
from stages.common import DATA, RECORDS, STATE, config_file, run_stage


def tune(name: str) -> None:
    """Write searches/<search>.json, the best values, and a record of all trials and epochs."""
    # It warns that every trial traces a network of its own.
    tf.get_logger().setLevel("ERROR")
    settings = ResolvedSearch.model_validate_json(
        config_file("study", f"searches/{name}").read_bytes()
    )
    inputs = Shards(DATA / settings.inputs)
    state = STATE / "tune" / name
    best, summary, trials, epochs = search(
        settings, inputs, pd.read_csv(DATA / "splits.csv"), state
    )
    write_json(best, DATA / f"searches/{name}.json")
    record = RECORDS / "study/searches" / name
    write_json(best | summary, record / "best.json")
    trials.insert(0, "search", name)
    write_csv(trials, record / "trials.csv")
    write_csv(epochs, record / "epochs.csv")
    shutil.rmtree(state)


if __name__ == "__main__":
    run_stage(tune)
