"""Put every figure of the study's experiments beside the published one, with pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from facemask import params
from facemask.config import Config
from facemask.io import read_json, write_csv, write_text
from facemask.reporting import assets, history, sections, study
from facemask.resolve import backbone
from stages.common import DATA, RAW, RECORDS, REPORT, run_stage

STUDY = RECORDS / "study"


def write_report() -> None:
    """Write REPORT.md, its figures, and the tables that `dvc plots` draws."""
    config = params.read()
    facts = gather(config)
    names = list(facts["metrics"])
    predictions = {name: pd.read_csv(STUDY / f"predictions/{name}.csv") for name in names}
    histories = {name: pd.read_csv(STUDY / f"history/{name}.csv") for name in names}
    searches = {name: read_search(name) for name in config.searches}
    notes = study.weight_notes(facts["backbones"], facts["backbone_of"], facts["remarks"])
    ranking = study.leaderboard(study.comparison(facts["metrics"], facts["published"], notes))
    pictures = assets.draw(
        REPORT / "figures",
        images=RAW / "images",
        faces=pd.read_csv(DATA / "annotations.csv"),
        samples=pd.read_csv(DATA / "splits.csv"),
        crops=np.load(DATA / f"crops/{max(config.pack.sizes)}/inputs.npy", mmap_mode="r"),
        crop=config.crop,
        ranking=ranking,
        metrics=facts["metrics"],
        histories=histories,
        predictions=predictions,
        searches={name: (trials, epochs) for name, (_, trials, epochs) in searches.items()},
    )
    majority = {name: each["test"]["majority_accuracy"] for name, each in facts["metrics"].items()}
    found = {name: best for name, (best, *_) in searches.items()}
    text = study.render(
        **facts,
        iou_deviation={name: table["iou"].std() for name, table in predictions.items()},
        pictures=pictures,
        chapters=[
            sections.uncertainty(facts["metrics"], majority),
            sections.hyperband(
                config.searches,
                found,
                config.experiments,
                facts["metrics"],
                facts["published"],
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
    """Return what `study.render` asks for of what the stages before have written."""
    names = [*config.experiments, *(f"{name}_tuned" for name in config.searches)]
    dataset = config.datasets[config.dataset]
    of = {name: backbone(config, name) for name in names}
    return {
        "dataset": config.dataset,
        "comparable": dataset.study,
        "split": config.split,
        "kind": config.splits[config.split].kind,
        "settings": {
            "crop": ", ".join(f"{key} {value}" for key, value in config.crop.model_dump().items()),
            "seeds": f"training {config.seed}, split {config.splits[config.split].seed}",
            "epochs at most": dataset.max_epochs or "as each experiment says",
        },
        "metrics": {name: read_json(STUDY / f"statistics/{name}.json") for name in names},
        "data": read_json(DATA / "counts.json"),
        "published": pd.read_csv(Path("reference/published_results.csv")),
        "backbones": {
            name: read_json(STUDY / f"backbones/{name}.json") for name in config.backbones
        },
        "backbone_of": {name: found for name, found in of.items() if found},
        "remarks": dataset.remarks,
        "versions": study.versions(),
    }


def read_search(name: str) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """Return what a search found best, its trials and their epochs."""
    folder = STUDY / "searches" / name
    best = read_json(folder / "best.json")
    return best, pd.read_csv(folder / "trials.csv"), pd.read_csv(folder / "epochs.csv")


if __name__ == "__main__":
    run_stage(write_report)
