"""Put every figure of this run beside the published one, with pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from facemask import gallery, report
from facemask.curves import long_table
from stages.common import Run, read_json, run_stage, write_csv


def write_report(run: Run) -> None:
    """Write REPORT.md, its figures and curves.csv."""
    facts = gather(run)
    tables = {name: run.metrics / "predictions" / f"{name}.csv" for name in facts["metrics"]}
    histories = {name: pd.read_csv(run.models / name / "history.csv") for name in tables}
    predictions = {name: pd.read_csv(path) for name, path in tables.items()}
    notes = report.weight_notes(facts["backbones"], facts["backbone_of"], facts["remarks"])
    ranking = report.leaderboard(report.comparison(facts["metrics"], facts["published"], notes))
    size = max(run.params.pack.sizes)
    pictures = gallery.draw(
        run.docs / "figures",
        images=run.raw / "images",
        faces=pd.read_csv(run.data / "annotations.csv"),
        samples=pd.read_csv(run.splits),
        crops=np.load(run.data / f"crops/{size}/inputs.npy", mmap_mode="r"),
        crop=run.params.crop,
        ranking=ranking,
        metrics=facts["metrics"],
        histories=histories,
        predictions=predictions,
    )
    deviation = {name: table["iou"].std() for name, table in predictions.items()}
    text = report.render(**facts, iou_deviation=deviation, pictures=pictures)
    (run.docs / "REPORT.md").write_text(text, encoding="utf-8")
    write_csv(long_table(histories), run.docs / "curves.csv")


def gather(run: Run) -> dict[str, Any]:
    """Read the figures of this run and, for a run with a suffix, those of the run without."""
    params, first = run.params, Path("metrics", run.params.dataset)
    backbone_of = {name: experiment.backbone for name, experiment in params.experiments.items()}
    measured = read_metrics(run, run.metrics)
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
        "backbones": {path.stem: read_json(path) for path in sorted(run.backbones.glob("*.json"))},
        "backbone_of": {name: backbone_of[name] for name in measured if backbone_of[name]},
        "remarks": {name: text for name, text in run.dataset.remarks.items() if text},
        "versions": report.versions(),
        "beside": beside,
    }


def read_metrics(run: Run, folder: Path) -> dict[str, Any]:
    """Return what a folder holds of the experiments of params.yaml."""
    paths = {name: folder / f"{name}.json" for name in run.params.experiments}
    return {name: read_json(path) for name, path in paths.items() if path.exists()}


if __name__ == "__main__":
    run_stage(write_report)
