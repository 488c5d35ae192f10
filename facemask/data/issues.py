"""Issues of a dataset: one row per issue, in one table and on one page."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from facemask.errors import InputError, listed

Severity = Literal["error", "repaired", "warning", "skipped"]
MEANING: dict[Severity, str] = {
    "error": "the image cannot be used: the run stops, or leaves it out if strict is false",
    "repaired": "read as what was most likely meant",
    "warning": "used as it is; check whether it is right",
    "skipped": "not read: no image or annotation of this dataset",
}

PLACES = 3  # of one message, on a terminal


class Issue(NamedTuple):
    """An issue of a file: object is a face's number in an annotation, from 0."""

    file: str
    object: int | None
    severity: Severity
    message: str

    def __str__(self) -> str:
        """Return where and what."""
        return f"{self.place}: {self.message}"

    @property
    def place(self) -> str:
        """The file and the object in it."""
        return self.file if self.object is None else f"{self.file}: object {self.object}"


def count(issues: Sequence[Issue]) -> dict[Severity, int]:
    """Return how many there are of each severity."""
    found = Counter(issue.severity for issue in issues)
    return {severity: found[severity] for severity in MEANING}


def summary(issues: Sequence[Issue], left_out: Sequence[str], page: Path) -> str:
    """Return what a terminal shows of issues that did not stop the run; empty if there are none.

    Args:
        issues: all of them.
        left_out: names of the images that are not used.
        page: what lists them.
    """
    if not issues:
        return ""
    found = ", ".join(f"{severity} {number:,}" for severity, number in count(issues).items())
    lines = [f"Issues: {found}. All of them: {page}"]
    if left_out:
        lines.append(f"Images left out: {len(left_out):,}\n  {listed(left_out)}")
    return "\n".join(lines)


def stop_at_errors(issues: Sequence[Issue], page: Path) -> None:
    """Stop a run whose dataset has errors.

    Raises:
        InputError: there are errors; the first ones, equal messages together, and the page that
            lists all.
    """
    errors = [issue for issue in issues if issue.severity == "error"]
    if not errors:
        return
    lines = [f"{some(places)}: {what}" for _, what, places in grouped(errors)]
    raise InputError(
        f"{len(errors):,} error(s) in the dataset:\n  {listed(lines)}\n"
        f"All of them: {page}. The files named are copies: correct those of your source (of a "
        "kaggle: source, download it, correct it, and give its path as source), then run dvc "
        "repro; or leave the images with errors out: dvc exp run -S strict=false dvc.yaml"
    )


def some(places: Sequence[str]) -> str:
    """Return the first places of a list, and how many more there are."""
    more = f" and {len(places) - PLACES:,} more" if len(places) > PLACES else ""
    return ", ".join(places[:PLACES]) + more


def grouped(issues: Sequence[Issue]) -> list[tuple[Severity, str, list[str]]]:
    """Return severity, message and places of issues, the most severe first.

    Equal messages are one: one misspelt class is one mistake, in however many files.
    """
    places: dict[tuple[Severity, str], list[str]] = defaultdict(list)
    for issue in sorted(issues, key=_order):
        places[issue.severity, issue.message].append(issue.place)
    return [(*key, found) for key, found in places.items()]


def _order(issue: Issue) -> tuple[int, str, int]:
    number = -1 if issue.object is None else issue.object
    return list(MEANING).index(issue.severity), issue.file, number
