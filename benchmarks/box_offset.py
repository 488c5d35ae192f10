"""Do annotators count pixels from 0 or from 1? Where a face detector sees the same faces.

python -m benchmarks.box_offset YUNET.onnx, after `dvc repro pipelines/detector/dvc.yaml`: the file
is YuNet-n of libfacedetection, which never saw these images. It finds faces in each image at twice
its size, and in the mirrored image. What its boxes are away from the annotated ones, to the right,
is its own habit if that turns round with the image, and the annotators' if it does not. Up and down
nothing can be said: there its boxes begin below the forehead.
"""

import sys
from collections.abc import Iterator

import numpy as np
import pandas as pd
from tqdm import tqdm

from benchmarks.common import report
from benchmarks.peers import Find, enlarged, yunet
from facemask import params
from facemask.columns import CORNERS, iou
from facemask.data.affine import mirror, transformed
from facemask.data.decode import read_rgb
from facemask.data.image_faces import FIRST_PIXEL, annotated
from facemask.evaluation.detection import MATCH
from stages.common import DATA, RAW

TWICE = 2


def main() -> None:
    """Measure."""
    (file,) = sys.argv[1:]
    name = params.read().dataset
    dataset = params.read().datasets[name]
    annotations = pd.read_csv(DATA / "annotations.csv")
    readings = {
        reading: annotated(annotations, dataset.model_copy(update={"detector_boxes": reading}))
        for reading in FIRST_PIXEL
    }
    find = enlarged(yunet(file), TWICE)
    away: dict[tuple[str, str], list[float]] = {}
    for image in tqdm(annotations["image"].unique(), unit="image"):
        for view, found in seen(find, read_rgb(RAW / "images" / image)):
            for reading, faces in readings.items():
                boxes = faces.loc[faces["image"] == image, CORNERS].to_numpy(float)
                away.setdefault((reading, view), []).extend(to_the_right(found, boxes))
    rows = [
        {"boxes": reading, "image": view, "faces": len(each), "px to the right": np.median(each)}
        for (reading, view), each in away.items()
    ]
    report("box_offset", rows, "YUNET.onnx", dataset=name)


def seen(find: Find, image: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield boxes (n, 4), px of the image: of those found in it, and in its mirror image."""
    yield "as it is", find(image)[0]
    mirrored, _ = find(np.ascontiguousarray(image[:, ::-1]))
    yield "mirrored", transformed(mirrored, mirror(image.shape[1]))


def to_the_right(found: np.ndarray, boxes: np.ndarray) -> list[float]:
    """How far the annotated boxes (n, 4) lie to the right of those that find them, px."""
    if not len(found):
        return []
    overlaps = iou(boxes[:, None], found[None])
    here = overlaps.max(axis=1) >= MATCH
    nearest = found[overlaps.argmax(axis=1)]
    return list((boxes - nearest)[here][:, [0, 2]].mean(axis=1))


if __name__ == "__main__":
    main()
