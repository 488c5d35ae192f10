"""Read the XML annotations into annotations.csv, and report all issues of the dataset."""

import pandas as pd

from facemask import params
from facemask.data import annotations
from facemask.data.issues import Issue, stop_at_errors, summary
from facemask.io import read_json, write_csv, write_json, write_text
from facemask.reporting import validation
from stages.common import DATA, RAW, REPORT, run_stage


def parse() -> None:
    """Write annotations.csv, and first all issues of the dataset, as a table and as a page."""
    config = params.read()
    dataset = config.datasets[config.dataset]
    faces, found = annotations.parse(
        sorted((RAW / "annotations").iterdir()),
        pd.read_csv(DATA / "images.csv"),
        dataset.classes,
        [Issue(**row) for row in read_json(DATA / "issues.json")["issues"]],
        dataset.boxes,
    )
    page = REPORT / "validation.md"
    write_json(found, page.with_suffix(".json"))
    write_text(validation.page(config.dataset, found), page)
    issues = [Issue(**row) for row in found["issues"]]
    if config.strict:
        stop_at_errors(issues, page)
    print(f"{config.dataset}: {validation.faces(found)}", validation.pixels(found), sep="\n")
    print(summary(issues, found["left_out"], page), end="\n" * bool(issues))
    write_csv(faces, DATA / "annotations.csv")


if __name__ == "__main__":
    run_stage(parse)
