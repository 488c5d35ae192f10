"""Export one detector: files that need no TensorFlow, how near they are to it, a model card."""

from stages.keras_import import keras  # noqa: F401 - before what imports Keras

# isort: split
import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import pandas as pd

from facemask import params
from facemask.config.detector import Export, Images
from facemask.evaluation import detection
from facemask.inference import export, parity
from facemask.inference.detector import detect_images, load_model, runner
from facemask.io import read_json, write_json, write_text
from facemask.reporting import model_card
from facemask.shards import Crops
from stages.common import DATA, EXPORTED, MODELS, RECORDS, run_stage

KEPT = RECORDS / "detector"
COMPARED = 100  # test images


def write_exports(name: str) -> None:
    """Write models/exported/<name>: files, and README.md, the model card; how near they are."""
    # tf2onnx reports sides of unknown length as errors; parity shows that they are none. TensorFlow
    # advises another reader of LiteRT files.
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", message=r"\s*Warning: tf.lite.Interpreter is deprecated")
    config, target = params.read(), EXPORTED / name
    formats, split = cast(Export, config.export).formats, cast(Images, config.images).split
    model, settings = load_model(MODELS / name)
    measured = read_json(KEPT / f"statistics/{name}.json")
    about = {
        "classes": list(settings.classes),
        "size": settings.size,
        "confidence": measured["confidence"],
        "dataset": config.dataset,
        "split": split,
    }
    paths = export.write(model, settings.quality_power, about, formats, target)
    images, samples = Crops(DATA / "whole_images"), pd.read_csv(DATA / "whole_images.csv")
    tested = samples[samples["split"] == "test"]
    places = np.unique(np.linspace(0, len(tested) - 1, COMPARED).astype(int))
    reference, record = runner(model, settings.quality_power), {}
    for kind, path in paths.items():
        run = parity.runner(kind, path)
        shown = (images[number] for number in tested["sample"].iloc[places])
        near = parity.parity(reference, run, shown, settings.size, measured["confidence"])
        record[kind] = near | {"megabytes": parity.megabytes(path)}
        if kind == "onnx":
            found = detect_images(run, settings, images, tested)
            record[kind] |= precision(found, list(tested["image"]), settings.classes)
    write_json(record, KEPT / f"exported/{name}.json")
    write_text(model_card.render(about, measured, record), target / "README.md")


def precision(
    found: pd.DataFrame, images: Sequence[str], classes: Mapping[str, str]
) -> dict[str, float]:
    """Return ap50 and ap of two classes of detections in some images."""
    faces = pd.read_csv(DATA / "image_faces.csv")
    faces = faces[faces["image"].isin(images)]
    groups = detection.groupings(classes)["two_classes"]
    measured = detection.average_precision(detection.evaluate(faces, found, images, groups))
    return {key: measured[key] for key in ("ap50", "ap")}


if __name__ == "__main__":
    run_stage(write_exports)
