"""The command line: compare, pool and keep results."""

import difflib
import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import IO, Annotated, Any

import fsspec
import pandas as pd
import typer
from pandas.api.types import is_numeric_dtype
from rich import box
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from facemask.columns import PREDICTED
from facemask.errors import InputError
from facemask.io import write_json

RESULTS, RECORDS = Path("docs/results"), "report/records"


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
    tables = [predictions(f"{name}@{fold}") for fold in folds]
    pooled, together = significance.pooled(tables), pd.concat(tables)
    if to:
        # An accuracy never stands without it.
        write_json({"majority_accuracy": float(_shares(together).iloc[0]), **pooled}, to)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in ("metric, %", "pooled", "95 % interval", "folds"):
        table.add_column(column, justify="left" if column == "metric, %" else "right")
    for metric, value in pooled["metrics"].items():
        table.add_row(
            _spelt(metric),
            f"{100 * value['value']:.2f}",
            f"{100 * value['low']:.2f} to {100 * value['high']:.2f}",
            " ".join(f"{100 * each:.2f}" for each in value["folds"]),
        )
    console = Console(markup=False, highlight=False)
    console.print(f"{name}, {len(tables)} folds\n", table, _majority(together), sep="\n")


@app.command()
def snapshot(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the new folder.")],
) -> None:
    """Keep the run in the workspace as docs/results/NAME, to be committed.

    Its report with plots, the metrics and predictions of every experiment, its parameters, its
    lock files, and the commit it was made at.
    """
    from facemask.reporting import snapshot as snapshots

    folder = snapshots.take(Path(), RESULTS, name)
    typer.echo(f"{folder}: {sum(path.is_file() for path in folder.rglob('*'))} files")


def predictions(experiment: str) -> pd.DataFrame:
    """Return the test predictions of an experiment, or of the ensemble of several.

    Args:
        experiment: NAME, NAME@WHERE, NAME+NAME@WHERE or a CSV file, as for `compare`.

    Returns:
        The test samples of the table of `predict.predict`, with `significance.COLUMNS`.

    Raises:
        InputError: it is not there, or no table of predictions.
    """
    from facemask.evaluation import significance

    members = [experiment] if experiment.endswith(".csv") else _members(experiment)
    if len(members) == 1:
        return _predictions(experiment, significance.COLUMNS)
    from facemask.evaluation.calibration import calibrated
    from facemask.inference.ensemble import fuse

    columns = ["sample", *significance.COLUMNS, *PREDICTED]
    tables = [_predictions(name, columns, ["flip_iou"]).assign(split="test") for name in members]
    return fuse(
        [calibrated(table, _temperature(name)) for name, table in zip(members, tables, strict=True)]
    )


def _members(experiment: str) -> list[str]:
    """Those of NAME+NAME@WHERE, where the last one's place is also that of those without one."""
    names = experiment.split("+")
    where = names[-1].partition("@")[2]
    return [f"{name}@{where}" if where and "@" not in name else name for name in names]


def _predictions(experiment: str, columns: list[str], more: Collection[str] = ()) -> pd.DataFrame:
    """A table of predictions: columns it must have, and more of those it may have."""
    if experiment.endswith(".csv"):
        files, path = fsspec.filesystem("file"), experiment
        if not files.isfile(path):
            there = f"{path} is a folder" if files.isdir(path) else f"there is no {path}"
            raise InputError(f"{there}; give an experiment, NAME@WHERE or a CSV file")
    else:
        files, path = _find(experiment, "predictions", ".csv")
    with files.open(path) as file:
        table = _read_table(file, path)
    if missing := [name for name in columns if name not in table]:
        raise InputError(
            f"{path} is not a table of predictions: no {', '.join(missing)}; give one that "
            "dvc repro wrote, predictions/NAME.csv"
        )
    table = table[[name for name in table if name in columns or name in more]]
    numbers = table.drop(columns=["image", "actual", "predicted"])
    for name, column in numbers.items():
        if not is_numeric_dtype(column) or column.isna().any():
            raise InputError(
                f"{path}: column {name} does not hold numbers alone (decimals have a point); give "
                "the file as dvc repro wrote it"
            )
    return table


def _read_table(file: IO[bytes], path: str) -> pd.DataFrame:
    """Read a CSV file, and say what else it is if it is none."""
    try:
        table = pd.read_csv(file)
        if table.empty:
            raise pd.errors.EmptyDataError
    except pd.errors.EmptyDataError:
        raise InputError(f"{path} has no rows; dvc repro writes it anew") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text in UTF-8; save it as CSV in that encoding") from None
    except pd.errors.ParserError as error:
        reason = str(error).strip()
        raise InputError(f"{path} is not a CSV file: {reason}; dvc repro writes it anew") from None
    if len(table.columns) == 1 and (mark := re.search(r"[;\t]", table.columns[0])):
        raise InputError(
            f"{path}: its columns are separated by {mark[0]!r}; save it with commas between them"
        )
    return table


def _temperature(experiment: str) -> float:
    """The temperature that was found on an experiment's validation samples."""
    files, path = _find(experiment, "statistics", ".json")
    try:
        with files.open(path) as file:
            return float(json.load(file)["calibration"]["temperature"])
    except (ValueError, KeyError) as error:
        raise InputError(f"{path} holds no temperature: {error}; dvc repro makes it") from None


def _find(experiment: str, kind: str, suffix: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Where a record of NAME or NAME@WHERE lies: in which files, and its path in them."""
    name, _, where = experiment.partition("@")
    files, folder = _files(where)
    # Records of a pipeline lie in a folder of its name; in older snapshots they do not.
    records = files.glob(f"{folder}/**/{kind}/*{suffix}")
    # A dot: not written whole.
    known = {Path(each).stem: each for each in records if not Path(each).name.startswith(".")}
    if name not in known:
        raise InputError(_missing(name, where, known))
    return files, known[name]


def _files(where: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The files and folder of records: of the workspace, a snapshot, or a revision."""
    if not where:
        return fsspec.filesystem("file"), RECORDS
    if (RESULTS / where).is_dir():
        return fsspec.filesystem("file"), str(RESULTS / where)
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException

    files = DVCFileSystem(rev=where)
    try:
        files.ls("")  # opens the repository
    except DvcException as error:
        names = sorted(path.name for path in RESULTS.iterdir()) if RESULTS.is_dir() else []
        snapshots = "there are no snapshots here: go to the repository root"
        if names:
            snapshots = f"the snapshots are {', '.join(names)}"
        raise InputError(
            f"{error}; git log lists the revisions, dvc exp list the experiments; {snapshots}"
        ) from None
    return files, RECORDS


def _missing(name: str, where: str, known: Collection[str]) -> str:
    """The message for an experiment that is not there: which are, and which was meant."""
    place = f"in {where}" if where else "in the workspace"
    if not known:
        return f"no experiment was measured {place}: dvc repro does it, in the repository's root"
    near = difflib.get_close_matches(name, known, n=1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    return (
        f"there is no {name} {place}{meant}; there are: {', '.join(sorted(known))}. Others are "
        "measured by dvc repro, those of pipelines/ by dvc repro pipelines/NAME/dvc.yaml"
    )


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
