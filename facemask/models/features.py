"""Pooled features of a frozen backbone, in shards."""

from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from facemask import cluster
from facemask.config.training import Backbone
from facemask.models.backbones import build_backbone, weights_digest
from facemask.shards import SHARD, Shards, save, write_places

BATCH = 32  # larger ones are no faster on a processor
ROWS = 8 * BATCH  # of a shard


def embed(backbone: Backbone, weights: str, crops: Path, folder: Path) -> dict[str, Any]:
    """Run a backbone once over all samples.

    Args:
        backbone: a class of keras.applications and the size s of its input.
        weights: as for `backbones.build_backbone`.
        crops: the folder of squares of s px, which `Shards` reads.
        folder: where to; `Shards` reads float32 (N, d) there.

    Returns:
        What was run: weights, sha256 of them, params (how many), input_size.

    Raises:
        InputError: as of `backbones.build_backbone`.
    """
    model, loaded, inputs = _opened(backbone, weights, crops)
    count = len(inputs)
    write = partial(_write, backbone, weights, crops, folder)
    title = f"embed {backbone.application}"
    for _ in cluster.map(write, range(0, count, ROWS), title, "shard"):
        pass
    write_places(np.arange(count) // ROWS, folder)
    return {
        "weights": Path(loaded).name,
        "sha256": weights_digest(model, loaded),
        "params": model.count_params(),
        "input_size": backbone.input_size,
    }


def pooled(model: keras.Model, crops: np.ndarray) -> np.ndarray:
    """Return the features of crops, uint8 (n, s, s, 3): float32 (n, d)."""
    parts = [crops[start : start + BATCH] for start in range(0, len(crops), BATCH)]
    return np.concatenate([model.predict_on_batch(part) for part in parts])


def _write(backbone: Backbone, weights: str, crops: Path, folder: Path, start: int) -> None:
    """Write the features of one shard."""
    model, _, inputs = _opened(backbone, weights, crops)
    save(pooled(model, inputs[start : start + ROWS]), folder / SHARD.format(start // ROWS))


@lru_cache(1)
def _opened(backbone: Backbone, weights: str, crops: Path) -> tuple[keras.Model, str, Shards]:
    """Build a backbone and open its inputs, once in a process."""
    return *build_backbone(backbone, weights), Shards(crops)
