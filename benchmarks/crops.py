"""How much faster are crop regions than the same in plain Python?

python -m benchmarks.crops, after `dvc repro parse`: on the dataset of params.yaml.
"""

import numpy as np
import pandas as pd

from benchmarks.common import alternate, median, report
from facemask import params
from facemask.columns import BOX
from facemask.data import crops
from stages.common import DATA

ROUNDS = 3
Job = tuple[np.ndarray, int, int]
# Every this many-th image is partitioned by brute force, and the time scaled: for all of them it
# takes minutes.
BRUTE_STEP = 10


def brute_force(
    boxes: list[list[int]],
    width: int,
    height: int,
    grid_stride: int,
    grid_offset: int,
    *,
    skip: bool,
) -> list[list[int]]:
    """The nearest box of every pixel in plain Python; `skip`: of selected pixels alone."""
    found = [[x0, y0, x1 + 1, y1 + 1] for x0, y0, x1, y1 in boxes]
    for y in range(height):
        for x in range(width):
            selected = (x + y) % grid_stride == grid_offset
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


def ours(
    boxes: np.ndarray, width: int, height: int, grid_stride: int, grid_offset: int
) -> np.ndarray:
    """What the stage does."""
    return crops.regions(boxes, width, height, "manhattan", grid_stride, grid_offset)


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
    grid = (crop.grid_stride, crop.grid_offset)
    for boxes, width, height in few:
        np.testing.assert_array_equal(
            ours(boxes, width, height, *grid),
            brute_force(boxes.tolist(), width, height, *grid, skip=True),
        )
    print(f"The same regions in the {len(few)} images that were tried both ways.")
    seconds = median(
        alternate(
            {
                "this project": lambda: [ours(*job, *grid) for job in jobs],
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
        taken = taken * scale
        rows.append(
            {
                "against": name,
                "measured on": f"{len(few)} of {len(jobs)}",
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
