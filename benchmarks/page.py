"""Write pages of docs/: the texts of benchmarks/*.md.in with what the other scripts measured.

python -m benchmarks.page
"""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS
from facemask.reporting.tables import markdown_table

TEXTS = sorted(Path(__file__).parent.glob("*.md.in"))
MEMORY = ("stage", "own_mb", "mapped_mb")


def render() -> dict[str, str]:
    """Return the pages by name: in their texts, {name[key]} is a value of results/NAME.json."""
    results = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    for record in results.values():
        record["table"] = _table(record["rows"])
    repro = results["repro"]
    kinds = _kinds(repro["rows"])
    repro["table"] = _table(kinds)
    largest = sorted(repro["rows"], key=lambda row: -row["own_mb"])[:6]
    repro["memory"] = _table([{key: row[key] for key in MEMORY} for row in largest])
    repro["between"] = repro["seconds"] - sum(row["seconds"] for row in kinds)
    commands = [[f"`{record['command']}`", _machine(record)] for record in results.values()]
    table = markdown_table(["command", "measured on"], commands, left=2)
    return {
        path.stem: path.read_text(encoding="utf-8").format(**results, commands=table)
        for path in TEXTS
    }


def _kinds(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Join the stages of a kind: scratch networks and heads by themselves, foreach stages else."""
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        kind, _, name = row["stage"].partition("@")
        if kind == "train":
            kind = "train, from scratch" if name.startswith("scratch") else "train, on features"
        kinds.setdefault(kind, []).append(row)
    return [
        {
            "stage": kind,
            "times": len(each),
            "seconds": sum(row["seconds"] for row in each),
            "median": statistics.median(row["seconds"] for row in each),
        }
        for kind, each in kinds.items()
    ]


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [[_cell(value) for value in row.values()] for row in rows]
    # Texts lie to the left: the first column, and the second if it is one.
    left = 2 if isinstance(list(rows[0].values())[1], str) else 1
    return markdown_table(list(rows[0]), cells, left=left)


def _cell(value: Any) -> str:  # noqa: ANN401
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _machine(record: Mapping[str, Any]) -> str:
    machine = record["machine"]
    packages = [f"{name} {machine[name]}" for name in ("tensorflow-cpu", "keras", "numpy")]
    return f"{machine['cpu']}, {machine['cores']} cores, {', '.join(packages)}"


def main() -> None:
    """Write the pages."""
    for name, text in render().items():
        Path("docs", name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
