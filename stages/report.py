"""Put every figure of this run beside the published one, with pictures."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from facemask.io import read_json, write_csv
from facemask.reporting import assets, sections, study
from facemask.reporting.history import (
    confusion_table,
    iou_table,
    long_table,
    precision_recall_table,
)
from stages.common import Run, run_stage
from stages.results import gather, read_searches


def write_report(run: Run) -> None:
    """Write REPORT.md, its figures, and the tables that `dvc plots` draws."""
    facts = gather(run)
    tables = {name: run.metrics / "predictions" / f"{name}.csv" for name in facts["metrics"]}
    histories = {name: pd.read_csv(run.models / name / "history.csv") for name in tables}
    predictions = {name: pd.read_csv(path) for name, path in tables.items()}
    notes = study.weight_notes(facts["backbones"], facts["backbone_of"], facts["remarks"])
    ranking = study.leaderboard(study.comparison(facts["metrics"], facts["published"], notes))
    size = max(run.params.pack.sizes)
    searches = read_searches(run)
    pictures = assets.draw(
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
        searches={name: tables for name, (_, *tables) in searches.items()},
    )
    deviation = {name: table["iou"].std() for name, table in predictions.items()}
    text = study.render(
        **facts,
        iou_deviation=deviation,
        pictures=pictures,
        chapters=write_chapters(run, facts, searches, predictions, pictures),
    )
    (run.docs / "REPORT.md").write_text(text, encoding="utf-8")
    write_csv(long_table(histories), run.docs / "curves.csv")
    write_csv(precision_recall_table(predictions), run.docs / "precision_recall.csv")
    write_csv(iou_table(predictions), run.docs / "iou_histogram.csv")
    write_csv(confusion_table(predictions), run.docs / "confusion.csv")


def write_chapters(
    run: Run,
    facts: Mapping[str, Any],
    searches: Mapping[str, Any],
    predictions: Mapping[str, pd.DataFrame],
    pictures: Mapping[str, str],
) -> list[str]:
    """Return the chapters that go beyond the study's tables."""
    metrics, experiments = facts["metrics"], run.params.experiments
    majority = {name: figures["test"]["majority_accuracy"] for name, figures in metrics.items()}
    sure = {name: read_json(run.metrics / "statistics" / f"{name}.json") for name in metrics}
    found = {name: best for name, (best, *_) in searches.items()}
    published = facts["published"]
    return [
        sections.uncertainty(sure, majority),
        sections.hyperband(run.params.searches, found, experiments, metrics, published, pictures),
        sections.box_losses(experiments, predictions, majority, pictures),
    ]


if __name__ == "__main__":
    run_stage(write_report)
