"""The page of the study: its tables as they are shown. The words are in templates/report.md.j2."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from facemask.reporting import leaderboard, tables
from facemask.reporting.leaderboard import PUBLISHED_SIZES
from facemask.reporting.run import Run
from facemask.reporting.tables import METRICS, NONE, percent

FAMILIES = {
    "scratch": "Networks trained from scratch",
    "mobilenet": "MobileNetV2, frozen",
    "xception": "Xception, frozen",
    "further": "Further experiments",
}
# What each family's table in the study shows; the study gives the other metrics for no family.
SPLITS = {"mobilenet": ("train", "val", "test")}
SPLIT_NAMES = {"train": "training", "val": "validation", "test": "test"}
KIND_NAMES = {"accuracy": METRICS["accuracy"], "iou": METRICS["mean_iou"]}
PUBLISHED_DATA = {
    "images": 853,
    "faces": 4072,
    "crops": 1861,
    "crops_with_mask": 1581,
    "crops_without_mask": 280,
    "samples": 2141,
    **PUBLISHED_SIZES,
}
DATA_ROWS = {
    "images": "images",
    "left_out": "images left out",
    "faces": "annotated faces",
    "crops": "crops kept",
    "crops_with_mask": "… with mask",
    "crops_without_mask": "… without mask",
    "samples": "samples, flips included",
    "train": "… for training",
    "val": "… for validation",
    "test": "… for the test",
    "extra_crops": "smaller crops that may train a localizer",
    "extra_crops_without_mask": "… of them without mask",
    "leaking_test_samples": "test samples whose image, or a near-duplicate of it, is also in "
    "train or validation",
}
RANKED = (
    "test_accuracy",
    "test_accuracy_published",
    "recall_with_mask",
    "recall_without_mask",
    "balanced_accuracy",
    "test_iou",
    "test_iou_published",
)
DETAILS = ("recall_with_mask", "recall_without_mask", "balanced_accuracy", "iou_50")


def render(
    run: Run,
    iou_deviation: Mapping[str, float],
    plots: Mapping[str, str],
    sections: Sequence[str],
) -> str:
    """Return the whole report.

    Args:
        run: what it is about.
        iou_deviation: of each experiment, the standard deviation of the IoU over test samples.
        plots: what is shown, to a path relative to the report: partition, contact_sheet,
            leaderboard, curves/<experiment> of each and predictions/<experiment> of some.
        sections: those of `sections`, in their order.

    Raises:
        KeyError: an entry that the page needs is missing.
    """
    rows, ranking = leaderboard.ranked(run)
    names, others = display_names(run), rows[rows["family"] == "further"]
    return tables.render(
        "report",
        run=run,
        best=ranking.iloc[0],
        majority=ranking["majority_accuracy"].iloc[0],
        counts={
            "study": (rows["family"] != "further").sum(),
            "run": (rows["run"] & (rows["family"] != "further")).sum(),
            "tuned": others["id"].str.endswith("_tuned").sum(),
            "own": (~others["id"].str.endswith("_tuned")).sum(),
        },
        seconds=rows["train_seconds"].sum(),
        missing=list(rows.loc[~rows["run"], "id"]),
        weights=_weights(run),
        data=_data(run.data),
        families=[_family(rows, family, names) for family in FAMILIES],
        champions=_champions(ranking, rows, names),
        ranking=_ranking(ranking, names),
        shortfalls=leaderboard.shortfalls(rows, run, iou_deviation),
        split_names=SPLIT_NAMES,
        kind_names=KIND_NAMES,
        sections=sections,
        plots=plots,
        names=names,
        footnotes=footnotes(run),
    )


def footnotes(run: Run) -> dict[str, str]:
    """Return the mark of the footnote of every note on weights: {note: mark}."""
    notes = dict.fromkeys(leaderboard.weight_note(run, name) for name in run.backbones)
    return {note: f"[^{number}]" for number, note in enumerate(filter(None, notes), 1)}


def display_names(run: Run) -> dict[str, str]:
    """Return the name of each experiment that was run, with the mark of its footnote if any."""
    notes, marks = leaderboard.experiment_notes(run), footnotes(run)
    return {name: f"`{name}`{marks.get(notes.get(name, ''), '')}" for name in run.metrics}


def _weights(run: Run) -> pd.DataFrame:
    marks = footnotes(run)
    rows = []
    for name, record in run.backbones.items():
        weights = "**random**" if record["weights"] == "random" else f"`{record['weights']}`"
        rows.append(
            {
                "backbone": name,
                "weights": weights + marks.get(leaderboard.weight_note(run, name), ""),
                "sha256 of the weights": f"`{record['sha256']}`",
                "parameters": f"{record['params']:,}",
                "input": f"{record['input_size']} px",
            }
        )
    return pd.DataFrame(rows)


def _data(data: Mapping[str, int]) -> pd.DataFrame:
    rows = [
        (name, f"{data[key]:,}", f"{PUBLISHED_DATA[key]:,}" if key in PUBLISHED_DATA else NONE)
        for key, name in DATA_ROWS.items()
    ]
    return pd.DataFrame(rows, columns=["", "this run", "the study"])


def _family(rows: pd.DataFrame, family: str, names: Mapping[str, str]) -> dict[str, Any]:
    """A family's tables: against the study, accuracy and IoU apart if many, and details."""
    rows = rows[rows["family"] == family]
    splits = SPLITS.get(family, ("test",))
    by_kind = [[f"{split}_{kind}" for split in splits] for kind in KIND_NAMES]
    groups = by_kind if len(splits) > 1 else [[*by_kind[0], *by_kind[1]]]
    return {
        "title": FAMILIES[family],
        "experiments": list(rows["id"]),
        "run": list(rows.loc[rows["run"], "id"]),
        "against": [_against(rows, metrics, names) for metrics in groups],
        "details": _details(rows[rows["run"]], names),
    }


