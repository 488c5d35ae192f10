"""The copies of a source: made beside the old ones, which they replace when they are whole."""

import csv
import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from facemask.errors import InputError, listed
from facemask.io import write_csv

RECORD = "files.csv"  # in the folder of the copies: what was written there, and from where


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside `folder`, whose place it takes if nothing goes wrong.

    Raises:
        InputError: `folder` holds what `record` does not list, which would be lost.
    """
    new, old = (folder.with_name(f".{folder.name}_{age}") for age in ("new", "old"))
    # Left by a process that was killed.
    if old.exists() and not folder.exists():
        old.rename(folder)
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)
    check_unchanged(folder)
    new.mkdir(parents=True)
    try:
        yield new
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def record(folder: Path, origins: Mapping[str, str], images: pd.DataFrame) -> None:
    """List the copies in a folder: file, source (path there) and sha256.

    Args:
        folder: of the copies.
        origins: what `sources.fetch` returns: the path in the source of each copy.
        images: the table of `images.inventory`, which has hashed the readable ones.
    """
    known = ("images/" + images["image"]).tolist()
    digests = dict(zip(known, images["sha256"], strict=True))
    rows = [
        (file, source, digests.get(file) or _sha256(folder / file))
        for file, source in sorted(origins.items())
    ]
    write_csv(pd.DataFrame(rows, columns=["file", "source", "sha256"]), folder / RECORD)


def check_unchanged(folder: Path) -> None:
    """Check that a folder holds nothing but copies, as they were made.

    Raises:
        InputError: it holds other files, or changed copies.
    """
    digests = {}
    if (folder / RECORD).exists():
        with (folder / RECORD).open(newline="", encoding="utf-8") as file:
            digests = {row["file"]: row["sha256"] for row in csv.DictReader(file)}
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    own = [
        name
        for name, path in sorted(found.items())
        if path.is_file() and name != RECORD and digests.get(name) != _sha256(path)
    ]
    if own:
        raise InputError(
            f"{folder} is about to be replaced, but these files in it are not the copies that were "
            f"made of the source:\n  {listed(own)}\nMove them out of {folder}; what belongs to the "
            "dataset, into the source"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
