"""Sections of the report and the page of losses: intervals, searches, losses of the box.

Each computes its tables; the words are in the template of its name.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from facemask.config.training import BoxLoss, Experiment, Search, Space
from facemask.evaluation import significance
from facemask.reporting import tables
from facemask.reporting.tables import METRICS, NONE, interval, mean_and_std, percent

Statistics = Mapping[str, Any]

SHOWN = tuple(key for key in METRICS if key != "majority_accuracy")
LOSSES = {
    "mse": "squared error",
    "study_smooth_l1": "the study's smooth L1, threshold {:g}",
    "huber": "Huber, threshold {:g}",
    "giou": "GIoU",
    "diou": "DIoU",
    "ciou": "CIoU",
}


def uncertainty(measured: Mapping[str, Statistics], names: Mapping[str, str]) -> str:
    """Say how certain the test metrics are: their 95 % intervals, and their std over repeats.

    Args:
        measured: of each experiment what `metrics.summary` and `metrics.uncertainty` return.
        names: of each, as it is shown.
    """
    intervals = [
        (names[name], *(interval(record["intervals"][key]) for key in SHOWN))
        for name, record in measured.items()
    ]
    repeats = [
        (names[name], record["count"], *(mean_and_std(record["repeats"][key]) for key in SHOWN))
        for name, record in measured.items()
        if record["count"] > 1
    ]
    headers = [METRICS[key] for key in SHOWN]
    return tables.render(
        "uncertainty",
        majority=_majority(measured),
        intervals=pd.DataFrame(intervals, columns=["experiment", *headers]),
        repeats=pd.DataFrame(repeats, columns=["experiment", "repeats", *headers]),
    )


def _majority(measured: Mapping[str, Statistics]) -> float:
    """The majority baseline, which is of the test samples, not of an experiment."""
    return next(iter(measured.values()))["test"]["majority_accuracy"]


def hyperband(
    searches: Mapping[str, Search],
    best: Mapping[str, Mapping[str, Any]],
    experiments: Mapping[str, Experiment],
    metrics: Mapping[str, Statistics],
    published: pd.DataFrame,
    names: Mapping[str, str],
    plots: Mapping[str, str],
) -> str:
    """Put what each search found beside the study's values, and the test metrics of both.

    Args:
        searches, experiments: of params.yaml.
        best: of each search that was run, what `hyperband.search` found best, and its summary.
        metrics: of the experiments that were run.
        published: published_results.csv.
        names: of each experiment that was run, as it is shown.
        plots: `searches/<name>` → path from the report.
    """
    if not best:
        return ""
    entries = []
    for name, found in best.items():
        base = searches[name].base
        beside = _beside(name, searches[name], experiments, published)
        entries.append(
            {
                "name": name,
                "best": found,
                "values": _values(experiments[base], base, found),
                "tested": _tested([n for n in beside if n in metrics], metrics, published, names),
                "plot": plots[f"searches/{name}"],
            }
        )
    return tables.render("hyperband", searches=entries, majority=_majority(metrics))


def _beside(
    name: str, search: Search, experiments: Mapping[str, Experiment], published: pd.DataFrame
) -> list[str]:
    """The study's experiments with the layers of the search's base, then what it tuned."""
    layers = experiments[search.base].network
    study = [
        other
        for other, experiment in experiments.items()
        if other in set(published["id"])
        and experiment.inputs == search.inputs
        and experiment.network == layers
    ]
    return [*study, f"{name}_tuned"]


def _values(base: Experiment, name: str, best: Mapping[str, Any]) -> pd.DataFrame:
    dense = base.network.dense
    study = {
        "layers": len(dense),
        "units": dense[0] if dense else 0,
        "shared_dropout": base.dropout.shared,
        "label_dropout": base.dropout.label,
        "box_dropout": base.dropout.box,
        "learning_rate": base.optimizer.learning_rate,
    }
    rows = [
        ("found here", *(f"{best[key]:g}" for key in Space.model_fields)),
        (f"the study's (`{name}`)", *(f"{study[key]:g}" for key in Space.model_fields)),
    ]
    titles = [field.title or key for key, field in Space.model_fields.items()]
    return pd.DataFrame(rows, columns=["", *titles])


def _tested(
    experiments: Sequence[str],
    metrics: Mapping[str, Statistics],
    published: pd.DataFrame,
    names: Mapping[str, str],
) -> pd.DataFrame:
    keys = ("accuracy", "recall_with_mask", "recall_without_mask", "mean_iou")
    headers = ["experiment", "best epoch", *(METRICS[key] for key in keys), "published"]
    headers.insert(3, "published")
    study = published.set_index("id")[["test_accuracy", "test_iou"]].map(percent)
    rows = []
    for name in experiments:
        test = metrics[name]["test"]
        accuracy, iou = study.loc[name] if name in study.index else (NONE, NONE)
        rows.append(
            (
                names[name],
                metrics[name]["best_epoch"],
                percent(test["accuracy"]),
                accuracy,
                percent(test["recall_with_mask"]),
                percent(test["recall_without_mask"]),
                percent(test["mean_iou"]),
                iou,
            )
        )
    return pd.DataFrame(rows, columns=headers)


def box_losses(
    groups: Sequence[Sequence[str]],
    experiments: Mapping[str, Experiment],
    predictions: Mapping[str, pd.DataFrame],
    majority: Mapping[str, float],
    plot: str,
) -> str:
    """Compare experiments that differ in nothing but the loss of the box and its weight.

    Args:
        groups: those of `alike` to show.
        experiments: of params.yaml and the losses pipeline.
        predictions: of each experiment in a group, those of the test samples.
        majority: of each experiment, the majority baseline's test accuracy.
        plot: of the losses, its path from the page.
    """
    shown = [
        {
            "name": group[0],
            "majority": majority[group[0]],
            "table": _loss_table(group, experiments, predictions),
        }
        for group in groups
    ]
    return tables.render("box_losses", groups=shown, plot=plot)


def alike(experiments: Mapping[str, Experiment]) -> list[list[str]]:
    """Return groups of two or more that differ only in box loss, loss weights and repeats."""
    groups: dict[str, list[str]] = {}
    for name, experiment in experiments.items():
        entry = experiment.model_dump(
            exclude={"loss_weights": True, "repeats": True, "losses": {"box"}}
        )
        groups.setdefault(repr(entry), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _loss_table(
    group: Sequence[str],
    experiments: Mapping[str, Experiment],
    predictions: Mapping[str, pd.DataFrame],
) -> pd.DataFrame:
    keys = ("accuracy", "recall_with_mask", "recall_without_mask", "mean_iou", "iou_50")
    headers = ["experiment", "loss of the box", "weights, label : box"]
    for key in keys:
        compared = key in ("accuracy", "mean_iou")
        headers += [METRICS[key], *(["difference (p)"] if compared else [])]
    rows = []
    for name in group:
        against = significance.compare(predictions[group[0]], predictions[name]).set_index("metric")
        value, first = against["second"], name == group[0]
        rows.append(
            (
                f"`{name}`",
                _loss_name(experiments[name].losses.box),
                "{label:g} : {box:g}".format(**experiments[name].loss_weights.model_dump()),
                percent(value["accuracy"]),
                NONE if first else _difference(against.loc["accuracy"]),
                percent(value["recall_with_mask"]),
                percent(value["recall_without_mask"]),
                percent(value["mean_iou"]),
                NONE if first else _difference(against.loc["mean_iou"]),
                percent(value["iou_50"]),
            )
        )
    return pd.DataFrame(rows, columns=headers)


def _loss_name(loss: BoxLoss) -> str:
    return LOSSES[loss.name].format(loss.threshold)


def _difference(row: pd.Series) -> str:
    p = f"{row['p']:.3f}" if row["p"] >= 0.001 else "< 0.001"
    return f"{percent(row['difference'], signed=True)} ({p})"
