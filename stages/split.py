"""Say which samples train, validate and test."""

import pandas as pd

from facemask import split as splitting
from stages.common import Run, read_json, run_stage, write_csv, write_json


def split(run: Run) -> None:
    """Write the splits table and data.json."""
    samples = pd.read_csv(run.data / "samples.csv")
    photographs = pd.read_csv(run.data / "photographs.csv")
    params = run.params.split
    if params.protocol == "report":
        splits = splitting.report_protocol(samples, params.test, params.val, params.seed)
    else:
        groups = photographs.set_index("image")["group"]
        splits = splitting.grouped_protocol(samples, groups, params.test, params.val, params.seed)
    write_csv(splits, run.splits)
    faces = read_json(run.validation)["faces"]
    write_json(splitting.summary(splits, photographs, faces), run.metrics / "data.json")


if __name__ == "__main__":
    run_stage(split)
