"""How much memory does every stage hold at its peak?

python -m benchmarks.memory PHOTOGRAPHS WEIGHTS: as benchmarks.repro, but each network is trained
for one epoch, and holds no less than in ten; searches are left out. Six minutes; other work beside
it does no harm.
"""

import sys
import tempfile
from pathlib import Path

import pandas as pd

from benchmarks import pipeline
from benchmarks.common import report


def main() -> None:
    """Measure."""
    source, weights = (str(Path(argument).resolve()) for argument in sys.argv[1:])
    experiments = pd.read_csv("reference/published_results.csv")["id"].tolist()
    changes = {
        "dataset": "kaggle",
        "datasets.kaggle.source": source,
        "datasets.kaggle.weights": weights,
        **{f"experiments.{name}.epochs": 1 for name in experiments},
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "facemask")
        pipeline.clone(folder, changes, experiments)
        _, stages = pipeline.repro(folder, *[f"evaluate@{name}" for name in experiments])
    for stage in stages:
        del stage["seconds"]
    stages.sort(key=lambda stage: -stage["own_mb"])
    peak = stages[0]["own_mb"]
    report("memory", stages, "PHOTOGRAPHS WEIGHTS", peak_mb=peak)


if __name__ == "__main__":
    main()
