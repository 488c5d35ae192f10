"""Read the XML annotations into annotations.csv and say what was found."""

import pandas as pd

from facemask import annotations
from stages.common import Run, run_stage, write_csv, write_json


def parse(run: Run) -> None:
    """Write annotations.csv and what was found on the way."""
    faces, validation = annotations.parse(
        sorted((run.raw / "annotations").iterdir()),
        pd.read_csv(run.data / "photographs.csv"),
        run.dataset.classes,
    )
    write_csv(faces, run.data / "annotations.csv")
    write_json(validation, run.validation)


if __name__ == "__main__":
    run_stage(parse)
