"""Run the pipeline in a fresh clone, from nothing, and watch every stage's time and memory."""

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import yaml

INTERVAL = 0.2  # seconds between two readings of a stage's memory
MEGABYTE = 1e6


def clone(folder: Path, changes: Mapping[str, Any]) -> None:
    """Clone the last commit without its lock, with changes of params.yaml."""
    root = Path(__file__).parents[1]
    subprocess.run(["git", "clone", "--quiet", root, folder], check=True)
    (folder / "dvc.lock").unlink()
    file = folder / "params.yaml"
    params = yaml.safe_load(file.read_text(encoding="utf-8"))
    for key, value in changes.items():
        *parents, last = key.split(".")
        section = params
        for parent in parents:
            section = section[parent]
        section[last] = value
    file.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def repro(folder: Path, *targets: str) -> tuple[float, list[dict[str, Any]]]:
    """Run `dvc repro` and return its seconds and, of each stage, what it took and held.

    cpu is the processors' seconds. own_mb is the peak of the memory that is the stage's own;
    mapped_mb that of the files it has mapped, which the kernel takes back when others need room.
    """
    stages: dict[str, dict[str, Any]] = {}
    with (folder / "repro.log").open("w") as log:
        start = time.perf_counter()
        process = psutil.Popen(
            [sys.executable, "-m", "dvc", "repro", *targets], cwd=folder, stdout=log, stderr=log
        )
        while process.poll() is None:
            for child in process.children(recursive=True):
                _look(child, stages)
            time.sleep(INTERVAL)
        seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit((folder / "repro.log").read_text()[-3000:])
    for stage in stages.values():
        stage["seconds"] = stage.pop("last") - stage.pop("first")
    return seconds, list(stages.values())


def seconds_of(folder: Path, *command: str) -> float:
    """Return how long a command of DVC takes."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "dvc", *command], cwd=folder, check=True, capture_output=True
    )
    return time.perf_counter() - start


def _look(process: psutil.Process, stages: dict[str, dict[str, Any]]) -> None:
    try:
        command = process.cmdline()
        name = process.environ().get("DVC_STAGE")
        if name is None or command[1:2] != ["-m"]:
            return
        memory, began = process.memory_info(), process.create_time()
        used = process.cpu_times()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return
    stage = stages.setdefault(name, {"stage": name, "own_mb": 0.0, "mapped_mb": 0.0})
    stage["own_mb"] = max(stage["own_mb"], (memory.rss - memory.shared) / MEGABYTE)
    stage["mapped_mb"] = max(stage["mapped_mb"], memory.shared / MEGABYTE)
    stage["first"], stage["last"] = began, time.time()
    stage["cpu"] = used.user + used.system + used.children_user + used.children_system
