"""The page that lists what is wrong with a dataset."""

from typing import Any

from facemask.data.issues import MEANING, Defect, count, place
from facemask.reporting.tables import markdown_table


def page(dataset: str, validation: dict[str, Any]) -> str:
    """Return a page in Markdown about the defects that the validation of a dataset lists."""
    defects = [Defect(**row) for row in validation["defects"]]
    left_out = validation["left_out"]
    lines = [
        f"# Defects of the dataset {dataset}",
        f"Used: {validation['images']} photographs with {validation['faces']} faces. "
        f"Left out: {len(left_out)} photographs{': ' if left_out else ''}{', '.join(left_out)}.",
        markdown_table(
            ["Outcome", "What it means", "Defects"],
            [(each, MEANING[each], number) for each, number in count(defects).items()],
            left=2,
        ),
    ]
    if defects:
        rows = [
            (each.file, "" if each.object is None else each.object, each.outcome, each.what)
            for each in sorted(defects, key=place)
        ]
        lines.append(markdown_table(["File", "Object", "Outcome", "What"], rows, left=4))
    return "\n\n".join(lines) + "\n"
