"""Split whole images, by groups of near-duplicates, and list their faces, for detectors."""

from typing import cast

import numpy as np
import pandas as pd

from facemask import params
from facemask.config.detector import Images
from facemask.data import near_duplicates, splits
from facemask.data.image_faces import annotated, whole_images
from facemask.io import read_json, write_csv
from stages.common import DATA, REPORT, run_stage


def split_images() -> None:
    """Write one row per image: its number, sides, group and split; and one per face."""
    config = params.read()
    how = cast(Images, config.images)  # dvc.yaml has no such stage without them
    images, faces = (pd.read_csv(DATA / name) for name in ("images.csv", "annotations.csv"))
    thumbnails = np.load(DATA / "thumbnails.npy", mmap_mode="r")
    # Whose annotations could not be read: their faces would be taken for background.
    left_out = read_json(REPORT / "validation.json")["left_out"]
    groups = near_duplicates.group(images, faces, thumbnails, how.near_duplicates)
    samples = whole_images(images[~images["image"].isin(left_out)])
    samples["group"] = samples["image"].map(groups)
    chosen = splits.split_images(samples["image"], faces, groups, config.splits[how.split])
    samples["split"] = chosen
    write_csv(samples, DATA / "whole_images.csv")
    write_csv(annotated(faces, config.datasets[config.dataset]), DATA / "image_faces.csv")
    sizes = ", ".join(f"{count} {part}" for part, count in chosen.value_counts().items())
    print(f"{how.split}, images: {sizes}")


if __name__ == "__main__":
    run_stage(split_images)
