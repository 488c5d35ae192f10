"""What is wrong with a dataset: one row a defect, all of them in one table and on one page."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from facemask.errors import InputError

Outcome = Literal["error", "repaired", "warning"]
MEANING: dict[Outcome, str] = {
    "error": "the photograph cannot be used: the run stops, or leaves it out if strict is false",
    "repaired": "read as it must have been meant",
    "warning": "used as it is; look whether it is meant",
}
# A message on a terminal names so many; the page names all.
TOLD = 20


class Defect(NamedTuple):
    """A defect of a file: object is a face's number in an annotation, from 0."""

    file: str
    object: int | None
    outcome: Outcome
    what: str

    def __str__(self) -> str:
        """Say where and what."""
        where = self.file if self.object is None else f"{self.file}: object {self.object}"
        return f"{where}: {self.what}"


def count(defects: Sequence[Defect]) -> dict[Outcome, int]:
    """Return how many there are of each outcome."""
    found = Counter(defect.outcome for defect in defects)
    return {outcome: found[outcome] for outcome in MEANING}


def stop_at_errors(defects: Sequence[Defect], page: Path) -> None:
    """Stop a run whose dataset has errors.

    Raises:
        InputError: there are errors; it names the first and the page with all.
    """
    errors = [defect for defect in defects if defect.outcome == "error"]
    if not errors:
        return
    more = len(errors) - TOLD
    raise InputError(
        f"{len(errors)} defect(s) in the dataset:\n  "
        + "\n  ".join(map(str, errors[:TOLD]))
        + (f"\n  and {more} more" if more > 0 else "")
        + f"\nAll of them: {page}. The files named are copies: mend your own, then run "
        "dvc repro -f fetch && dvc repro; or leave the defective photographs out: "
        "dvc exp run -S strict=false dvc.yaml"
    )


def place(defect: Defect) -> tuple[int, str, int]:
    """Return what defects are sorted by: the gravest first, then by file and object."""
    number = -1 if defect.object is None else defect.object
    return list(MEANING).index(defect.outcome), defect.file, number
