"""How long does everything take from nothing, and a run that finds nothing to do?

python -m benchmarks.repro IMAGES WEIGHTS: the study's dataset (a zip or a folder) and a folder
of ImageNet weights. Half an hour; nothing else should run. Without them: the sample, as a first run
of the repository makes it; this is printed alone.
"""

import sys
import tempfile
from pathlib import Path

from benchmarks import pipeline
from benchmarks.common import report, show

# Of the study's notebooks on two cloud cores: its epochs, and at least its searches.
STUDY_SECONDS = 18_500 + 7_000


def main() -> None:
    """Measure."""
    changes = {}
    if len(sys.argv) > 1:
        source, weights = (str(Path(argument).resolve()) for argument in sys.argv[1:])
        changes = {
            "dataset": "kaggle",
            "datasets.kaggle.source": source,
            "datasets.kaggle.weights": weights,
        }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "facemask")
        pipeline.clone(folder, changes)
        seconds, stages = pipeline.repro(folder)
        again = sorted(pipeline.seconds_of(folder, "repro") for _ in range(3))[1]
    if not changes:
        show(stages)
        print(f"The sample from nothing: {seconds:.0f} s; nothing to do: {again:.1f} s")
        return
    report(
        "repro",
        stages,
        "IMAGES WEIGHTS",
        study_seconds=STUDY_SECONDS,
        seconds=seconds,
        ratio=STUDY_SECONDS / seconds,
        nothing_to_do_seconds=again,
    )


if __name__ == "__main__":
    main()
