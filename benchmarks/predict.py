"""How fast is `facemask predict`, beside what it is made of?

python -m benchmarks.predict IMAGES [COUNT]: the time until a first prediction beside importing
NumPy, OpenCV and onnxruntime and loading the model; a folder of images, decoded, predicted on and
written as JSON lines, beside onnxruntime alone on ready arrays; and the memory over COUNT images
(10,000), those of the folder again and again.
"""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil

from benchmarks.common import alternate, median, report
from facemask.data.decode import read_rgb
from facemask.inference import runtime

ROUNDS, FOLDER_ROUNDS = 7, 3
EXAMPLE = "docs/example.jpg"
PARTS = (
    "import numpy, cv2, onnxruntime; "
    f"onnxruntime.InferenceSession({str(runtime.SHIPPED)!r}, providers=['CPUExecutionProvider'])"
)
FACEMASK = [sys.executable, "-m", "facemask", "predict", "--no-save", "--json"]


def main() -> None:
    """Measure."""
    folder, count = Path(sys.argv[1]), int((sys.argv[2:] or ["10000"])[0])
    files = sorted(folder.iterdir())
    rows = [*start(), *rate(folder, files)]
    report("predict", rows, "IMAGES", images=len(files), memory=memory(files, count))


def start() -> list[dict[str, object]]:
    """Seconds of a command for one image, and of its parts."""
    calls = {"parts": [sys.executable, "-c", PARTS], "facemask predict": [*FACEMASK, EXAMPLE]}
    seconds = median(alternate({name: partial(run, each) for name, each in calls.items()}, ROUNDS))
    return [
        {
            "case": "first prediction",
            "what": name,
            "seconds": taken,
            "ratio": taken / seconds["parts"],
        }
        for name, taken in seconds.items()
    ]


def rate(folder: Path, files: list[Path]) -> list[dict[str, object]]:
    """Images a second of a folder, and of onnxruntime alone on its images as arrays."""
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
    rates = {name: len(images) / taken for name, taken in seconds.items()}
    return [
        {
            "case": "a folder",
            "what": name,
            "images/s": each,
            "ratio": each / rates["onnxruntime alone"],
        }
        for name, each in rates.items()
    ]


def memory(files: list[Path], count: int) -> dict[str, float]:
    """Megabytes of the command after a tenth of so many images, and the most after that."""
    several = [str(files[number % len(files)]) for number in range(count)]
    command = [*FACEMASK, *several]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        watched, used = psutil.Process(process.pid), []
        for number, _ in enumerate(process.stdout or ()):
            if number % 100 == 0:
                used.append((number, watched.memory_info().rss / 1e6))
    first = max(mb for number, mb in used if number <= count / 10)
    rest = max(mb for number, mb in used if number > count / 10)
    return {"images": count, "first_tenth_mb": first, "rest_mb": rest}


def run(command: list[str]) -> None:
    """Run a command that must succeed, its output dropped."""
    subprocess.run(command, check=True, capture_output=True)


if __name__ == "__main__":
    main()
