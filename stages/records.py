"""What the evaluate and ensemble stages write of an experiment."""

from typing import Any

import pandas as pd

from facemask.evaluation.metrics import headline
from facemask.io import write_csv, write_json
from stages.common import METRICS, RECORDS


def write_evaluation(
    pipeline: str,
    name: str,
    measured: dict[str, Any],
    predictions: pd.DataFrame,
    history: pd.DataFrame | None = None,
) -> None:
    """Write what DVC shows of an experiment, and the records that reports are made of.

    Args:
        pipeline: whose experiment it is; its records lie in a folder of their own.
        name: of the experiment.
        measured: what `metrics.summary` and `metrics.uncertainty` return.
        predictions: the table of `predict.predict`.
        history: the table of `classifier.train`.
    """
    folder = RECORDS / pipeline
    write_json(headline(measured), METRICS / f"{name}.json")
    write_json(measured, folder / f"statistics/{name}.json")
    tested = predictions[predictions["split"] == "test"].drop(columns="split")
    write_csv(tested.round(6), folder / f"predictions/{name}.csv")
    if history is not None:
        write_csv(history, folder / f"history/{name}.csv")
