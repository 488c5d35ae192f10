"""Time things side by side: A B A B in one run, medians, and a JSON in results/."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from facemask.config.training import ResolvedExperiment
from facemask.shards import Shards
from stages.common import DATA, config_file

RESULTS = Path(__file__).parent / "results"
PACKAGES = ["numpy", "opencv-python-headless", "tensorflow-cpu", "keras"]


def alternate(candidates: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Call every candidate once a round, in turn, and return the seconds of each call.

    A round before the first is not counted: it fills caches and compiles.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name, call in candidates.items():
            start = time.perf_counter()
            call()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def median(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """Return the median of each candidate's seconds."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def study(name: str) -> tuple[ResolvedExperiment, Shards, pd.DataFrame]:
    """Return an experiment of the study, its inputs and the splits, as its training has them."""
    experiment = ResolvedExperiment.model_validate_json(config_file("study", name).read_bytes())
    inputs = Shards(DATA / experiment.inputs)
    return experiment, inputs, pd.read_csv(DATA / "splits.csv")


def report(
    name: str,
    rows: list[dict[str, Any]],
    arguments: str = "",
    **about: Any,  # noqa: ANN401
) -> None:
    """Print rows as a table; write them and what they were measured on to results/NAME.json.

    `arguments` are what the command was given, as its docstring calls them: nobody else has the
    same paths.
    """
    show(rows)
    RESULTS.mkdir(exist_ok=True)
    record: dict[str, Any] = {"command": f"python -m benchmarks.{name} {arguments}".strip()}
    record |= {"machine": _machine(), **about, "rows": rows}
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def show(rows: list[dict[str, Any]]) -> None:
    """Print rows as a table."""
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()))
    Console().print(table)


def _machine() -> dict[str, Any]:
    cpu = Path("/proc/cpuinfo")
    names = [
        line.split(":")[1].strip()
        for line in (cpu.read_text() if cpu.exists() else "").splitlines()
        if line.startswith("model name")
    ]
    versions = {package: metadata.version(package) for package in PACKAGES}
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **versions,
    }
