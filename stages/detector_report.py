"""Write the page of a detector: its metrics, its errors in pictures, its training samples."""

from pathlib import Path

import numpy as np
import pandas as pd

from facemask import params
from facemask.columns import WITH
from facemask.config.detector import ResolvedDetector
from facemask.data.image_faces import faces_of
from facemask.io import read_json, write_text
from facemask.reporting import assets, detector_assets, detector_page, detector_plots
from facemask.shards import Crops
from facemask.training.scenes import Scenes, augmented, pool_of
from stages.common import DATA, DETECTIONS, MODELS, RECORDS, REPORT, run_stage

KEPT = RECORDS / "detector"
SAMPLES = 12  # of training that are shown


def write_page(name: str) -> None:
    """Write report/detector/<name>: README.md and its plots."""
    config, folder = params.read(), REPORT / "detector" / name
    folder.mkdir(parents=True, exist_ok=True)
    settings = ResolvedDetector.model_validate_json((MODELS / name / "config.json").read_bytes())
    measured = read_json(KEPT / f"statistics/{name}.json")
    images, samples = Crops(DATA / "whole_images"), pd.read_csv(DATA / "whole_images.csv")
    tested = [pd.read_csv(KEPT / f"{kind}/{name}.csv") for kind in ("faces", "detections")]
    detector_assets.draw_curves(tested[0], tested[1], settings.classes, folder)
    faces = pd.read_csv(DATA / "image_faces.csv")
    found = pd.read_csv(DETECTIONS / name / "detections.csv")
    detector_assets.draw_errors(
        images, samples, faces, found, settings.classes, measured["confidence"], folder
    )
    of_image = faces_of(samples, faces, list(settings.classes), images.shapes)
    draw_samples(settings, Scenes(images, of_image), samples, folder)
    page = detector_page.render(
        name=name,
        dataset=config.dataset,
        split=config.images.split if config.images else "",
        measured=measured,
        plots=detector_assets.PLOTS,
    )
    write_text(page, folder / "README.md")


def draw_samples(
    settings: ResolvedDetector, scenes: Scenes, samples: pd.DataFrame, folder: Path
) -> None:
    """Draw training images as epochs show them."""
    trained = samples[samples["split"] == "train"]
    pool = pool_of(scenes, trained["sample"].to_numpy())
    masked = np.array([meaning == WITH for meaning in settings.classes.values()])
    drawn = []
    for epoch, number in enumerate(assets.evenly_spaced(trained, SAMPLES)["sample"]):
        sample = augmented(settings, scenes, pool, number, epoch)
        drawn.append((sample.image, sample.faces.boxes, masked[sample.faces.labels]))
    detector_plots.samples_sheet(drawn, folder / detector_assets.PLOTS["augmentation"])


if __name__ == "__main__":
    run_stage(write_page)
