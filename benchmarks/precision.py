"""What do networks of half the bits gain in time, and lose in accuracy?

python -m benchmarks.precision, after `dvc repro resolve split pack`: on the dataset of params.yaml,
the same experiment in both precisions with several seeds. Ten minutes.
"""

import tempfile
import time
from pathlib import Path

import keras

from benchmarks.common import report, study
from facemask import params
from facemask.evaluation import metrics, significance
from facemask.inference.predict import predict
from facemask.training import classifier

NAME = "scratch_3"
SEEDS = 3
METRICS = ("accuracy", "mean_iou", "recall_with_mask", "recall_without_mask", "majority_accuracy")


def main() -> None:
    """Measure."""
    experiment, inputs, splits = study(NAME)
    found: dict[str, list[dict[str, float]]] = {"float32": [], "bfloat16": []}
    seconds = {"float32": 0.0, "bfloat16": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.keras")
        for seed in range(experiment.seed, experiment.seed + SEEDS):
            for precision, tests in found.items():
                changed = experiment.model_copy(update={"precision": precision, "seed": seed})
                start = time.perf_counter()
                state = Path(folder, f"{precision}_{seed}")
                classifier.train(changed, inputs, splits, file, state)
                seconds[precision] += time.perf_counter() - start
                model = keras.saving.load_model(file, compile=False)
                samples = splits[splits["split"] != "unused"]
                predictions = predict(model, inputs, samples, changed)
                tests.append(metrics.measure(predictions)["test"])
    rows = []
    for precision, tests in found.items():
        both = significance.over_repeats(tests)
        rows.append(
            {
                "precision": precision,
                "seconds": seconds[precision],
                "faster by": seconds["float32"] / seconds[precision],
                **{
                    name: f"{100 * both[name]['mean']:.2f} ± {100 * both[name]['std']:.2f}"
                    for name in METRICS
                },
            }
        )
    report("precision", rows, dataset=params.read().dataset, experiment=NAME, seeds=SEEDS)


if __name__ == "__main__":
    main()
