"""Read what the stages before the report have written."""

from pathlib import Path
from typing import Any

import pandas as pd

from facemask.io import read_json
from facemask.reporting import study
from stages.common import Run


def gather(run: Run) -> dict[str, Any]:
    """Return what `study.render` asks for: of a run with a suffix also that of the run without."""
    params, first = run.params, Path("metrics", run.params.dataset)
    measured = read_metrics(run, run.metrics)
    backbone_of = {name: params.backbone(name) for name in measured}
    backbones = sorted(run.backbones.glob("[!.]*.json"))
    beside = None
    if first != run.metrics and (first / "data.json").exists():
        data = read_json(first / "data.json")
        beside = {"name": first.name, "metrics": read_metrics(run, first), "data": data}
    return {
        "dataset": run.metrics.name,
        "comparable": run.dataset.study,
        "protocol": params.split.protocol,
        "settings": {
            "crop": ", ".join(f"{key} {value}" for key, value in params.crop.model_dump().items()),
            "seeds": f"training {params.seed}, split {params.split.seed}",
        },
        "metrics": measured,
        "data": read_json(run.metrics / "data.json"),
        "published": pd.read_csv("reference/published_results.csv"),
        "backbones": {path.stem: read_json(path) for path in backbones},
        "backbone_of": {name: backbone for name, backbone in backbone_of.items() if backbone},
        "remarks": {name: text for name, text in run.dataset.remarks.items() if text},
        "versions": study.versions(),
        "beside": beside,
    }


def read_metrics(run: Run, folder: Path) -> dict[str, Any]:
    """Return what a folder holds of the experiments and localizers of params.yaml."""
    names = [*run.params.experiments, *run.params.localizers]
    paths = {name: folder / f"{name}.json" for name in names}
    return {name: read_json(path) for name, path in paths.items() if path.exists()}


def read_searches(run: Run) -> dict[str, tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]]:
    """Return of each search that was run what it found, its trials and their epochs."""
    folder = run.metrics / "searches"
    return {
        name: (
            read_json(folder / f"{name}.json"),
            pd.read_csv(folder / f"{name}.csv"),
            pd.read_csv(folder / f"{name}_epochs.csv"),
        )
        for name in run.params.searches
        if (folder / f"{name}.json").exists()
    }
