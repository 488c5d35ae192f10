"""Read the XML annotations into annotations.csv and say what was found."""

import pandas as pd

from facemask.data import annotations, issues
from facemask.data.issues import Defect
from facemask.io import read_json, write_csv, write_json, write_text
from facemask.reporting.validation import page as validation_page
from stages.common import Run, run_stage


def parse(run: Run) -> None:
    """Write annotations.csv, and first all defects of the dataset, as a table and as a page."""
    faces, validation = annotations.parse(
        sorted((run.raw / "annotations").iterdir()),
        pd.read_csv(run.data / "photographs.csv"),
        run.dataset.classes,
        [Defect(**row) for row in read_json(run.data / "defects.json")["defects"]],
    )
    page = run.validation.with_suffix(".md")
    write_json(validation, run.validation)
    write_text(validation_page(run.params.dataset, validation), page)
    if run.params.strict:
        issues.stop_at_errors([Defect(**row) for row in validation["defects"]], page)
    write_csv(faces, run.data / "annotations.csv")


if __name__ == "__main__":
    run_stage(parse)
