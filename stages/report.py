"""Put every metric of the study's experiments beside the published one, with plots."""

from pathlib import Path
from typing import Any

import pandas as pd

from facemask import params
from facemask.config import Config
from facemask.io import read_json, write_csv, write_text
from facemask.reporting import assets, history, leaderboard, report, sections
from facemask.reporting.run import Run, experiment_names
from facemask.shards import Shards
from stages.common import DATA, RAW, RECORDS, REPORT, run_stage

STUDY = RECORDS / "study"


def write_report() -> None:
    """Write REPORT.md, its plots, and the tables that `dvc plots` draws."""
    config = params.read()
    run = read_run(config)
    predictions = {name: pd.read_csv(STUDY / f"predictions/{name}.csv") for name in run.metrics}
    histories = {name: pd.read_csv(STUDY / f"history/{name}.csv") for name in run.metrics}
    searches = {name: read_search(name) for name in config.searches}
    plots = assets.draw(
        REPORT / "plots",
        images=RAW / "images",
        faces=pd.read_csv(DATA / "annotations.csv"),
        samples=pd.read_csv(DATA / "splits.csv"),
        crops=Shards(DATA / f"crops/{max(config.arrays.sizes)}"),
        crop=config.crop,
        ranking=leaderboard.ranked(run)[1],
        metrics=run.metrics,
        histories=histories,
        predictions=predictions,
        searches={name: (trials, epochs) for name, (_, trials, epochs) in searches.items()},
    )
    names = report.display_names(run)
    best = {name: found for name, (found, *_) in searches.items()}
    hyperband = sections.hyperband(
        config.searches, best, config.experiments, run.metrics, run.published, names, plots
    )
    deviations = {name: table["iou"].std() for name, table in predictions.items()}
    text = report.render(
        run, deviations, plots, [sections.uncertainty(run.metrics, names), hyperband]
    )
    write_text(text, REPORT / "REPORT.md")
    write_csv(history.long_table(histories), REPORT / "curves.csv")
    write_csv(history.precision_recall_table(predictions), REPORT / "precision_recall.csv")
    write_csv(history.iou_table(predictions), REPORT / "iou_histogram.csv")
    write_csv(history.confusion_table(predictions), REPORT / "confusion.csv")


def read_run(config: Config) -> Run:
    """Return what the run was made with, and what its stages have written."""
    names, backbones = experiment_names(config), config.backbones
    return Run.from_config(
        config,
        metrics={name: read_json(STUDY / f"statistics/{name}.json") for name in names},
        data=read_json(DATA / "counts.json"),
        published=pd.read_csv(Path("reference/published_results.csv")),
        backbones={name: read_json(STUDY / f"backbones/{name}.json") for name in backbones},
    )


def read_search(name: str) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """Return what a search found best, its trials and their epochs."""
    folder = STUDY / "searches" / name
    best = read_json(folder / "best.json")
    return best, pd.read_csv(folder / "trials.csv"), pd.read_csv(folder / "epochs.csv")


if __name__ == "__main__":
    run_stage(write_report)
