"""Find the faces of whole images, and the strongest one of the study's crops, with a detector."""

from stages.keras_import import keras  # noqa: F401 - before what imports Keras

# isort: split
import pandas as pd

from facemask.inference.detector import detect_images, load, strongest
from facemask.inference.multi_scale import multi_scale
from facemask.io import write_csv
from facemask.shards import Crops
from stages.common import DATA, DETECTIONS, MODELS, detector_folder, run_stage, trained_folders


def find(pipeline: str, name: str) -> None:
    """Write data/detections/<name>: detections of images and predictions on crops, per repeat.

    Of validation and test images, at one size and, in multi_scale/, at two; of a variant of the
    ablation, of validation images at one size alone.
    """
    variant = pipeline == "detector_ablation"
    models, target = (detector_folder(root, pipeline, name) for root in (MODELS, DETECTIONS))
    images, samples = Crops(DATA / "whole_images"), pd.read_csv(DATA / "whole_images.csv")
    parts = ["val"] if variant else ["val", "test"]
    chosen = samples[samples["split"].isin(parts)]
    for folder in trained_folders(models):
        run, settings = load(folder)
        here = target / folder.relative_to(models)
        write_csv(detect_images(run, settings, images, chosen), here / "detections.csv")
        if variant:
            continue
        crops = pd.read_csv(DATA / "samples.csv")
        split = crops["image"].map(chosen.set_index("image")["split"])
        crops = crops.assign(split=split)[split.notna()]
        native, at_two = Crops(DATA / "crops/native"), multi_scale(run)
        write_csv(strongest(run, settings, native, crops), here / "crops.csv")
        found = detect_images(at_two, settings, images, chosen)
        write_csv(found, here / "multi_scale/detections.csv")
        write_csv(strongest(at_two, settings, native, crops), here / "multi_scale/crops.csv")


if __name__ == "__main__":
    run_stage(find)
