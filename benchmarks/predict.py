"""How fast is `facemask predict`, beside what it is made of?

python -m benchmarks.predict IMAGES: the time until a first prediction is printed, beside importing
NumPy, OpenCV and onnxruntime and loading the model; a folder of images, decoded, predicted on and
written as JSON lines, beside onnxruntime alone on ready arrays; and the memory over 10,000 images,
those of the folder again and again, seen at 160 px, which takes a fraction of the time. 20 minutes.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, cast

import psutil

from benchmarks.common import alternate, median, report
from facemask.data.decode import read_rgb
from facemask.inference import runtime

ROUNDS, FOLDER_ROUNDS = 7, 3
MANY, SMALL = 10_000, 160  # images, px
EXAMPLE = "docs/example.jpg"
PARTS = (
    "import numpy, cv2, onnxruntime; "
    f"onnxruntime.InferenceSession({str(runtime.SHIPPED)!r}, providers=['CPUExecutionProvider']); "
    "print('loaded', flush=True)"
)
FACEMASK = [sys.executable, "-m", "facemask", "predict", "--no-save", "--json"]


def main() -> None:
    """Measure."""
    folder = Path(sys.argv[1])
    files = sorted(folder.iterdir())
    rows = [*start(), *rate(folder, files)]
    report("predict", rows, "IMAGES", images=len(files), memory=memory(files))


def start() -> list[dict[str, object]]:
    """Seconds until the line of one image, and until its parts are loaded."""
    calls = {"parts": [sys.executable, "-c", PARTS], "facemask predict": [*FACEMASK, EXAMPLE]}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(ROUNDS + 1):
        for name, command in calls.items():
            taken = until_a_line(command)
            if number:  # the first fills caches
                seconds[name].append(taken)
    medians = median(seconds)
    return [
        {"case": "first prediction", "what": name, "s": each, "ratio": each / medians["parts"]}
        for name, each in medians.items()
    ]


def until_a_line(command: list[str]) -> float:
    """Seconds from a command's start to its first line."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        cast(IO[bytes], process.stdout).readline()
        return time.perf_counter() - start


def rate(folder: Path, files: list[Path]) -> list[dict[str, object]]:
    """Seconds of a command for a folder, and of onnxruntime alone on its images as arrays."""
    images = [read_rgb(file) for file in files]
    detector = runtime.load()

    def alone() -> None:
        for image in images:
            detector.run(image, detector.size)

    calls: dict[str, Callable[[], None]] = {
        "onnxruntime alone": alone,
        "facemask predict": partial(run, [*FACEMASK, str(folder)]),
    }
    seconds = median(alternate(calls, FOLDER_ROUNDS))
    return [
        {
            "case": f"{len(images)} images",
            "what": name,
            "s": taken,
            "ratio": taken / seconds["onnxruntime alone"],
        }
        for name, taken in seconds.items()
    ]


def memory(files: list[Path]) -> dict[str, float]:
    """Megabytes of the command over the first tenth of many images, at most, and after it."""
    several = [str(files[number % len(files)]) for number in range(MANY)]
    command = [*FACEMASK, "--size", str(SMALL), *several]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        watched = psutil.Process(process.pid)
        used = [watched.memory_info().rss / 1e6 for _ in cast(IO[bytes], process.stdout)]
    first, rest = used[: MANY // 10], used[MANY // 10 :]
    return {"images": MANY, "size": SMALL, "first_tenth_mb": max(first), "rest_mb": max(rest)}


def run(command: list[str]) -> None:
    """Run a command that must succeed, its output dropped."""
    subprocess.run(command, check=True, capture_output=True)


if __name__ == "__main__":
    main()
