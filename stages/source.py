"""List the files of the dataset's source, so that `dvc repro` notices new and changed ones."""

import csv

from facemask import params
from facemask.data import listing
from facemask.io import atomic_write
from stages.common import DATA, run_stage


def source() -> None:
    """Write source.csv: name, size and time of change of each file."""
    config = params.read()
    path = config.datasets[config.dataset].source
    table, files = DATA / "source.csv", listing.files(path)
    if files is None and table.exists():
        print(f"{path} is not there: the files that were copied from it are used")
        return
    with (
        atomic_write(table) as part,
        part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        csv.writer(file).writerows([("file", "size", "changed"), *(files or [])])


if __name__ == "__main__":
    run_stage(source)
