"""How do time and memory of the data stages grow with 4, 16 and 64 times the images?

python -m benchmarks.growth IMAGES [FACTOR…]: a dataset's folder (images/, annotations/). Each
further image is one of it under a part of another one, which counts 70 %: faces lie where they lay,
and it is no near-duplicate. A quarter of an hour on two processors, tens of GB of temporary files.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks import pipeline
from benchmarks.common import report
from facemask.data.decode import read_rgb

FACTORS = (1, 4, 16, 64)
OVER = 0.7  # what the other image counts in a further one
PART = 0.4, 0.9  # of its sides, the least and the most of what is seen of it
SHORT = 5  # seconds in which readings of processor time are too few
TARGET = "pack"  # the last stage before networks


def write_copies(source: Path, target: Path, factor: int) -> None:
    """Write so many times the images and annotations of a dataset."""
    for kind in ("images", "annotations"):
        (target / kind).mkdir(parents=True)
    paths = sorted((source / "images").iterdir())
    with ProcessPoolExecutor() as pool:
        for _ in pool.map(partial(_write, paths, target), range(len(paths) * factor), chunksize=64):
            pass


def _write(paths: list[Path], target: Path, number: int) -> None:
    """Write one image, JPEG, and its annotation."""
    copy, row = divmod(number, len(paths))
    path, name = paths[row], f"{paths[row].stem}_{copy}"
    image = read_rgb(path)
    if copy:
        rng = np.random.default_rng(number)
        other = read_rgb(paths[rng.integers(len(paths))])
        sides = (np.array(other.shape[:2]) * rng.uniform(*PART)).astype(int)
        top, left = rng.integers(0, np.array(other.shape[:2]) - sides)
        other = cv2.resize(other[top : top + sides[0], left : left + sides[1]], image.shape[1::-1])
        image = cv2.addWeighted(image, 1 - OVER, other, OVER, 0)
    cv2.imwrite(str(target / f"images/{name}.jpg"), image[..., ::-1])
    annotation = path.parents[1] / f"annotations/{path.stem}.xml"
    text = annotation.read_text(encoding="utf-8").replace(path.name, f"{name}.jpg")
    (target / f"annotations/{name}.xml").write_text(text, encoding="utf-8")


def measure(source: Path, factor: int) -> Iterator[dict[str, Any]]:
    """Yield what each stage takes, and dvc status afterwards."""
    temporary = Path(tempfile.mkdtemp())
    try:
        write_copies(source, temporary / "images", factor)
        folder = temporary / "facemask"
        changes = {
            "dataset": "kaggle",
            "datasets.kaggle.source": str(temporary / "images"),
            # Of squares the smaller ones, and native crops no larger: a quarter of the bytes.
            "arrays.sizes": [128],
            "arrays.max_side": 128,
            "backbones.mobilenet_v2.input_size": 128,
        }
        pipeline.clone(folder, changes)
        seconds, stages = pipeline.repro(folder, TARGET)
        for stage in stages:
            yield {name: stage[name] for name in ("stage", "seconds", "cpu", "own_mb")}
        yield {"stage": "dvc repro", "seconds": seconds}
        status = pipeline.seconds_of(folder, "status", "--with-deps", TARGET)
        yield {"stage": "dvc status", "seconds": status}
    finally:
        shutil.rmtree(temporary)


def main() -> None:
    """Measure."""
    source = Path(sys.argv[1]).resolve()
    factors = [int(factor) for factor in sys.argv[2:]] or list(FACTORS)
    if len(factors) < 3:
        raise SystemExit("give three factors or more: what is linear is seen in two steps")
    measured = {}
    for factor in factors:
        measured[factor] = {row["stage"]: row for row in measure(source, factor)}
        print(f"{factor}x: {measured[factor]['dvc repro']['seconds']:.0f} s", flush=True)
    rows = []
    for stage in measured[factors[0]]:
        seconds, cpu, memory = (
            [measured[factor][stage].get(key, "") for factor in factors]
            for key in ("seconds", "cpu", "own_mb")
        )
        rows.append(
            {
                "stage": stage,
                **{f"{f}x, s": each for f, each in zip(factors, seconds, strict=True)},
                # 1: what the last factor adds to the one before takes in proportion as long as
                # what that adds to the first.
                "linear": _linear(factors, seconds),
                "linear, CPU": _linear(factors, cpu) if seconds[-1] > SHORT and all(cpu) else "",
                **{f"{f}x, MB": each for f, each in zip(factors, memory, strict=True)},
            }
        )
    report("growth", rows, "IMAGES", headers=list(rows[0]))


def _linear(factors: list[int], seconds: list[float]) -> float:
    """Return the slope of the last step as a multiple of that of all before."""
    last = (seconds[-1] - seconds[-2]) / (factors[-1] - factors[-2])
    return last / ((seconds[-2] - seconds[0]) / (factors[-2] - factors[0]))


if __name__ == "__main__":
    main()
