"""The page that lists what is wrong with a dataset."""

from typing import Any

import pandas as pd

from facemask.data.issues import MEANING, Issue, count, place
from facemask.reporting import tables


def page(dataset: str, validation: dict[str, Any]) -> str:
    """Return a page in Markdown about the issues that the validation of a dataset lists.

    Args:
        dataset: its name.
        validation: what `annotations.parse` found: issues, left_out, images, faces.
    """
    issues = [Issue(**row) for row in validation["issues"]]
    counts = [(each, MEANING[each], number) for each, number in count(issues).items()]
    rows = [
        (each.file, "" if each.object is None else each.object, each.severity, each.message)
        for each in sorted(issues, key=place)
    ]
    return tables.render(
        "validation",
        dataset=dataset,
        validation=validation,
        counts=pd.DataFrame(counts, columns=["Severity", "What it means", "Issues"]),
        # As objects: the empty cells among numbers must not become NaN.
        issues=pd.DataFrame(rows, columns=["File", "Object", "Severity", "What"], dtype=object),
    )
