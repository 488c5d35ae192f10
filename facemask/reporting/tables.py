"""Pages in GitHub's Markdown: numbers, tables, and the templates that hold the words."""

import math
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

NONE = "-"
METRICS = {  # as readers see them, by their names in records
    "accuracy": "accuracy",
    "recall_with_mask": "recall with mask",
    "recall_without_mask": "recall without mask",
    "balanced_accuracy": "balanced accuracy",
    "majority_accuracy": "majority baseline",
    "mean_iou": "IoU",
    "iou_50": "IoU ≥ 0.5",
}


def percent(share: float, signed: bool = False) -> str:
    """Return a fraction in per cent with two decimals, with its sign if wanted; a dash for NaN."""
    if math.isnan(share):
        return NONE
    value = round(100 * share, 2) + 0.0  # + 0.0 turns -0.0 into 0.0
    return f"{value:+.2f}" if signed else f"{value:.2f}"


def interval(metric: Mapping[str, float]) -> str:
    """Return value, low and high (fractions) in per cent: 81.03 [79.16, 82.68]."""
    return f"{percent(metric['value'])} [{percent(metric['low'])}, {percent(metric['high'])}]"


def mean_and_std(metric: Mapping[str, float]) -> str:
    """Return mean and std (fractions) in per cent: 81.03 ± 1.20; the mean alone if std is NaN."""
    mean = percent(metric["mean"])
    return mean if math.isnan(metric["std"]) else f"{mean} ± {percent(metric['std'])}"


def sentence(text: str) -> str:
    """Return the text with a full stop, if it does not end a sentence already."""
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


def table(frame: pd.DataFrame, left: int = 1) -> str:
    """Return a table; without rows, nothing.

    Args:
        frame: a column's name is its header; cells are written with str(), a pipe in one escaped, a
            line break as a space. A column without any value (all cells empty or dashes) is left
            out.
        left: how many columns are flush left; the others are flush right.
    """
    if frame.empty:
        return ""
    cells = frame.map(_cell)
    filled = ~cells.isin([NONE, ""]).to_numpy().all(axis=0)
    sides = ["left" if place < left else "right" for place in range(len(filled))]
    return cells.loc[:, filled].to_markdown(
        index=False,
        tablefmt="pipe",
        disable_numparse=True,
        colalign=[side for side, kept in zip(sides, filled, strict=True) if kept],
    )


def render(template: str, **values: Any) -> str:  # noqa: ANN401 - whatever a template needs
    """Return a page or section: a template of templates/ with values, blank lines at most single.

    Raises:
        jinja2.UndefinedError: the template needs a value that is not given.
    """
    text = _environment().get_template(f"{template}.md.j2").render(values)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


@cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=jinja2.select_autoescape(),  # of HTML alone, which these are not
    )
    made.filters |= {"percent": percent, "sentence": sentence, "table": table}
    return made


def _cell(cell: object) -> str:
    return " ".join(str(cell).split()).replace("|", "\\|")
