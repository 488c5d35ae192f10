"""Bring the dataset into data/<dataset>/raw and look at every photograph once."""

from facemask.data import images, sources
from facemask.io import write_csv, write_json
from stages.common import Run, run_stage


def fetch(run: Run) -> None:
    """Write raw/images, raw/annotations, photographs.csv and what is wrong with photographs."""
    sources.fetch(run.dataset.source, run.raw)
    table, defects = images.survey(sources.photograph_paths(run.raw), run.workers)
    write_csv(table, run.data / "photographs.csv")
    write_json({"defects": [defect._asdict() for defect in defects]}, run.data / "defects.json")


if __name__ == "__main__":
    run_stage(fetch)
