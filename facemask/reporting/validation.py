"""The page that lists what is wrong with a dataset, and the lines that a terminal shows of it."""

from typing import Any

import pandas as pd

from facemask.data.issues import MEANING, Issue, count, grouped
from facemask.errors import SHOWN
from facemask.reporting import tables

# Faces are cut by the left edge as often as by the right: none against so many is no chance.
MANY = 10


def page(dataset: str, validation: dict[str, Any]) -> str:
    """Return a page in Markdown about the issues that the validation of a dataset lists.

    Args:
        dataset: its name.
        validation: what `annotations.parse` found.
    """
    issues = [Issue(**row) for row in validation["issues"]]
    counts = [(each, MEANING[each], number) for each, number in count(issues).items()]
    found = grouped(issues)
    rows = [(severity, message, len(places), _where(places)) for severity, message, places in found]
    return tables.render(
        "validation",
        dataset=dataset,
        faces=faces(validation),
        pixels=pixels(validation),
        left_out=validation["left_out"],
        counts=pd.DataFrame(counts, columns=["Severity", "What it means", "Issues"]),
        issues=pd.DataFrame(rows, columns=["Severity", "What", "Where", "Issues"]),
        # All of them, too, where the table shows the first ones.
        long=[(" ".join(what.split()), places) for _, what, places in found if places[SHOWN:]],
    )


def faces(validation: dict[str, Any]) -> str:
    """Return how many images and faces are used, faces by class, and which are dropped."""
    dropped = validation["dropped_classes"]
    classes = {name: n for name, n in validation["classes"].items() if name not in dropped}
    used = f"{validation['images']:,} images, {sum(classes.values()):,} faces"
    if classes:
        used += ": " + ", ".join(f"{number:,} {name}" for name, number in classes.items())
    return "; ".join([used, *(f"{name}: {n:,} faces dropped" for name, n in dropped.items())])


def pixels(validation: dict[str, Any]) -> str:
    """Return how annotations count pixels, and what tells whether they do."""
    counted = validation["pixels_counted"]
    zero, one, end = (counted[key] for key in ("begin_at_0", "begin_at_1", "end_at_size"))
    text = (
        f"boxes: {counted['boxes']}; {zero:,} begin at 0, {one:,} at 1, {end:,} end at the image's "
        "width or height"
    )
    if counted["boxes"] == "one_based" and zero:
        return f"{text}: a pixel 0 is none of those counted from 1, they may be zero_based"
    if counted["boxes"] == "zero_based" and not zero and end >= MANY:
        return f"{text}: they may be one_based, or of labelImg, which writes 1 for 0"
    return text


def _where(places: list[str]) -> str:
    more = len(places) - SHOWN
    return ", ".join(places[:SHOWN]) + (f" and {more:,} more, see below" if more > 0 else "")
