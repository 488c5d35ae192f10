"""What does a Dask cluster of two workers cost beside two threads, on the same two processors?

python -m benchmarks.cluster, after `dvc repro pack`: on the dataset of params.yaml. The cluster is
started before, which is stated by itself. Ten minutes.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from benchmarks.common import alternate, median, report
from facemask import cluster, params
from facemask.data import arrays, images, sources
from facemask.models import features
from stages.common import DATA, RAW

WORKERS, ROUNDS = 2, 5
BACKBONE = "mobilenet_v2"


def on_a_cluster(work: Callable[[], object]) -> Callable[[], None]:
    """Return the same work, done by the workers of a cluster."""

    def run() -> None:
        os.environ[cluster.SCHEDULER] = f"local:{WORKERS}"
        try:
            work()
        finally:
            del os.environ[cluster.SCHEDULER]

    return run


def main() -> None:
    """Measure."""
    config, temporary = params.read(), Path(tempfile.mkdtemp())
    backbone = config.backbones[BACKBONE]
    paths = sources.image_paths(RAW)
    samples, extra = (pd.read_csv(DATA / f"{name}samples.csv") for name in ("", "extra_"))
    outputs = {size: temporary / str(size) for size in config.arrays.sizes}
    weights = config.datasets[config.dataset].weights

    def pack() -> None:
        arrays.pack(
            samples, extra, RAW / "images", outputs, temporary / "native", config.arrays.max_side,
            WORKERS,
        )  # fmt: skip

    work: dict[str, tuple[int, Callable[[], object]]] = {
        "inventory": (
            len(paths),
            lambda: images.inventory(paths, WORKERS, temporary / "thumbnails.npy"),
        ),
        "pack": (len(paths), pack),
        f"features of {backbone.application}": (
            len(samples),
            lambda: features.embed(
                backbone, weights, DATA / f"crops/{backbone.input_size}", temporary / "features"
            ),
        ),
    }
    # Each worker is one process with one thread, as the two of the threads are.
    os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    start = time.perf_counter()
    on_a_cluster(lambda: list(cluster.map(abs, range(WORKERS), "", "item")))()
    started = time.perf_counter() - start
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        del os.environ[name]
    rows = []
    try:
        for name, (count, call) in work.items():
            ways = {"threads": call, "cluster": on_a_cluster(call)}
            seconds = median(alternate(ways, ROUNDS))
            row = {"work": name, "items": count, **seconds}
            rows.append(row | {"ratio": seconds["cluster"] / seconds["threads"]})
        written = {path.name: _megabytes(path) for path in temporary.iterdir()}
    finally:
        shutil.rmtree(temporary)
    report(
        "cluster",
        rows,
        dataset=config.dataset,
        images=len(paths),
        start_seconds=started,
        raw_megabytes=_megabytes(RAW),
        megabytes=written,
    )


def _megabytes(path: Path) -> float:
    """Return the size of a file or of all in a folder."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


if __name__ == "__main__":
    main()
