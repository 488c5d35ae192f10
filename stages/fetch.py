"""Bring the dataset into data/<dataset>/raw and look at every photograph once."""

from facemask import datasets, photographs
from stages.common import Run, run_stage, write_csv


def fetch(run: Run) -> None:
    """Write raw/images, raw/annotations and photographs.csv."""
    datasets.fetch(run.dataset.source, run.raw)
    table = photographs.survey(datasets.photograph_paths(run.raw), run.workers)
    write_csv(table, run.data / "photographs.csv")


if __name__ == "__main__":
    run_stage(fetch)
