"""Chapters of the report beyond the study's tables: how sure figures are, searches, losses."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from facemask.config import Experiment, Search, Space
from facemask.evaluation import significance
from facemask.reporting.tables import NONE, markdown_table, percent

Statistics = Mapping[str, Any]

FIGURES = {
    "accuracy": "test accuracy",
    "recall_with_mask": "recall with mask",
    "recall_without_mask": "recall without mask",
    "balanced_accuracy": "balanced accuracy",
    "mean_iou": "test IoU",
    "iou_50": "boxes with IoU ≥ 0.5",
}


def uncertainty(measured: Mapping[str, Statistics]) -> str:
    """Say how sure the test figures are: their 95 % intervals, and their spread over repeats.

    Args:
        measured: of each experiment what `metrics.summary` and `metrics.confidence` return.
    """
    if not measured:
        return ""
    headers = ("experiment", "majority class alone", *FIGURES.values())
    rows = [
        (f"`{name}`", percent(_majority(s)), *(_interval(s["intervals"][key]) for key in FIGURES))
        for name, s in measured.items()
    ]
    text = (
        "## How sure the figures are\n\n"
        "Test figures in % with their 95 % intervals: percentile bootstrap over photographs, each "
        "with all its samples (2,000 draws), since the faces of one photograph are alike. They say "
        "what another choice of test photographs could have given, not what another seed of the "
        "training could have."
    )
    return f"{text}\n\n{markdown_table(headers, rows)}\n\n{_repeats(measured)}".rstrip()


def _interval(figure: Mapping[str, float]) -> str:
    return f"{percent(figure['value'])} [{percent(figure['low'])}, {percent(figure['high'])}]"


def _majority(measured: Statistics) -> float:
    return measured["test"]["majority_accuracy"]


def _repeats(measured: Mapping[str, Statistics]) -> str:
    repeated = {name: s["repeats"] for name, s in measured.items() if s["count"] > 1}
    if not repeated:
        return ""
    headers = ("experiment", "repeats", "majority class alone", *FIGURES.values())
    rows = [
        (
            f"`{name}`",
            measured[name]["count"],
            percent(_majority(measured[name])),
            *(_spread(figures[key]) for key in FIGURES),
        )
        for name, figures in repeated.items()
    ]
    text = (
        "Trained several times, each with a seed of its own: mean ± sample standard deviation of "
        "the test figures, in %. Everywhere else stand those of the first."
    )
    return f"{text}\n\n{markdown_table(headers, rows)}"


def _spread(figure: Mapping[str, float]) -> str:
    return f"{percent(figure['mean'])} ± {percent(figure['std'])}"


def hyperband(
    searches: Mapping[str, Search],
    found: Mapping[str, Mapping[str, Any]],
    experiments: Mapping[str, Experiment],
    metrics: Mapping[str, Mapping[str, Any]],
    published: pd.DataFrame,
    pictures: Mapping[str, str],
) -> str:
    """Put what each search found beside the study's values, and the test figures of both.

    Args:
        searches: of params.yaml.
        found: of each search that was run, what `search.search` found best, and its summary.
        experiments: of params.yaml.
        metrics: of the experiments that were run.
        published: published_results.csv.
        pictures: `searches/<name>` → path from the report.
    """
    parts = []
    for name, best in found.items():
        beside = _beside(name, searches[name], experiments, published)
        parts += [
            f"### {name}",
            f"{best['trials']} trials, {best['epochs']} epochs, {best['seconds']:,.0f} s; least "
            f"validation loss {best['val_loss']:.5f}.",
            _values(experiments[searches[name].base], searches[name].base, best),
            _tested([name for name in beside if name in metrics], metrics, published),
        ]
        if f"searches/{name}" in pictures:
            parts.append(f"![Trials of the search {name}]({pictures[f'searches/{name}']})")
    if not parts:
        return ""
    intro = (
        "## Hyperband\n\nThe study chose the heads of its last experiments by Hyperband on the "
        "validation loss. So does this run, on its own samples; `*_tuned` trains with what was "
        "found here, the others with what the study found."
    )
    return "\n\n".join((intro, *parts))


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


def _values(base: Experiment, name: str, best: Mapping[str, Any]) -> str:
    study = {
        "layers": len(base.network.dense),
        "units": base.network.dense[0],
        "shared_dropout": base.dropout.shared,
        "label_dropout": base.dropout.label,
        "box_dropout": base.dropout.box,
        "learning_rate": base.optimizer.learning_rate,
    }
    rows = [
        ("found here", *(f"{best[key]:g}" for key in Space.model_fields)),
        (f"the study's (`{name}`)", *(f"{study[key]:g}" for key in Space.model_fields)),
    ]
    titles = (field.title or key for key, field in Space.model_fields.items())
    return markdown_table(("", *titles), rows)


def _tested(
    names: Sequence[str], metrics: Mapping[str, Mapping[str, Any]], published: pd.DataFrame
) -> str:
    study = published.set_index("id")
    headers = (
        "experiment",
        "least validation loss at epoch",
        "test accuracy",
        "published",
        "majority class alone",
        "recall with mask",
        "recall without mask",
        "test IoU",
        "published",
    )
    rows = []
    for name in names:
        test = metrics[name]["test"]
        known = study.loc[name] if name in study.index else None
        rows.append(
            (
                f"`{name}`",
                metrics[name]["best_epoch"],
                percent(test["accuracy"]),
                NONE if known is None else percent(known["test_accuracy"]),
                percent(test["majority_accuracy"]),
                percent(test["recall_with_mask"]),
                percent(test["recall_without_mask"]),
                percent(test["mean_iou"]),
                NONE if known is None else percent(known["test_iou"]),
            )
        )
    return markdown_table(headers, rows)


def box_losses(
    experiments: Mapping[str, Experiment],
    predictions: Mapping[str, pd.DataFrame],
    majority: Mapping[str, float],
    pictures: Mapping[str, str],
) -> str:
    """Compare experiments that differ in nothing but the loss of the box and its weight.

    Args:
        experiments: of params.yaml and the losses pipeline.
        predictions: of each experiment that was run, its answers on the test samples.
        majority: of each experiment, the test accuracy of answering the majority class.
        pictures: `losses` → path from the report.
    """
    run = {name: experiment for name, experiment in experiments.items() if name in predictions}
    groups = [group for group in alike(run) if len(group) > 1]
    if not groups:
        return ""
    text = (
        "## Losses of the box\n\nThe same network, data and seed with another loss of the box. "
        "Test figures in %; differences to the first row in points, with p of the paired "
        "permutation test over photographs: how often a difference of that size comes of "
        "swapping the two experiments' answers at random. On boxes in [0, 1] smooth L1 with "
        "threshold 1 is the squared error itself, with threshold 2 half of it and with threshold "
        "0.5 twice, but for errors above 0.5; Huber with threshold 1 is half of it. There these "
        "do no more than weigh the box."
    )
    parts = [text]
    if "losses" in pictures:
        parts.append(f"![The losses of the box, drawn over error and shift]({pictures['losses']})")
    for group in groups:
        parts += [
            f"### The network of `{group[0]}`",
            _loss_table(group, experiments, predictions, majority),
        ]
    return "\n\n".join(parts)


def alike(experiments: Mapping[str, Experiment]) -> list[list[str]]:
    """Return groups that differ only in the loss of the box, the loss weights and repeats."""
    groups: dict[str, list[str]] = {}
    for name, experiment in experiments.items():
        entry = experiment.model_dump(
            exclude={"loss_weights": True, "repeats": True, "losses": {"box"}}
        )
        groups.setdefault(repr(entry), []).append(name)
    return list(groups.values())


def _loss_table(
    group: Sequence[str],
    experiments: Mapping[str, Experiment],
    predictions: Mapping[str, pd.DataFrame],
    majority: Mapping[str, float],
) -> str:
    headers = (
        "experiment",
        "loss of the box",
        "weights, label : box",
        "test accuracy",
        "difference (p)",
        "majority class alone",
        "recall with mask",
        "recall without mask",
        "test IoU",
        "difference (p)",
        "IoU ≥ 0.5",
    )
    rows = []
    for name in group:
        against = significance.compare(predictions[group[0]], predictions[name]).set_index("figure")
        value, first = against["second"], name == group[0]
        rows.append(
            (
                f"`{name}`",
                _loss_name(experiments[name]),
                "{label:g} : {box:g}".format(**experiments[name].loss_weights.model_dump()),
                percent(value["accuracy"]),
                NONE if first else _difference(against.loc["accuracy"]),
                percent(majority[name]),
                percent(value["recall_with_mask"]),
                percent(value["recall_without_mask"]),
                percent(value["mean_iou"]),
                NONE if first else _difference(against.loc["mean_iou"]),
                percent(value["iou_50"]),
            )
        )
    return markdown_table(headers, rows, left=2)


def _loss_name(experiment: Experiment) -> str:
    loss = experiment.losses.box
    plain = {"mse": "squared error", "giou": "GIoU", "diou": "DIoU", "ciou": "CIoU"}
    spelt = {"smooth_l1": "smooth L1", "huber": "Huber"}
    return plain.get(loss.name) or f"{spelt[loss.name]}, threshold {loss.threshold:g}"


def _difference(row: pd.Series) -> str:
    p = f"{row['p']:.3f}" if row["p"] >= 0.001 else "< 0.001"
    return f"{percent(row['difference'], signed=True)} ({p})"
