"""What `facemask compare` and `facemask pool` print: tables of metrics, and how to read them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from facemask.errors import InputError
from facemask.evaluation import detection_metrics, significance
from facemask.io import write_json
from facemask.records import fold, is_detector, predictions

CONSOLE = Console(markup=False, highlight=False)  # names are printed as they are, with brackets


def compare(a: str, b: str) -> None:
    """Print the metrics of two experiments, their differences, and a test of these."""
    first, second = predictions(a), predictions(b)
    table = _table(significance.compare(first, second))
    CONSOLE.print(f"A: {a}\nB: {b}\n", table, _notes(first), sep="\n")


def pool(name: str, folds: Sequence[str], to: Path | None) -> None:
    """Print the metrics of all folds of an experiment together, and write them to a file.

    Raises:
        InputError: there is one fold alone, or one was not measured.
    """
    if len(folds) < 2:
        raise InputError(
            f"pooling needs at least two folds, but only {folds[0]} is given: name where each was "
            "measured"
        )
    experiments = [f"{name}@{where}" for where in folds]
    if is_detector(experiments[0]):
        _pool_detector(name, experiments, to)
        return
    tables = [predictions(experiment) for experiment in experiments]
    pooled, together = significance.pooled(tables), pd.concat(tables)
    if to:
        # An accuracy never stands without it.
        write_json({"majority_accuracy": float(_shares(together).iloc[0]), **pooled}, to)
    rows = {
        _spelt(metric): (value["value"], value["low"], value["high"], value["folds"])
        for metric, value in pooled["metrics"].items()
    }
    CONSOLE.print(f"{name}, {len(tables)} folds\n", _pooled(rows), _majority(together), sep="\n")


def _pool_detector(name: str, experiments: Sequence[str], to: Path | None) -> None:
    """The same of a detector: average precision, recalls, the study's crops."""
    found = detection_metrics.pooled([fold(experiment) for experiment in experiments])
    test = found["measured"]["test"]
    if to:
        write_json(found, to)
    rows: dict[str, tuple[float, float, float, Sequence[float]]] = {}
    for key, metrics in found["intervals"].items():
        of_group = metrics if isinstance(metrics, dict) else {"": metrics}
        for metric, (low, high) in of_group.items():
            value = found[key][metric] if metric else found[key]
            title = "false alarms in 100 images" if key == "false_alarms" else f"{key} {metric}"
            rows[_spelt(title.strip())] = value, low, high, []
    images = f"{test['images']} images, {test['faces']} faces, {found['crops_count']} crops"
    CONSOLE.print(f"{name}, {len(experiments)} folds: {images}\n", _pooled(rows), sep="\n")


def _pooled(rows: Mapping[str, tuple[float, float, float, Sequence[float]]]) -> Table:
    """Of each metric its value, interval and the values of the folds."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in ("metric, %", "pooled", "95 % interval", "folds"):
        table.add_column(column, justify="left" if column == "metric, %" else "right")
    for metric, (value, low, high, folds) in rows.items():
        table.add_row(
            metric,
            f"{100 * value:.2f}",
            f"{100 * low:.2f} to {100 * high:.2f}",
            " ".join(f"{100 * each:.2f}" for each in folds),
        )
    return table


def _table(comparison: pd.DataFrame) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("metric, %")
    for name in ("A", "B", "B - A", "95 % interval", "", "p"):
        table.add_column(name, justify="right")
    for row in comparison.itertuples():
        certain = row.low > 0 or row.high < 0
        table.add_row(
            _spelt(row.metric),
            f"{100 * row.first:.2f}",
            f"{100 * row.second:.2f}",
            f"{100 * row.difference:+.2f}",
            f"{100 * row.low:+.2f} to {100 * row.high:+.2f}",
            "*" if certain else "",
            "<0.001" if row.p < 0.001 else f"{row.p:.3f}",
            style="bold" if certain else "",
        )
    return table


def _spelt(metric: str) -> str:
    return metric.replace("_", " ").replace("iou", "IoU")


def _notes(predictions: pd.DataFrame) -> str:
    return (
        f"{_majority(predictions)}\n\n"
        "B - A is in points; * marks an interval without 0. p is the share of random swaps of the "
        "two's predictions, image by image, that give a difference at least as large. Neither "
        "covers the chance in training: another seed, another network."
    )


def _majority(predictions: pd.DataFrame) -> str:
    shares = _shares(predictions)
    return (
        f"\n{len(predictions)} test samples of {predictions['image'].nunique()} images. "
        f"Majority baseline: {100 * shares.iloc[0]:.2f} % of them are {shares.index[0]}, which is "
        "the accuracy of always predicting that. Read accuracy beside it and beside both recalls."
    )


def _shares(predictions: pd.DataFrame) -> pd.Series:
    """Of each class, the commonest first."""
    return predictions["actual"].value_counts(normalize=True)
