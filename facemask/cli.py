"""The command line: compare, pool and keep results."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from facemask.errors import InputError
from facemask.io import write_json
from facemask.records import RESULTS, fold, is_detector, predictions


class Commands(TyperGroup):
    """Commands whose wrong inputs end in one message on stderr and exit code 1."""

    # Any: typer's class of contexts is private, and a command returns what it likes.
    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        """Run the command."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            typer.echo(f"facemask: {error}", err=True)
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=Commands, no_args_is_help=True, add_completion=False, rich_markup_mode="markdown"
)


@app.callback()
def main() -> None:
    """Face-mask detection: compare, pool and keep the results of `dvc repro`."""


@app.command()
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="NAME, NAME@WHERE or a CSV file.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The other, likewise.")],
) -> None:
    """Compare two experiments on the same test samples.

    Every metric of A and B, the difference B - A with its 95 % interval, and a paired test.

    NAME is an experiment measured by `dvc repro`; NAME@WHERE is the same in a snapshot of
    docs/results, at a git revision or in a DVC experiment: localizer@localizer, mobilenet_6@HEAD,
    scratch_1@two-epochs. NAME+NAME is the ensemble of two.
    """
    # Takes two seconds, which --help need not wait for.
    from facemask.evaluation import significance

    first, second = predictions(a), predictions(b)
    table = _table(significance.compare(first, second))
    # Names are printed as they are, even with brackets.
    console = Console(markup=False, highlight=False)
    console.print(f"A: {a}\nB: {b}\n", table, _notes(first), sep="\n")


@app.command()
def pool(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="An experiment, a localizer or an ensemble; NAME+NAME is the ensemble of two.",
        ),
    ],
    folds: Annotated[
        list[str],
        typer.Argument(
            metavar="WHERE...",
            help="Where each fold was measured: a snapshot of docs/results, a git revision or a "
            "DVC experiment.",
        ),
    ],
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A JSON file to write them to as well.")
    ] = None,
) -> None:
    """Pool the folds of a grouped split: metrics over all images, each tested once.

    Prints them with their 95 % intervals, and those of each fold.
    """
    from facemask.evaluation import significance

    if len(folds) < 2:
        raise InputError(
            f"pooling needs at least two folds, but only {folds[0]} is given: name where each was "
            "measured"
        )
    experiments = [f"{name}@{where}" for where in folds]
    if is_detector(experiments[0]):
        pool_detector(name, experiments, to)
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
    console = Console(markup=False, highlight=False)
    console.print(f"{name}, {len(tables)} folds\n", _pooled(rows), _majority(together), sep="\n")


def pool_detector(name: str, experiments: Sequence[str], to: Path | None) -> None:
    """Pool the folds of a detector: average precision, recalls, the study's crops."""
    from facemask.evaluation import detection_metrics

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
    console = Console(markup=False, highlight=False)
    console.print(f"{name}, {len(experiments)} folds: {images}\n", _pooled(rows), sep="\n")


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


@app.command()
def snapshot(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the new folder.")],
    pipeline: Annotated[
        str | None,
        typer.Option(metavar="PIPELINE", help="Keep one of pipelines/ alone, as detector."),
    ] = None,
) -> None:
    """Keep the run in the workspace as docs/results/NAME, to be committed.

    Its report with plots, the metrics and predictions of every experiment, its parameters, its
    lock files, and the commit it was made at.
    """
    from facemask.reporting import snapshot as snapshots

    folder = snapshots.take(Path(), RESULTS, name, pipeline)
    typer.echo(f"{folder}: {sum(path.is_file() for path in folder.rglob('*'))} files")


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
