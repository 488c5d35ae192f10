"""The command line: what a person asks of the results, told as a table."""

import difflib
import json
import os
from collections.abc import Collection
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Annotated, Any

import fsspec
import pandas as pd
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from facemask import config
from facemask.errors import InputError
from facemask.io import write_json
from facemask.schema import PREDICTED

PARAMS = Path("params.yaml")


class Commands(TyperGroup):
    """Commands whose wrong inputs end in one message on stderr and exit code 1."""

    # Any: typer's class of contexts is private, and a command returns what it likes.
    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        """Run the command that was asked for."""
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
    """Find a face and say whether it wears a mask: what the measured networks are worth.

    The networks themselves are trained and measured by `dvc repro`.
    """


@app.command()
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="NAME, NAME@REVISION or a CSV file.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The other, likewise.")],
    metrics: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where predictions/NAME.csv lies, as metrics/kaggle; if not given, that of the "
            "dataset in params.yaml.",
        ),
    ] = None,
) -> None:
    """Compare two experiments on the same test samples.

    Every figure of A and B, the difference B - A with its 95 % interval, and a paired test.

    An experiment is a NAME of params.yaml, measured by `dvc repro`. NAME@REVISION is the same at
    a git revision or in a DVC experiment: mobilenet_6@HEAD, scratch_1@two-epochs. NAME+NAME are
    two that answer as one, as an ensemble of params.yaml does.
    """
    # Takes two seconds, which --help need not wait for.
    from facemask.evaluation import significance

    first, second = (_read(experiment, metrics) for experiment in (a, b))
    table = _table(significance.compare(first, second))
    # Names are printed as they are, even with brackets.
    console = Console(markup=False, highlight=False)
    console.print(f"A: {a}\nB: {b}\n", table, _remarks(first), sep="\n")


@app.command()
def pool(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="An experiment, a localizer or an ensemble; NAME+NAME are two as an ensemble.",
        ),
    ],
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER...", help="Metrics of each fold, as metrics/kaggle_grouped_0"
        ),
    ],
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A JSON file to write them to as well.")
    ] = None,
) -> None:
    """Pool the folds of the grouped protocol: figures over all photographs, each tested once.

    Prints them with their 95 % intervals, and those of each fold.
    """
    from facemask.evaluation import significance

    tables = [_read(name, folder) for folder in folders]
    figures, together = significance.pooled(tables), pd.concat(tables)
    if to:
        # An accuracy never stands without it.
        write_json({"majority_accuracy": float(_shares(together).iloc[0]), **figures}, to)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in ("figure, %", "pooled", "95 % interval", "folds"):
        table.add_column(column, justify="left" if column == "figure, %" else "right")
    for figure, value in figures["figures"].items():
        table.add_row(
            _spelt(figure),
            f"{100 * value['value']:.2f}",
            f"{100 * value['low']:.2f} to {100 * value['high']:.2f}",
            " ".join(f"{100 * each:.2f}" for each in value["folds"]),
        )
    console = Console(markup=False, highlight=False)
    console.print(f"{name}, {len(tables)} folds\n", table, _majority(together), sep="\n")


def _default_metrics() -> Path:
    if not PARAMS.is_file():
        raise InputError(f"no {PARAMS} here: go to the repository's root, or give --metrics FOLDER")
    params = config.read(PARAMS)
    return Path("metrics", params.dataset + params.split.suffix)


def _read(experiment: str, metrics: Path | None) -> pd.DataFrame:
    """The test samples of an experiment, or of several that answer as one."""
    from facemask.evaluation import significance

    members = [experiment] if experiment.endswith(".csv") else experiment.split("+")
    if len(members) == 1:
        return _predictions(experiment, metrics, significance.COLUMNS)
    # Takes four seconds more, for Keras; TensorFlow's notes on the CPU are not the user's concern.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from facemask.inference.ensemble import fuse

    columns = ["sample", *significance.COLUMNS, *PREDICTED]
    tables = [_predictions(member, metrics, columns, ["agreement"]) for member in members]
    divisors = [_temperature(member, metrics) for member in members]
    return fuse([table.assign(split="test") for table in tables], divisors)


