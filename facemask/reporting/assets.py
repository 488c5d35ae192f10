"""Choose what the report shows and have it drawn."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from facemask.columns import BOX, true_boxes
from facemask.config.data import Crop
from facemask.data.crops import partition, regions
from facemask.data.decode import read_rgb
from facemask.reporting import history, partition_plot, plots, search_plots, study_plots
from facemask.shards import Inputs

SHEET_SAMPLES = 48
SHEET_PREDICTIONS = 24


def draw(
    folder: Path,
    *,
    images: Path,
    faces: pd.DataFrame,
    samples: pd.DataFrame,
    crops: Inputs,
    crop: Crop,
    ranking: pd.DataFrame,
    metrics: Mapping[str, Mapping[str, Any]],
    histories: Mapping[str, pd.DataFrame],
    predictions: Mapping[str, pd.DataFrame],
    searches: Mapping[str, Sequence[pd.DataFrame]],
) -> dict[str, str]:
    """Draw every plot of the report.

    Args:
        folder: where to.
        images: folder of the images.
        faces: the table of `annotations.parse`.
        samples: the table of `splits.split`.
        crops: uint8 (N, s, s, 3) RGB, one per sample; may be memory-mapped.
        crop: how crop regions are found.
        ranking: the table of `leaderboard.leaderboard`.
        metrics, histories, predictions: of each experiment.
        searches: of each, its trials and their epochs, the tables of `hyperband.search`.

    Returns:
        What each plot shows, as `report.render` needs it, and its path from folder's parent.
    """
    drawn = {}

    def at(name: str, suffix: str) -> Path:
        """Return the path of a plot, and remember it."""
        drawn[name] = folder / f"{name}.{suffix}"
        drawn[name].parent.mkdir(parents=True, exist_ok=True)
        return drawn[name]

    draw_partition(images, faces, samples, crop, at("partition", "jpg"))
    rows = evenly_spaced(samples, SHEET_SAMPLES)
    sheet = at("contact_sheet", "jpg")
    plots.contact_sheet(crops[rows["sample"]], true_boxes(rows), rows["label"], sheet)
    study_plots.leaderboard_plot(ranking, at("leaderboard", "png"))
    for name, (trials, epochs) in searches.items():
        search_plots.search_plot(trials, epochs, at(f"searches/{name}", "png"))
    curves = dict(iter(history.long_table(histories).groupby("experiment")))
    for row in tqdm(ranking.to_dict("records"), desc="plots", unit="plot"):
        name, title = row["id"], row["title"]
        study_plots.experiment_plot(
            curves[name],
            history.confusion(predictions[name]),
            "\n".join(filter(None, [f"{name}: {title}" if title else name, row["note"]])),
            row["best_epoch"],
            at(f"curves/{name}", "png"),
        )
    for name in best_on_validation(metrics, dict(ranking[["id", "family"]].to_numpy())):
        rows = evenly_spaced(predictions[name], SHEET_PREDICTIONS)
        plots.prediction_sheet(crops[rows["sample"]], rows, at(f"predictions/{name}", "jpg"))
    return {name: path.relative_to(folder.parent).as_posix() for name, path in drawn.items()}


def draw_partition(
    images: Path, faces: pd.DataFrame, samples: pd.DataFrame, crop: Crop, path: Path
) -> None:
    """Draw the image that gives the most crops, divided by each of the three distances."""
    name = samples["image"].value_counts().sort_index().idxmax()
    pixels = read_rgb(images / name)
    found = faces.loc[faces["image"] == name, BOX].to_numpy()
    height, width = pixels.shape[:2]
    partitions = {}
    for metric in partition_plot.DISTANCES:
        how = (found, width, height, metric, crop.grid_stride, crop.grid_offset)
        partitions[metric] = partition(*how), regions(*how)
    partition_plot.partition_plot(pixels, found, partitions, crop.min_area, path)


def best_on_validation(
    metrics: Mapping[str, Mapping[str, Any]], families: Mapping[str, str]
) -> list[str]:
    """Return each family's best experiment by validation accuracy: the test set is not used."""
    best: dict[str, str] = {}
    for name, measured in metrics.items():
        champion = best.setdefault(families[name], name)
        if measured["val"]["accuracy"] > metrics[champion]["val"]["accuracy"]:
            best[families[name]] = name
    return list(best.values())


def evenly_spaced(table: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return `count` rows at even distances, or all there are."""
    return table.iloc[np.linspace(0, len(table) - 1, min(count, len(table))).astype(int)]
