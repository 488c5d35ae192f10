"""What does a stage cost before it does anything, beside importing TensorFlow alone?

python -m benchmarks.imports
"""

import subprocess
import sys
from functools import partial

from benchmarks.common import alternate, median, report

ROUNDS = 3
STAGES = ["embed", "tune", "train", "report", "evaluate", "fetch", "parse", "crop", "split", "pack"]


def main() -> None:
    """Measure."""

    def loaded(module: str) -> None:
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True, capture_output=True)

    modules = {"tensorflow": "tensorflow"} | {name: f"stages.{name}" for name in STAGES}
    seconds = median(
        alternate({name: partial(loaded, module) for name, module in modules.items()}, ROUNDS)
    )
    rows = [
        {"import": module, "seconds": seconds[name], "ratio": seconds[name] / seconds["tensorflow"]}
        for name, module in modules.items()
    ]
    report("imports", rows)


if __name__ == "__main__":
    main()
