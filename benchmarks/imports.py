"""What does a stage cost before it does anything, beside TensorFlow and Keras alone?

python -m benchmarks.imports
"""

import subprocess
import sys
from functools import partial

from benchmarks.common import alternate, median, report

ROUNDS = 3
MODULES = ["tensorflow", "keras", "stages.keras_import"]
STAGES = [
    *("embed", "tune", "train", "localize", "ensemble", "report", "localizer_report"),
    *("losses_report", "evaluate", "resolve", "fetch", "parse", "crop", "split", "pack"),
]


def main() -> None:
    """Measure."""

    def loaded(module: str) -> None:
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True, capture_output=True)

    modules = MODULES + [f"stages.{name}" for name in STAGES]
    seconds = median(alternate({name: partial(loaded, name) for name in modules}, ROUNDS))
    rows = [
        {"import": name, "seconds": taken, "ratio": taken / seconds["tensorflow"]}
        for name, taken in seconds.items()
    ]
    report("imports", rows)


if __name__ == "__main__":
    main()