def _against(rows: pd.DataFrame, metrics: Sequence[str], names: Mapping[str, str]) -> pd.DataFrame:
    headers = ["experiment"]
    for metric in metrics:
        split, kind = metric.split("_")
        headers += [f"{SPLIT_NAMES[split]} {KIND_NAMES[kind]}", "published", "difference"]
    cells = []
    for row in rows.to_dict("records"):
        line = [_titled(row, names)]
        for metric in metrics:
            line += [
                percent(row[metric]) if row["run"] else "not run",
                percent(row[f"{metric}_published"]),
                percent(row[f"{metric}_difference"], signed=True),
            ]
        cells.append(line)
    return pd.DataFrame(cells, columns=headers)


def _details(rows: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "experiment": names[row["id"]],
                **{METRICS[key]: percent(row[key]) for key in DETAILS},
                "parameters": f"{row['total_params']:,.0f}",
                "trainable": f"{row['trainable_params']:,.0f}",
                "both as published": _as_published(row),
                "epochs (best)": f"{row['epochs']:.0f} ({row['best_epoch']:.0f})",
                "seconds": f"{row['train_seconds']:,.0f}",
            }
            for row in rows.to_dict("records")
        ]
    )


def _as_published(row: Mapping[str, Any]) -> str:
    if math.isnan(row["total_params_published"]):
        return NONE
    equal = all(row[name] == row[f"{name}_published"] for name in leaderboard.PARAMETERS)
    return "yes" if equal else "**no**"


def _champions(ranking: pd.DataFrame, rows: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """The best of each family as measured, and the best of it as published."""
    shown = ("test_accuracy", "recall_with_mask", "recall_without_mask", "test_iou")
    headers = ["family", "best measured", *map(_header, shown), "best published"]
    headers += KIND_NAMES.values()
    cells = []
    for row in ranking[ranking["best_of_family"]].to_dict("records"):
        rivals = rows[rows["family"] == row["family"]].dropna(subset="test_accuracy_published")
        study_best = [NONE] * 3
        if len(rivals):
            best = rivals.loc[rivals["test_accuracy_published"].idxmax()]
            metrics = (best["test_accuracy_published"], best["test_iou_published"])
            study_best = [f"`{best['id']}`", *map(percent, metrics)]
        measured = [names[row["id"]], *(percent(row[name]) for name in shown)]
        cells.append([FAMILIES[row["family"]], *measured, *study_best])
    return pd.DataFrame(cells, columns=headers)


def _ranking(ranking: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """All experiments, best first, and the majority baseline at its place among them."""
    cells = [
        [row["rank"], _titled(row, names), *(percent(row[name]) for name in RANKED)]
        for row in ranking.to_dict("records")
    ]
    share, title = ranking["majority_accuracy"].iloc[0], f"*{METRICS['majority_accuracy']}*"
    baseline = {"test_accuracy": percent(share), "balanced_accuracy": percent(0.5)}
    line = ["", title, *(baseline.get(name, "") for name in RANKED)]
    cells.insert((ranking["test_accuracy"] >= share).sum(), line)
    return pd.DataFrame(cells, columns=["rank", "experiment", *map(_header, RANKED)])


def _header(column: str) -> str:
    """The header of a column of the leaderboard, whose metrics are all of the test samples."""
    if column.endswith("_published"):
        return "published"
    return METRICS[leaderboard.COMPARED[column][1] if column in leaderboard.COMPARED else column]


def _titled(row: Mapping[str, Any], names: Mapping[str, str]) -> str:
    parts = (names.get(row["id"], f"`{row['id']}`"), row["section"], row["title"])
    return " ".join(part for part in parts if part)
