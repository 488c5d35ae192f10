"""Bring the dataset into data/raw and take an inventory of its images."""

from facemask import params
from facemask.data import copies, images, sources
from facemask.io import write_csv, write_json
from stages.common import DATA, RAW, run_stage, workers


def fetch() -> None:
    """Write raw/images, raw/annotations, images.csv, thumbnails.npy and the issues of files."""
    config = params.read()
    source = config.datasets[config.dataset].source
    sources.check_apart(source, RAW)
    with copies.replacing(RAW) as folder:
        origins, skipped = sources.fetch(source, folder)
        paths = sources.image_paths(folder)
        thumbnails = DATA / "thumbnails.npy"
        table, issues = images.inventory(paths, workers(config.workers), thumbnails)
        copies.record(folder, origins, table)
    write_csv(table, DATA / "images.csv")
    found = [issue._asdict() for issue in [*skipped, *issues]]
    write_json({"issues": found}, DATA / "issues.json")


if __name__ == "__main__":
    run_stage(fetch)
