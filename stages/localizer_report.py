"""Make the page of localizers and ensembles: metrics, ablation, errors."""

from stages.keras_import import keras  # noqa: F401 - imported first, it is quick

# isort: split
import itertools
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from facemask import params
from facemask.columns import true_boxes
from facemask.config.localizer import Ablation, ResolvedLocalizer
from facemask.evaluation import error_analysis
from facemask.io import read_json, write_text
from facemask.reporting import assets, extensions, localizer_plots, plots
from facemask.shards import Crops
from facemask.training import localizer
from stages.common import DATA, MODELS, RECORDS, REPORT, config_file, run_stage

LOCALIZER = RECORDS / "localizer"
SAMPLES, EPOCHS = 6, 7  # whose augmentation is shown, and in how many epochs


def write_page(ensemble: str) -> None:
    """Write README.md and its plots: of an ensemble, its members and the ablation."""
    config, splits = params.read(), pd.read_csv(DATA / "splits.csv")
    crops, faces = Crops(DATA / "crops/native"), pd.read_csv(DATA / "annotations.csv")
    members, folder = config.ensembles[ensemble].members, REPORT / "localizer" / ensemble
    folder.mkdir(parents=True, exist_ok=True)
    names = [*members, ensemble]
    predictions = {name: pd.read_csv(MODELS / name / "predictions.csv") for name in names}
    validated = predictions[members[0]].query("split == 'val'").reset_index(drop=True)
    groups = error_analysis.by_group(error_analysis.described(validated, splits, faces))
    changes = cast(Ablation, config.ablation)  # dvc.yaml has a stage for each of its variants
    ablation = {each: read_json(LOCALIZER / f"ablation/{each}.json") for each in changes.variants}
    write_augmentation(members[0], crops, splits, folder / "augmentation.jpg")
    drawn = localizer_plots.draw(
        folder,
        crops=crops,
        validated=validated,
        predictions=predictions,
        groups=groups,
        ablation=ablation,
    )
    page = extensions.render(
        dataset=config.dataset,
        split=config.split,
        ensemble=ensemble,
        members=members,
        measured={name: read_json(LOCALIZER / f"statistics/{name}.json") for name in names},
        ablation=ablation,
        variants=changes.variants,
        shared=changes.shared,
        groups=groups,
        plots={"augmentation": "augmentation.jpg", **drawn},
    )
    write_text(page, folder / "README.md")


def write_augmentation(name: str, crops: Crops, splits: pd.DataFrame, path: Path) -> None:
    """Draw training samples of a localizer as they are, and as epochs augment them."""
    settings = ResolvedLocalizer.model_validate_json(config_file("localizer", name).read_bytes())
    rows = assets.evenly_spaced(splits[splits["split"] == "train"], SAMPLES)
    samples = []
    for number, box in zip(rows["sample"], true_boxes(rows), strict=True):
        samples.append(localizer.placed(settings, crops[number], box, False, None))
        epochs = ((settings, crops[number], box, number, epoch) for epoch in range(EPOCHS))
        samples += itertools.starmap(localizer.augmented, epochs)
    images, boxes = zip(*samples, strict=True)
    labels = np.repeat(rows["label"].to_numpy(), EPOCHS + 1)
    relative = np.array(boxes) / settings.model_input.size
    plots.contact_sheet(images, relative, labels, path, columns=EPOCHS + 1)


if __name__ == "__main__":
    run_stage(write_page)
