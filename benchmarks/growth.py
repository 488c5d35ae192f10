"""How do time and memory grow with four and sixteen times the images?

python -m benchmarks.growth IMAGES WEIGHTS: a dataset's folder (images/, annotations/), which
is repeated under new names, and a folder of ImageNet weights. Half an hour, 25 GB of temporary
files.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks import pipeline
from benchmarks.common import report

FACTORS = [1, 4, 16]
EXPERIMENTS = ["scratch_1", "mobilenet_1"]
EPOCHS = 3  # a stage's fixed cost beside them is that of ten


def repeat(source: Path, target: Path, times: int) -> None:
    """Repeat images and their annotations under new names; images are links."""
    for kind in ("images", "annotations"):
        (target / kind).mkdir(parents=True)
    for image in sorted((source / "images").iterdir()):
        annotation = source / "annotations" / f"{image.stem}.xml"
        text = annotation.read_text(encoding="utf-8")
        for number in range(times):
            name = f"{image.stem}_{number}"
            (target / "images" / f"{name}{image.suffix}").symlink_to(image)
            (target / "annotations" / f"{name}.xml").write_text(
                text.replace(image.name, f"{name}{image.suffix}"), encoding="utf-8"
            )


def main() -> None:
    """Measure."""
    source, weights = (Path(argument).resolve() for argument in sys.argv[1:])
    measured, status = {}, {}
    for factor in FACTORS:
        temporary = Path(tempfile.mkdtemp())
        try:
            repeat(source, temporary / "images", factor)
            changes = {
                "dataset": "kaggle",
                "datasets.kaggle.source": str(temporary / "images"),
                "datasets.kaggle.weights": str(weights),
                **{f"experiments.{name}.epochs": EPOCHS for name in EXPERIMENTS},
            }
            folder = temporary / "facemask"
            pipeline.clone(folder, changes)
            targets = [f"evaluate@{name}" for name in EXPERIMENTS]
            seconds, stages = pipeline.repro(folder, *targets)
            measured[factor] = {stage["stage"]: stage for stage in stages}
            measured[factor]["dvc repro"] = {"seconds": seconds, "own_mb": None}
            status[f"{factor}x"] = pipeline.seconds_of(folder, "status", "--with-deps", *targets)
        finally:
            shutil.rmtree(temporary)
        print(f"{factor}x: {seconds:.0f} s, dvc status {status[f'{factor}x']:.1f} s", flush=True)
    rows = []
    for stage in measured[1]:
        of = [measured[factor][stage] for factor in FACTORS]
        first, second, third = (each["seconds"] for each in of)
        rows.append(
            {
                "stage": stage,
                **{f"{f}x, s": each["seconds"] for f, each in zip(FACTORS, of, strict=True)},
                # 1: the twelve added to four take four times as long as the three added to one.
                "linear": (third - second) / (second - first) / 4,
                **{f"{f}x, MB": each["own_mb"] for f, each in zip(FACTORS, of, strict=True)},
            }
        )
    report(
        "growth",
        rows,
        "IMAGES WEIGHTS",
        status_seconds=status,
        experiments=EXPERIMENTS,
        epochs=EPOCHS,
    )


if __name__ == "__main__":
    main()
