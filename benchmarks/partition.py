"""How much faster are the faces' rectangles than the same in plain Python and plain NumPy?

python -m benchmarks.partition, after `dvc repro parse`: on the dataset of params.yaml.
"""

import numpy as np
import pandas as pd

from benchmarks.common import alternate, median, report
from facemask import params
from facemask.data import crops
from facemask.schema import BOX
from stages.common import DATA

ROUNDS = 3
Job = tuple[np.ndarray, int, int]
# Every this many-th photograph is divided by brute force, and the time scaled: for all of them it
# takes minutes.
BRUTE_STEP = 10


def brute_force(
    boxes: list[list[int]], width: int, height: int, modulus: int, remainder: int, *, skip: bool
) -> list[list[int]]:
    """The nearest box of every pixel in plain Python; `skip`: of selected pixels alone."""
    found = [[x0, y0, x1 + 1, y1 + 1] for x0, y0, x1, y1 in boxes]
    for y in range(height):
        for x in range(width):
            selected = (x + y) % modulus == remainder
            if skip and not selected:
                continue
            least, owner = None, 0
            for face, (x0, y0, x1, y1) in enumerate(boxes):
                distance = max(x0 - x, 0, x - x1) + max(y0 - y, 0, y - y1)
                if least is None or distance < least:
                    least, owner = distance, face
            if selected:
                r = found[owner]
                r[0], r[1] = min(r[0], x), min(r[1], y)
                r[2], r[3] = max(r[2], x + 1), max(r[3], y + 1)
    return found


def straightforward(
    boxes: np.ndarray, width: int, height: int, modulus: int, remainder: int
) -> np.ndarray:
    """The distance of every selected pixel to every box at once, then the nearest box's pixels."""
    y, x = np.nonzero(np.add.outer(np.arange(height), np.arange(width)) % modulus == remainder)
    x0, y0, x1, y1 = (side[:, None] for side in boxes.T)
    dx = np.maximum(np.maximum(x0 - x, x - x1), 0)
    dy = np.maximum(np.maximum(y0 - y, y - y1), 0)
    owner = (dx + dy).argmin(axis=0)
    found = boxes + crops.HALF_OPEN
    for face in range(len(boxes)):
        mine = owner == face
        if mine.any():
            near_x, near_y = x[mine], y[mine]
            low = np.minimum(found[face, :2], [near_x.min(), near_y.min()])
            high = np.maximum(found[face, 2:], [near_x.max() + 1, near_y.max() + 1])
            found[face] = [*low, *high]
    return found


def ours(boxes: np.ndarray, width: int, height: int, modulus: int, remainder: int) -> np.ndarray:
    """What the stage does."""
    return crops.rectangles(boxes, width, height, "manhattan", modulus, remainder)


def main() -> None:
    """Measure."""
    config = params.read()
    crop = config.crop
    faces = pd.read_csv(DATA / "annotations.csv")
    jobs: list[Job] = [
        (group[BOX].to_numpy(), int(group["width"].iloc[0]), int(group["height"].iloc[0]))
        for _, group in faces.groupby("image")
    ]
    few = jobs[::BRUTE_STEP]
    grid = (crop.modulus, crop.remainder)
    for boxes, width, height in jobs:
        np.testing.assert_array_equal(
            ours(boxes, width, height, *grid), straightforward(boxes, width, height, *grid)
        )
    for boxes, width, height in few:
        np.testing.assert_array_equal(
            ours(boxes, width, height, *grid),
            brute_force(boxes.tolist(), width, height, *grid, skip=True),
        )
    print(f"The same rectangles: {len(jobs)} photographs, {len(few)} of them by brute force too.")
    seconds = median(
        alternate(
            {
                "this project": lambda: [ours(*job, *grid) for job in jobs],
                "NumPy, whole grid": lambda: [straightforward(*job, *grid) for job in jobs],
                "plain Python, every pixel": lambda: _by_hand(few, grid, skip=False),
                "plain Python, selected pixels": lambda: _by_hand(few, grid, skip=True),
            },
            ROUNDS,
        )
    )
    # A loop over pixels and faces takes as long as there are pairs of them.
    scale = _pairs(jobs) / _pairs(few)
    rows = []
    for name, taken in seconds.items():
        if name == "this project":
            continue
        measured, taken = (len(few), taken * scale) if "Python" in name else (len(jobs), taken)
        rows.append(
            {
                "against": name,
                "measured on": f"{measured} of {len(jobs)}",
                "seconds for all": taken,
                "this project": seconds["this project"],
                "ratio": taken / seconds["this project"],
            }
        )
    report("partition", rows, dataset=config.dataset)


def _pairs(jobs: list[Job]) -> int:
    return sum(len(boxes) * width * height for boxes, width, height in jobs)


def _by_hand(jobs: list[Job], grid: tuple[int, int], *, skip: bool) -> list[list[list[int]]]:
    return [brute_force(job[0].tolist(), *job[1:], *grid, skip=skip) for job in jobs]


if __name__ == "__main__":
    main()
