"""Put every figure of the study's experiments beside the published one, with pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from facemask import params
from facemask.config import Config
from facemask.io import read_json, write_csv, write_text
from facemask.reporting import assets, facts, history, sections, study
from stages.common import DATA, RAW, RECORDS, REPORT, run_stage

STUDY = RECORDS / "study"


def write_report() -> None:
    """Write REPORT.md, its figures, and the tables that `dvc plots` draws."""
    config = params.read()
    run = gather(config)
    names = list(run["metrics"])
    predictions = {name: pd.read_csv(STUDY / f"predictions/{name}.csv") for name in names}
    histories = {name: pd.read_csv(STUDY / f"history/{name}.csv") for name in names}
    searches = {name: read_search(name) for name in config.searches}
    asked = ("metrics", "published", "backbones", "backbone_of", "remarks")
    _, ranking = study.ranked(**{key: run[key] for key in asked})
    pictures = assets.draw(
        REPORT / "figures",
        images=RAW / "images",
        faces=pd.read_csv(DATA / "annotations.csv"),
        samples=pd.read_csv(DATA / "splits.csv"),
        crops=np.load(DATA / f"crops/{max(config.pack.sizes)}/inputs.npy", mmap_mode="r"),
        crop=config.crop,
        ranking=ranking,
        metrics=run["metrics"],
        histories=histories,
        predictions=predictions,
        searches={name: (trials, epochs) for name, (_, trials, epochs) in searches.items()},
    )
    found = {name: best for name, (best, *_) in searches.items()}
    text = study.render(
        **run,
        iou_deviation={name: table["iou"].std() for name, table in predictions.items()},
        pictures=pictures,
        chapters=[
            sections.uncertainty(run["metrics"]),
            sections.hyperband(
                config.searches,
                found,
                config.experiments,
                run["metrics"],
                run["published"],
                pictures,
            ),
        ],
    )
    write_text(text, REPORT / "REPORT.md")
    write_csv(history.long_table(histories), REPORT / "curves.csv")
    write_csv(history.precision_recall_table(predictions), REPORT / "precision_recall.csv")
    write_csv(history.iou_table(predictions), REPORT / "iou_histogram.csv")
    write_csv(history.confusion_table(predictions), REPORT / "confusion.csv")


def gather(config: Config) -> dict[str, Any]:
    """Return what `study.render` asks for: the run's own facts, and what stages have written."""
    return {
        **facts.of_run(config),
        "metrics": {
            name: read_json(STUDY / f"statistics/{name}.json") for name in facts.measured(config)
        },
        "data": read_json(DATA / "counts.json"),
        "published": pd.read_csv(Path("reference/published_results.csv")),
        "backbones": {
            name: read_json(STUDY / f"backbones/{name}.json") for name in config.backbones
        },
    }


def read_search(name: str) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """Return what a search found best, its trials and their epochs."""
    folder = STUDY / "searches" / name
    best = read_json(folder / "best.json")
    return best, pd.read_csv(folder / "trials.csv"), pd.read_csv(folder / "epochs.csv")


if __name__ == "__main__":
    run_stage(write_report)
