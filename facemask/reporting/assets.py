"""Choose what the report shows and have it drawn."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix
from tqdm import tqdm

from facemask.config import Crop
from facemask.data.crops import assign, rectangles
from facemask.data.images import read_rgb
from facemask.reporting import plots, search_plots
from facemask.reporting.history import long_table
from facemask.schema import BOX, WITH, WITHOUT, true_boxes

METRICS = ("manhattan", "euclidean", "chebyshev")
SHEET_SAMPLES = 48
SHEET_PREDICTIONS = 24


def draw(
    folder: Path,
    *,
    images: Path,
    faces: pd.DataFrame,
    samples: pd.DataFrame,
    crops: np.ndarray,
    crop: Crop,
    ranking: pd.DataFrame,
    metrics: Mapping[str, Mapping[str, Any]],
    histories: Mapping[str, pd.DataFrame],
    predictions: Mapping[str, pd.DataFrame],
    searches: Mapping[str, Sequence[pd.DataFrame]],
) -> dict[str, str]:
    """Draw every picture of the report.

    Args:
        folder: where to.
        images: folder of the photographs.
        faces: the table of `annotations.parse`.
        samples: the table of `splits.add_flips`.
        crops: uint8 (N, s, s, 3) RGB, a row a sample; may be memory-mapped.
        crop: how rectangles are found.
        ranking: the table of `study.leaderboard`.
        metrics, histories, predictions: of each experiment.
        searches: of each, its trials and their epochs, the tables of `search.search`.

    Returns:
        What each picture shows, as `study.render` asks for it, and its path from folder's parent.
    """
    (folder / "curves").mkdir(parents=True, exist_ok=True)
    (folder / "predictions").mkdir(exist_ok=True)
    (folder / "searches").mkdir(exist_ok=True)
    drawn = {name: folder / f"{name}.jpg" for name in ("partition", "contact_sheet")}
    draw_partition(images, faces, samples, crop, drawn["partition"])
    rows = spread(samples, SHEET_SAMPLES)
    plots.contact_sheet(
        crops[rows["sample"]], true_boxes(rows), rows["label"], drawn["contact_sheet"]
    )
    drawn["leaderboard"] = folder / "leaderboard.png"
    plots.leaderboard_picture(ranking, drawn["leaderboard"])
    for name, (trials, epochs) in searches.items():
        drawn[f"searches/{name}"] = folder / "searches" / f"{name}.png"
        search_plots.search_picture(trials, epochs, drawn[f"searches/{name}"])
    curves = dict(iter(long_table(histories).groupby("experiment")))
    for name, title, note in tqdm(
        ranking[["id", "title", "note"]].itertuples(index=False, name=None),
        desc="figures",
        total=len(ranking),
        unit="picture",
    ):
        drawn[f"curves/{name}"] = folder / "curves" / f"{name}.png"
        tested = predictions[name]
        confusion = confusion_matrix(tested["actual"], tested["predicted"], labels=[WITHOUT, WITH])
        plots.experiment_picture(
            curves[name],
            confusion,
            "\n".join(filter(None, [f"{name}: {title}" if title else name, note])),
            metrics[name]["best_epoch"],
            drawn[f"curves/{name}"],
        )
    for name in best_on_validation(metrics, dict(ranking[["id", "family"]].to_numpy())):
        drawn[f"predictions/{name}"] = folder / "predictions" / f"{name}.jpg"
        rows = spread(predictions[name], SHEET_PREDICTIONS)
        plots.prediction_sheet(crops[rows["sample"]], rows, drawn[f"predictions/{name}"])
    return {name: path.relative_to(folder.parent).as_posix() for name, path in drawn.items()}


def draw_partition(
    images: Path, faces: pd.DataFrame, samples: pd.DataFrame, crop: Crop, path: Path
) -> None:
    """Draw the photograph that gives the most crops, divided by each of the three distances."""
    name = samples["image"].value_counts().sort_index().idxmax()
    photograph = read_rgb(images / name)
    found = faces.loc[faces["image"] == name, BOX].to_numpy()
    height, width = photograph.shape[:2]
    partitions = {}
    for metric in METRICS:
        how = (found, width, height, metric, crop.modulus, crop.remainder)
        partitions[metric] = assign(*how), rectangles(*how)
    plots.partition_picture(photograph, found, partitions, crop.min_area, path)


def best_on_validation(
    metrics: Mapping[str, Mapping[str, Any]], families: Mapping[str, str]
) -> list[str]:
    """Return each family's best experiment by validation accuracy: the test set has no say."""
    best: dict[str, str] = {}
    for name, figure in metrics.items():
        champion = best.setdefault(families[name], name)
        if figure["val"]["accuracy"] > metrics[champion]["val"]["accuracy"]:
            best[families[name]] = name
    return list(best.values())


def spread(table: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return `count` rows at even distances, or all there are."""
    return table.iloc[np.linspace(0, len(table) - 1, min(count, len(table))).astype(int)]
