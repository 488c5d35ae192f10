"""How many small faces of a large image are found whole, and in tiles?

python -m benchmarks.tiles, after `dvc repro pipelines/detector/dvc.yaml`: test images side by side
on a sheet of 4,000 px. At its own size the detector sees the sheet
at a sixth; tiles show it all of the pixels.
"""

from stages.keras_import import keras  # noqa: F401 - before what imports Keras

# isort: split
import time

import numpy as np
import pandas as pd

from benchmarks.common import report
from facemask import params
from facemask.columns import CORNERS, SCORE
from facemask.data.affine import PADDING
from facemask.data.decode import read_rgb
from facemask.evaluation import detection
from facemask.inference.detect import detect
from facemask.inference.detector import load
from facemask.io import read_json
from stages.common import DATA, MODELS, RAW, RECORDS

SIDE = 4000  # px
TILES = (None, 800, 640, 400)
SMALL = (12, 24)  # px, of the faces that are counted apart


def main() -> None:
    """Measure."""
    name = next(iter(params.read().detectors))
    run, settings = load(MODELS / name)
    confidence = read_json(RECORDS / f"detector/statistics/{name}.json")["confidence"]
    canvas, faces = sheet()
    rows = []
    for tile in TILES:
        start = time.perf_counter()
        found = detect(run, canvas, settings.size, confidence, tile)
        seconds = time.perf_counter() - start
        table = pd.DataFrame(found.xyxy, columns=CORNERS).assign(image="sheet")
        table[[SCORE + each for each in settings.classes]] = found.scores
        seen, shown = detection.matches(faces, table, settings.classes)
        small = seen["side"].between(*SMALL)
        rows.append(
            {
                "tile": tile or "none",
                "faces": len(seen),
                "found": float((seen["found"] >= 0).mean()),
                "small": int(small.sum()),
                "small found": float((seen["found"] >= 0)[small].mean()),
                "false alarms": int((shown["face"] < 0).sum()),
                "seconds": seconds,
            }
        )
    report("tiles", rows, dataset=params.read().dataset, side=SIDE)


def sheet() -> tuple[np.ndarray, pd.DataFrame]:
    """Return a sheet of test images, row by row, and its faces as `detection.evaluate` has them."""
    samples = pd.read_csv(DATA / "whole_images.csv").query("split == 'test'")
    annotated = pd.read_csv(DATA / "image_faces.csv")
    canvas = np.full((SIDE, SIDE, 3), PADDING, np.uint8)
    x = y = height = 0
    tables = []
    for row in samples.sort_values("height").itertuples():
        if x + row.width > SIDE:
            x, y, height = 0, y + height, 0
        if y + row.height > SIDE:
            break
        canvas[y : y + row.height, x : x + row.width] = read_rgb(RAW / "images" / row.image)
        faces = annotated[annotated["image"] == row.image].copy()
        faces[CORNERS] += [x, y, x, y]
        tables.append(faces)
        x, height = x + row.width, max(height, row.height)
    return canvas, pd.concat(tables, ignore_index=True).assign(image="sheet")


if __name__ == "__main__":
    main()
