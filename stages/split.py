"""Say which samples train, validate and test."""

import pandas as pd

from facemask.data.splits import grouped_protocol, only_training, report_protocol, summary
from facemask.io import read_json, write_csv, write_json
from stages.common import Run, run_stage


def split(run: Run) -> None:
    """Write the splits table, the small crops that may train as well, and data.json."""
    samples = pd.read_csv(run.data / "samples.csv")
    photographs = pd.read_csv(run.data / "photographs.csv")
    groups = photographs.set_index("image")["group"]
    params = run.params.split
    if params.protocol == "report":
        splits = report_protocol(samples, params.test, params.val, params.seed)
    else:
        splits = grouped_protocol(
            samples, groups, params.test, params.val, params.seed, params.fold
        )
    write_csv(splits, run.splits)
    small = pd.read_csv(run.data / "small_samples.csv")
    small = only_training(small, splits, groups)
    write_csv(small, run.small_splits)
    counts = summary(splits, small, photographs, read_json(run.validation))
    write_json(counts, run.metrics / "data.json")


if __name__ == "__main__":
    run_stage(split)
