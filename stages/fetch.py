"""Bring the dataset into data/raw and take an inventory of its images."""

from facemask import params
from facemask.data import images, sources
from facemask.io import write_csv, write_json
from stages.common import DATA, RAW, run_stage, workers


def fetch() -> None:
    """Write raw/images, raw/annotations, images.csv and the issues of images."""
    config = params.read()
    sources.fetch(config.datasets[config.dataset].source, RAW)
    table, issues = images.inventory(sources.image_paths(RAW), workers(config.workers))
    write_csv(table, DATA / "images.csv")
    write_json({"issues": [issue._asdict() for issue in issues]}, DATA / "issues.json")


if __name__ == "__main__":
    run_stage(fetch)
