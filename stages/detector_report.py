"""Write the page of a detector: its metrics, its errors in pictures, its training samples."""

from pathlib import Path

import numpy as np
import pandas as pd

from facemask import params
from facemask.columns import WITH
from facemask.config.detector import ResolvedDetector
from facemask.data.arrays import Crops
from facemask.data.image_faces import faces_of
from facemask.evaluation import detection
from facemask.io import read_json, write_text
from facemask.reporting import detector_page, detector_plots
from facemask.training.scenes import Scenes, augmented
from stages.common import DATA, DETECTIONS, MODELS, RECORDS, REPORT, run_stage

IMAGES, MISSED, ALARMS, SAMPLES = 4, 30, 50, 12  # how many of each are shown
PLOTS = {
    "curves": "curves.png",
    "crowds": "crowds.jpg",
    "tiny": "tiny.jpg",
    "missed": "missed.jpg",
    "false_alarms": "false_alarms.jpg",
    "augmentation": "augmentation.jpg",
}


def write_page(name: str) -> None:
    """Write report/detector/<name>: README.md and its plots."""
    config, folder = params.read(), REPORT / "detector" / name
    folder.mkdir(parents=True, exist_ok=True)
    settings = ResolvedDetector.model_validate_json((MODELS / name / "config.json").read_bytes())
    measured = read_json(RECORDS / f"detector/statistics/{name}.json")
    images, samples = Crops(DATA / "whole_images"), pd.read_csv(DATA / "whole_images.csv")
    annotations = pd.read_csv(DATA / "annotations.csv")
    draw_curves(name, settings, folder)
    draw_errors(name, settings, measured["confidence"], images, samples, annotations, folder)
    scenes = Scenes(images, faces_of(samples, annotations, list(settings.classes), images.shapes))
    draw_samples(settings, scenes, samples, folder)
    split = config.images.split if config.images else ""
    page = detector_page.render(
        name=name, dataset=config.dataset, split=split, measured=measured, plots=PLOTS
    )
    write_text(page, folder / "README.md")


def draw_curves(name: str, settings: ResolvedDetector, folder: Path) -> None:
    """Draw precision over recall of the test images."""
    kept = RECORDS / "detector"
    faces, found = (pd.read_csv(kept / f"{kind}/{name}.csv") for kind in ("faces", "detections"))
    images = sorted({*faces["image"], *found["image"]})
    results = {
        detector_page.GROUPINGS[key]: detection.evaluate(faces, found, images, groups)
        for key, groups in detection.groupings(settings.classes).items()
    }
    *of_classes, (_, of_faces) = results.items()
    detector_plots.curves_plot(dict(of_classes), of_faces, folder / PLOTS["curves"])


def draw_errors(
    name: str,
    settings: ResolvedDetector,
    threshold: float,
    images: Crops,
    samples: pd.DataFrame,
    annotations: pd.DataFrame,
    folder: Path,
) -> None:
    """Draw crowds, tiny faces, what was missed, and false alarms of validation images."""
    val = samples[samples["split"] == "val"].set_index("image")
    scale = pd.Series(images.shapes[val["sample"], 0] / val["width"], val.index)
    found = pd.read_csv(DETECTIONS / name / "detections.csv")

    def packed(table: pd.DataFrame) -> pd.DataFrame:
        """Of validation images, in px of the packed ones."""
        here = table[table["image"].isin(val.index)].reset_index(drop=True)
        here["sample"] = here["image"].map(val["sample"])
        here[detection.CORNERS] *= here["image"].map(scale).to_numpy()[:, None]
        return here.assign(threshold=threshold)

    faces, shown = detection.matches(
        packed(detection.annotated(annotations)), packed(found), settings.classes
    )
    of_image = faces.groupby("sample")["side"]
    crowds = of_image.size().sort_values(kind="stable").index[::-1][:IMAGES]
    tiny = of_image.median().sort_values(kind="stable").index[:IMAGES]
    for kind, numbers in (("crowds", crowds), ("tiny", tiny)):
        detector_plots.images_sheet(images, list(numbers), faces, shown, folder / PLOTS[kind])
    missed = faces[faces["confidence"] < threshold].sort_values("side", ascending=False)
    alarms = shown[(shown["face"] < 0) & (shown["confidence"] >= threshold)]
    alarms = alarms.sort_values("confidence", ascending=False)
    detector_plots.boxes_sheet(images, missed.head(MISSED), folder / PLOTS["missed"])
    detector_plots.boxes_sheet(images, alarms.head(ALARMS), folder / PLOTS["false_alarms"])


def draw_samples(
    settings: ResolvedDetector, scenes: Scenes, samples: pd.DataFrame, folder: Path
) -> None:
    """Draw training images as epochs show them."""
    trained = samples.loc[samples["split"] == "train", "sample"].to_numpy()
    masked = np.array([meaning == WITH for meaning in settings.classes.values()])
    drawn = []
    chosen = trained[np.linspace(0, len(trained) - 1, SAMPLES).astype(int)]
    for epoch, number in enumerate(chosen):
        sample = augmented(settings, scenes, trained, number, epoch)
        drawn.append((sample.image, sample.faces.boxes, masked[sample.faces.labels]))
    detector_plots.samples_sheet(drawn, folder / PLOTS["augmentation"])


if __name__ == "__main__":
    run_stage(write_page)
