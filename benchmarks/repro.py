"""How long does everything take from nothing, and a run that finds nothing to do?

python -m benchmarks.repro PHOTOGRAPHS WEIGHTS: the study's dataset (a zip or a folder) and a folder
of ImageNet weights. Half an hour; nothing else should run.
"""

import sys
import tempfile
from pathlib import Path

import pandas as pd

from benchmarks import pipeline
from benchmarks.common import report

# Of the study's notebooks on two cloud cores: its epochs, and at least its searches.
STUDY_SECONDS = 18_500 + 7_000


def main() -> None:
    """Measure."""
    source, weights = (str(Path(argument).resolve()) for argument in sys.argv[1:])
    changes = {
        "dataset": "kaggle",
        "datasets.kaggle.source": source,
        "datasets.kaggle.weights": weights,
    }
    experiments = pd.read_csv("reference/published_results.csv")["id"].tolist()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "facemask")
        pipeline.clone(folder, changes, experiments)
        seconds, stages = pipeline.repro(folder)
        again = [pipeline.seconds_of(folder, "repro") for _ in range(3)]
    report(
        "repro",
        stages,
        "PHOTOGRAPHS WEIGHTS",
        study_seconds=STUDY_SECONDS,
        seconds=seconds,
        ratio=STUDY_SECONDS / seconds,
        nothing_to_do_seconds=sorted(again)[1],
    )


if __name__ == "__main__":
    main()