def _predictions(
    experiment: str, metrics: Path | None, columns: list[str], more: Collection[str] = ()
) -> pd.DataFrame:
    """A table of predictions: columns it must have, and more of those it may have."""
    if experiment.endswith(".csv"):
        path, revision = Path(experiment), ""
    else:
        path, revision = _place(experiment, metrics, "predictions/{}.csv")
    try:
        with _open(path, revision) as file:
            table = pd.read_csv(file, usecols=lambda name: name in columns or name in more)
    except ValueError as error:
        raise InputError(f"{path} is not a table of predictions: {error}") from None
    if missing := [name for name in columns if name not in table]:
        raise InputError(f"{path} is not a table of predictions: no {', '.join(missing)}")
    return table


def _temperature(experiment: str, metrics: Path | None) -> float:
    """The temperature that an experiment's validation samples asked for."""
    path, revision = _place(experiment, metrics, "statistics/{}.json")
    try:
        with _open(path, revision) as file:
            return float(json.load(file)["calibration"]["temperature"])
    except (ValueError, KeyError) as error:
        raise InputError(f"{path} tells no temperature: {error}; dvc repro makes it") from None


def _place(experiment: str, metrics: Path | None, file: str) -> tuple[Path, str]:
    """Where a file of NAME or NAME@REVISION lies, and at which revision."""
    name, _, revision = experiment.partition("@")
    return (metrics or _default_metrics()) / file.format(name), revision


def _open(path: Path, revision: str) -> AbstractContextManager[IO[Any]]:
    files = _files(revision)
    # DVC knows no absolute paths.
    place = os.path.relpath(path)
    if not files.isfile(place):
        raise InputError(_missing(path, revision, files))
    return files.open(place)


def _files(revision: str) -> fsspec.AbstractFileSystem:
    """The files of the workspace, or of a git revision or DVC experiment."""
    if not revision:
        return fsspec.filesystem("file")
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException

    files = DVCFileSystem(rev=revision)
    try:
        files.ls("")  # opens the repository
    except DvcException as error:
        raise InputError(
            f"{error}; git log says which revisions there are, dvc exp list which experiments"
        ) from None
    return files


def _missing(path: Path, revision: str, files: fsspec.AbstractFileSystem) -> str:
    """What to say of a file that is not there: which are, and which of them was meant."""
    others = f"[!.]*{path.suffix}"  # a dot: not written whole
    known = sorted(Path(file).stem for file in files.glob(os.path.relpath(path.parent / others)))
    place = f"{path.parent} at {revision}" if revision else path.parent
    if not known:
        return (
            f"there is no {path.name} in {place}, nor any other {path.suffix[1:].upper()} file: "
            "dvc repro makes them, --metrics FOLDER says where they lie"
        )
    near = difflib.get_close_matches(path.stem, known, n=1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    return f"there is no {path.name} in {place}{meant}; there are: {', '.join(known)}"


def _table(comparison: pd.DataFrame) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("figure, %")
    for name in ("A", "B", "B - A", "95 % interval", "", "p"):
        table.add_column(name, justify="right")
    for row in comparison.itertuples():
        certain = row.low > 0 or row.high < 0
        table.add_row(
            _spelt(row.figure),
            f"{100 * row.first:.2f}",
            f"{100 * row.second:.2f}",
            f"{100 * row.difference:+.2f}",
            f"{100 * row.low:+.2f} to {100 * row.high:+.2f}",
            "*" if certain else "",
            "<0.001" if row.p < 0.001 else f"{row.p:.3f}",
            style="bold" if certain else "",
        )
    return table


def _spelt(figure: str) -> str:
    return figure.replace("_", " ").replace("iou", "IoU")


def _remarks(predictions: pd.DataFrame) -> str:
    return (
        f"{_majority(predictions)}\n\n"
        "B - A is in points; * marks an interval without 0. p is how often swapping the two's "
        "answers on random photographs makes a difference at least as large. Neither covers the "
        "chance in training: another seed, another network."
    )


def _majority(predictions: pd.DataFrame) -> str:
    shares = _shares(predictions)
    return (
        f"\n{len(predictions)} test samples of {predictions['image'].nunique()} photographs. "
        f"{100 * shares.iloc[0]:.2f} % of these samples are {shares.index[0]}: always answering "
        "that would score as much accuracy. Read accuracy beside it and beside both recalls."
    )


def _shares(predictions: pd.DataFrame) -> pd.Series:
    """Of each class, the commonest first."""
    return predictions["actual"].value_counts(normalize=True)
