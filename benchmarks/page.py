"""Write the pages of benchmarks/*.md.in, as docs/performance.md, from results/.

python -m benchmarks.page
"""

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from jinja2 import meta

from benchmarks.common import RESULTS
from facemask.reporting.tables import table as markdown

# Of the run whose training stands for a detector's.
DETECTOR = (
    Path(__file__)
    .parents[1]
    .joinpath("docs/results/detector_grouped_0/records/detector/statistics/detector.json")
)
TEMPLATES = sorted(Path(__file__).parent.glob("*.md.in"))


def render() -> dict[str, str]:
    """Return the pages by name: in a template, NAME.key is a value of results/NAME.json."""
    results = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    return {path.stem: page(path.read_text(encoding="utf-8"), results) for path in TEMPLATES}


def page(source: str, results: Mapping[str, Any]) -> str:
    """Return the page of a template; a value that it lacks is an error."""
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)  # noqa: S701 - Markdown
    shown = meta.find_undeclared_variables(environment.parse(source))
    used = [results[name] for name in sorted(shown & results.keys())]
    tools: dict[str, Any] = {
        "table": table,
        "kinds": kinds,
        "a_million": a_million,
        "stage_gigabytes": stage_gigabytes,
        "machines": dict.fromkeys(map(machine, used)),
    }
    return environment.from_string(source).render({**results, **tools}) + "\n"


def table(rows: Iterable[Mapping[str, Any]], headers: Sequence[str | None], left: int = 1) -> str:
    """Write rows as a table: headers of their columns in order, None for one that is left out."""
    cells = [
        [cell(value) for value, header in zip(row.values(), headers, strict=True) if header]
        for row in rows
    ]
    return markdown(pd.DataFrame(cells, columns=[*filter(None, headers)]), left)


def cell(value: Any) -> str:  # noqa: ANN401
    """Write a number with three digits, anything else as it is."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def kinds(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Join the stages of a kind; trainings from scratch and on features are two kinds."""
    seconds: dict[str, list[float]] = {}
    for row in rows:
        kind, _, name = row["stage"].partition("@")
        if kind == "train":
            kind = "train, from scratch" if name.startswith("scratch") else "train, on features"
        seconds.setdefault(kind, []).append(row["seconds"])
    return [
        {"stage": kind, "runs": len(each), "all": sum(each), "median": statistics.median(each)}
        for kind, each in seconds.items()
    ]


def stage_gigabytes(cluster: Mapping[str, Any], growth: Mapping[str, Any]) -> float:
    """Say what more a million images take in the memory of the stage that holds most."""
    first, *_, largest = (each for each in growth["headers"] if each.endswith("x, MB"))
    one, all_of_them = (int(header.partition("x")[0]) for header in (first, largest))
    grown = max(row[largest] - row[first] for row in growth["rows"] if row[largest])
    return grown / 1000 / (cluster["images"] * (all_of_them - one)) * 1e6


def a_million(cluster: Mapping[str, Any], growth: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Say what a million images would take on that machine, by what those measured took."""
    times = 1e6 / cluster["images"]
    detector = json.loads(DETECTOR.read_text(encoding="utf-8"))
    trained = cluster["images"] - detector["val"]["images"] - detector["test"]["images"]
    rate = trained * detector["epochs"] / detector["train_seconds"]
    sizes = cluster["megabytes"]
    crops = sum(size for name, size in sizes.items() if name not in ("thumbnails.npy", "features"))
    written = [sizes["thumbnails.npy"], crops, sizes["features"]]
    rows = [
        {
            "step": row["work"],
            "a second": row["items"] / row["threads"],
            "hours": times * row["threads"] / 3600,
            "GB": times * megabytes / 1000,
        }
        for row, megabytes in zip(cluster["rows"], written, strict=True)
    ]
    first, *_, before, largest = (each for each in growth["headers"] if each.endswith("x, s"))
    images, fewer = (cluster["images"] * int(each.partition("x")[0]) for each in (largest, before))
    of = {row["stage"]: row for row in growth["rows"]}
    steps = {stage: of[stage][largest] for stage in ("parse", "crop", "split")}
    inside = sum(row[largest] for stage, row in of.items() if not stage.startswith("dvc"))
    steps["DVC itself"] = of["dvc repro"][largest] - inside
    took = {step: seconds * 1e6 / images for step, seconds in steps.items()}
    # Split, with its search for near-duplicates, grows on as it did in the last step; the time of
    # the smallest run counts as its start.
    start = of["split"][first]
    much, less = (of["split"][header] - start for header in (largest, before))
    power = math.log(much / less) / math.log(images / fewer)
    took["split"] = start + much * (1e6 / images) ** power
    rows[1:1] = [
        {"step": step, "a second": 1e6 / seconds, "hours": seconds / 3600, "GB": ""}
        for step, seconds in took.items()
    ]
    last = {"step": f"training of the detector, {detector['epochs']} epochs", "a second": rate}
    return [*rows, last | {"hours": 1e6 * detector["epochs"] / rate / 3600, "GB": ""}]


def machine(record: Mapping[str, Any]) -> str:
    """Write what a result was measured on."""
    about = record["machine"]
    packages = [f"{name} {about[name]}" for name in ("tensorflow-cpu", "keras", "numpy")]
    return f"{about['cpu']}, {about['cores']} cores, {', '.join(packages)}"


def main() -> None:
    """Write the pages."""
    for name, text in render().items():
        Path("docs", name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
