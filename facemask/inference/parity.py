"""How far an exported detector is from the one that it was made of."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from facemask.columns import iou
from facemask.inference import runtime
from facemask.inference.detect import Detections, Run, detect

SAME = 0.9  # IoU from which on two boxes are of one face


def parity(
    reference: Run, other: Run, images: Iterable[np.ndarray], size: int, least: float
) -> dict[str, float]:
    """Compare the detections of two detectors.

    Args:
        reference, other: as `detect.detect` runs them.
        images: uint8 (h, w, 3), RGB.
        size: longest side of what they see, px.
        least: confidence from which on faces are compared.

    Returns:
        images and faces (of the reference), how many; missing and extra: how many faces one of the
        two has alone; box_px and score: the largest difference of a side of a box and of a score,
        of the faces that both have.
    """
    found = {"images": 0, "faces": 0, "missing": 0, "extra": 0, "box_px": 0.0, "score": 0.0}
    for image in images:
        one, two = (detect(run, image, size, least) for run in (reference, other))
        pairs = _pairs(one, two)
        found["images"] += 1
        found["faces"] += len(one.xyxy)
        found["missing"] += len(one.xyxy) - len(pairs)
        found["extra"] += len(two.xyxy) - len(pairs)
        first, second = pairs.T
        boxes, scores = one.xyxy[first] - two.xyxy[second], one.scores[first] - two.scores[second]
        found["box_px"] = max(found["box_px"], float(np.abs(boxes).max(initial=0)))
        found["score"] = max(found["score"], float(np.abs(scores).max(initial=0)))
    return found


def _pairs(one: Detections, two: Detections) -> np.ndarray:
    """Positions of the same face in both, of one class: (n, 2)."""
    overlap = iou(one.xyxy[:, None], two.xyxy[None])
    alike = one.class_id[:, None] == two.class_id[None]
    # The last column stands for none.
    overlap = np.pad(np.where(alike, overlap, 0.0), [(0, 0), (0, 1)])
    best = overlap.argmax(axis=1)
    rows = np.flatnonzero(overlap.max(axis=1) >= SAME)
    return np.column_stack([rows, best[rows]])


def runner(name: str, path: Path) -> Run:
    """Return an exported detector as what `detect` runs.

    Args:
        name: of a format of `export.FILES`.
        path: its file or folder.
    """
    if name.startswith("onnx"):
        return runtime.load(path).run
    if name == "litert":
        litert = tf.lite.Interpreter(str(path)).get_signature_runner("serving_default")
        return lambda image, size: _outputs(litert(image=image, size=np.int32(size)))
    call = tf.saved_model.load(str(path)).signatures["serving_default"]
    return lambda image, size: _outputs(call(image=tf.constant(image), size=tf.constant(size)))


def megabytes(path: Path) -> float:
    """Return the size of a file, or of all in a folder, in 10^6 bytes."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def _outputs(found: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    return np.array(found["boxes"], float), np.array(found["scores"])
