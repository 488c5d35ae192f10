"""Issues of a dataset: one row per issue, in one table and on one page."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from facemask.errors import InputError

Severity = Literal["error", "repaired", "warning"]
MEANING: dict[Severity, str] = {
    "error": "the image cannot be used: the run stops, or leaves it out if strict is false",
    "repaired": "read as what was most likely meant",
    "warning": "used as it is; check whether it is right",
}
# On a terminal; the page lists all.
SHOWN = 20


class Issue(NamedTuple):
    """An issue of a file: object is a face's number in an annotation, from 0."""

    file: str
    object: int | None
    severity: Severity
    message: str

    def __str__(self) -> str:
        """Return where and what."""
        where = self.file if self.object is None else f"{self.file}: object {self.object}"
        return f"{where}: {self.message}"


def count(issues: Sequence[Issue]) -> dict[Severity, int]:
    """Return how many there are of each severity."""
    found = Counter(issue.severity for issue in issues)
    return {severity: found[severity] for severity in MEANING}


def stop_at_errors(issues: Sequence[Issue], page: Path) -> None:
    """Stop a run whose dataset has errors.

    Raises:
        InputError: there are errors; the first ones and the page that lists all.
    """
    errors = [issue for issue in issues if issue.severity == "error"]
    if not errors:
        return
    more = len(errors) - SHOWN
    raise InputError(
        f"{len(errors)} error(s) in the dataset:\n  "
        + "\n  ".join(map(str, errors[:SHOWN]))
        + (f"\n  and {more} more" if more > 0 else "")
        + f"\nAll of them: {page}. The files named are copies: correct your originals, then run "
        "dvc repro -f fetch && dvc repro; or leave the images with errors out: "
        "dvc exp run -S strict=false dvc.yaml"
    )


def place(issue: Issue) -> tuple[int, str, int]:
    """Return the sort key of an issue: the most severe first, then by file and object."""
    number = -1 if issue.object is None else issue.object
    return list(MEANING).index(issue.severity), issue.file, number
