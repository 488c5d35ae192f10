"""Choose what the page of a detector shows and have it drawn."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from facemask.columns import CORNERS
from facemask.evaluation import detection
from facemask.reporting import detector_page, detector_plots
from facemask.shards import Crops

IMAGES, MISSED, ALARMS = 4, 30, 50  # how many of each are shown
PLOTS = {
    "curves": "curves.png",
    "crowds": "crowds.jpg",
    "tiny": "tiny.jpg",
    "missed": "missed.jpg",
    "false_alarms": "false_alarms.jpg",
    "augmentation": "augmentation.jpg",
}


def draw_curves(
    faces: pd.DataFrame, detections: pd.DataFrame, classes: Mapping[str, str], folder: Path
) -> None:
    """Draw precision over recall.

    Args:
        faces, detections: as `detection.evaluate` takes them, of test images.
        classes: those of the annotations and what they mean.
        folder: where to.
    """
    images = sorted({*faces["image"], *detections["image"]})
    results = {
        detector_page.GROUPINGS[key]: detection.evaluate(faces, detections, images, groups)
        for key, groups in detection.groupings(classes).items()
    }
    *of_classes, (_, of_faces) = results.items()
    detector_plots.curves_plot(dict(of_classes), of_faces, folder / PLOTS["curves"])


def draw_errors(
    images: Crops,
    samples: pd.DataFrame,
    faces: pd.DataFrame,
    detections: pd.DataFrame,
    classes: Mapping[str, str],
    threshold: float,
    folder: Path,
) -> None:
    """Draw crowds, tiny faces, missed faces and false alarms of validation images.

    Args:
        images: packed.
        samples: the table of `image_faces.whole_images`, with split.
        faces, detections: as `detection.evaluate` takes them, of all images.
        classes: those of the annotations and what they mean.
        threshold: the confidence from which on a detection is shown.
        folder: where to.
    """
    val = samples[samples["split"] == "val"].set_index("image")
    scale = pd.Series(images.shapes[val["sample"], 0] / val["width"], val.index)

    def packed(table: pd.DataFrame) -> pd.DataFrame:
        """Of validation images, in px of the packed ones."""
        here = table[table["image"].isin(val.index)].reset_index(drop=True)
        here["sample"] = here["image"].map(val["sample"])
        here[CORNERS] *= here["image"].map(scale).to_numpy()[:, None]
        return here.assign(threshold=threshold)

    annotated, shown = detection.matches(packed(faces), packed(detections), classes)
    of_image = annotated.groupby("sample")["side"]
    group = val.set_index("sample")["group"]
    for kind, order in (("crowds", -of_image.size()), ("tiny", of_image.median())):
        chosen = order.sort_values(kind="stable").index
        # Near-duplicates would show one crowd several times.
        numbers = list(chosen[~group[chosen].duplicated()][:IMAGES])
        detector_plots.images_sheet(images, numbers, annotated, shown, folder / PLOTS[kind])
    missed = annotated[~detection.is_found(annotated)].sort_values("side", ascending=False)
    alarms = shown[(shown["face"] < 0) & (shown["confidence"] >= threshold)]
    alarms = alarms.sort_values("confidence", ascending=False)
    detector_plots.boxes_sheet(images, missed.head(MISSED), folder / PLOTS["missed"])
    detector_plots.boxes_sheet(images, alarms.head(ALARMS), folder / PLOTS["false_alarms"])
