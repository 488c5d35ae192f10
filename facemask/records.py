"""Records of measured experiments: in the workspace, a snapshot, a revision or a DVC experiment."""

import difflib
import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

import fsspec
import pandas as pd
from pandas.api.types import is_numeric_dtype

from facemask.columns import PREDICTED
from facemask.errors import InputError

RESULTS, RECORDS = Path("docs/results"), "report/records"


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


def _read_table(file: IO[bytes], path: str, may_be_empty: bool = False) -> pd.DataFrame:
    """Read a CSV file, and say what else it is if it is none."""
    try:
        table = pd.read_csv(file)
        if table.empty and not may_be_empty:
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
    known = _known(files, folder, kind, suffix)
    if name not in known:
        raise InputError(_missing(name, where, known))
    return files, known[name]


def _known(files: fsspec.AbstractFileSystem, folder: str, kind: str, suffix: str) -> dict[str, str]:
    """The records of a kind, by the experiment's name."""
    # Records of a pipeline lie in a folder of its name; in older snapshots they do not.
    records = files.glob(f"{folder}/**/{kind}/*{suffix}")
    # A dot: not written whole.
    return {Path(each).stem: each for each in records if not Path(each).name.startswith(".")}


def _files(where: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The files and folder of records: of a workspace, a snapshot, or a revision."""
    if not where or (Path(where) / RECORDS).is_dir():  # of another copy of the project
        return fsspec.filesystem("file"), str(Path(where) / RECORDS)
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


def is_detector(experiment: str) -> bool:
    """Return whether detections in whole images were recorded of NAME or NAME@WHERE."""
    name, _, where = experiment.partition("@")
    return name in _known(*_files(where), "detections", ".csv")


def fold(experiment: str) -> Any:  # noqa: ANN401 - detection_metrics.Fold, which takes a second
    """Return the records of a detector that was tested on one fold.

    Args:
        experiment: NAME or NAME@WHERE, as for `pool`.

    Raises:
        InputError: a record is missing.
    """
    from facemask.evaluation.detection_metrics import Fold

    tables = []
    for kind in ("faces", "detections", "predictions"):
        files, path = _find(experiment, kind, ".csv")
        with files.open(path) as file:
            # A detector may find nothing.
            tables.append(_read_table(file, path, may_be_empty=kind == "detections"))
    files, path = _find(experiment, "statistics", ".json")
    with files.open(path) as file:
        return Fold(tables[0], tables[1], json.load(file), tables[2])
