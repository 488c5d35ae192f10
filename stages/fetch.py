"""Bring the dataset into data/raw and look at every photograph once."""

from facemask import params
from facemask.data import images, sources
from facemask.io import write_csv, write_json
from stages.common import DATA, RAW, run_stage, workers


def fetch() -> None:
    """Write raw/images, raw/annotations, photographs.csv and what is wrong with photographs."""
    config = params.read()
    sources.fetch(config.datasets[config.dataset].source, RAW)
    table, defects = images.survey(sources.photograph_paths(RAW), workers(config.workers))
    write_csv(table, DATA / "photographs.csv")
    write_json({"defects": [defect._asdict() for defect in defects]}, DATA / "defects.json")


if __name__ == "__main__":
    run_stage(fetch)
