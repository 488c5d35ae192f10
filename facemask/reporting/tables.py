"""Tables and figures in GitHub's Markdown."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

NONE = "-"


def percent(share: float, signed: bool = False) -> str:
    """A fraction in per cent with two decimals, with its sign if asked; a dash for NaN."""
    if math.isnan(share):
        return NONE
    value = round(100 * share, 2) + 0.0  # + 0.0 turns -0.0 into 0.0
    return f"{value:+.2f}" if signed else f"{value:.2f}"


def markdown_table(headers: Sequence[str], rows: Iterable[Sequence[Any]], left: int = 1) -> str:
    """A table in GitHub's Markdown: the first `left` columns to the left, the others to the right.

    Cells are written with str(); a pipe in one is escaped and a line break becomes a space.
    ValueError for a row that has not one cell a header.
    """
    rules = ["---"] * left + ["---:"] * (len(headers) - left)
    lines = [_line(headers), "| " + " | ".join(rules) + " |"]
    for row in rows:
        if len(row) != len(headers):
            raise ValueError(f"a row of {len(row)} cells under {len(headers)} headers: {row}")
        lines.append(_line(row))
    return "\n".join(lines)


def _line(cells: Sequence[Any]) -> str:
    texts = [" ".join(str(cell).split()).replace("|", "\\|") for cell in cells]
    return "| " + " | ".join(texts) + " |"


def sentence(text: str) -> str:
    """The text with a full stop, if it does not end a sentence already."""
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."
