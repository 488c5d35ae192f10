"""Find the faces of whole images, and the strongest one of the study's crops, with a detector."""

from stages.keras_import import keras  # noqa: F401 - before what imports Keras

# isort: split
import pandas as pd

from facemask.inference.detector import detect_images, load, strongest
from facemask.io import write_csv
from facemask.shards import Crops
from stages.common import DATA, DETECTIONS, MODELS, detector_folder, run_stage, trained_folders


def find(pipeline: str, name: str) -> None:
    """Write data/detections/<name>: detections of images and predictions on crops, per repeat.

    Of validation and test images; of a variant of the ablation, of validation images alone.
    """
    variant = pipeline == "detector_ablation"
    models, target = (detector_folder(root, pipeline, name) for root in (MODELS, DETECTIONS))
    images, samples = Crops(DATA / "whole_images"), pd.read_csv(DATA / "whole_images.csv")
    parts = ["val"] if variant else ["val", "test"]
    chosen = samples[samples["split"].isin(parts)]
    for folder in trained_folders(models):
        run, settings = load(folder)
        found = detect_images(run, settings, images, chosen)
        here = target / folder.relative_to(models)
        write_csv(found, here / "detections.csv")
        if not variant:
            crops = pd.read_csv(DATA / "samples.csv")
            split = crops["image"].map(chosen.set_index("image")["split"])
            crops = crops.assign(split=split)[split.notna()]
            predicted = strongest(run, settings, Crops(DATA / "crops/native"), crops)
            write_csv(predicted, here / "crops.csv")


if __name__ == "__main__":
    run_stage(find)
