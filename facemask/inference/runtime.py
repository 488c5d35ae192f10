"""An exported detector, run by onnxruntime: the one that comes with the package, or another."""

import json
import os
from collections.abc import Sequence
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from typing import NamedTuple

import numpy as np

# From 1.29 on, onnxruntime would send Microsoft hashes of the model, and write a file to keep them.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

from facemask.errors import InputError
from facemask.inference.detect import Detections, Run
from facemask.inference.detect import detect as detect_with

SHIPPED = Path(__file__).parents[1] / "weights/detector.onnx"
INPUTS, OUTPUTS = {"image", "size"}, {"boxes", "scores"}
SIZES = (32, 4096)  # px, least and most of the longest side that a network sees


class Detector(NamedTuple):
    """A detector and what it was exported with.

    run: what `detect.detect` runs; classes: their names, in the order of class_id; size: longest
    side of what it sees, px; confidence: from which on a face is reported.
    """

    run: Run
    classes: tuple[str, ...]
    size: int
    confidence: float


@cache
def load(file: Path = SHIPPED, threads: int = 0) -> Detector:
    """Load an exported detector; once only.

    Args:
        file: of `export.to_onnx`.
        threads: that compute one image; 0 for one per processor.

    Raises:
        InputError: the file is missing, or no detector of this project.
    """
    if not file.is_file():
        raise InputError(f"{file}: there is no such model; give the path of an .onnx file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors alone
    try:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        given = {each.name for each in session.get_inputs()}
        made = {each.name for each in session.get_outputs()}
        if given != INPUTS or not made >= OUTPUTS:
            raise ValueError(f"it maps {given} to {made}")
        about = session.get_modelmeta().custom_metadata_map
        classes, size, confidence = (
            json.loads(about[key]) for key in ("classes", "size", "confidence")
        )
    except Exception as error:  # onnxruntime's own are of many kinds
        raise InputError(
            f"{file}: no detector of this project; dvc repro pipelines/detector/dvc.yaml makes one"
        ) from error

    def run(image: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        boxes, scores = session.run(["boxes", "scores"], {"image": image, "size": np.array(size)})
        return boxes.astype(float), scores

    return Detector(run, tuple(classes), size, confidence)


def detect(
    image: np.ndarray,
    conf: float | None = None,
    size: int | None = None,
    tiles: int | None = None,
    multi_scale: bool = False,
    detector: Detector | None = None,
) -> Detections:
    """Find the faces of an image, and whether they wear a mask; this is `facemask.detect`.

    Args:
        image: uint8 (height, width, 3), RGB, of any size.
        conf: confidence from which on a face is reported; None: the detector's own.
        size: longest side of what the network sees, px; None: the detector's own.
        tiles: side of overlapping squares, px, that are predicted on besides the whole image: for
            large images of small faces.
        multi_scale: see the image at 0.8 and 1.25 times the size, and average what is found.
        detector: of `load`; None: the one that comes with the package.

    Returns:
        xyxy (n, 4), corners in px; confidence (n,); class_id (n,), of `facemask.class_names()`;
        the most confident face first.

    Raises:
        InputError: the image is not uint8 RGB, or a number is out of its range.
    """
    chosen = detector or load()
    if not isinstance(image, np.ndarray):
        raise InputError(
            f"an image is a NumPy array, uint8 (height, width, 3), and this one is of type "
            f"{type(image).__name__}: read images with facemask.data.decode.read_rgb"
        )
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise InputError(
            f"an image is RGB, uint8 (height, width, 3), and this one is {image.dtype} "
            f"{image.shape}: read images with facemask.data.decode.read_rgb"
        )
    check(conf, size, tiles)
    return detect_with(
        at_scales(chosen.run, multi_scale),
        np.ascontiguousarray(image),
        chosen.size if size is None else size,
        chosen.confidence if conf is None else conf,
        tiles,
    )


def at_scales(run: Run, multi_scale: bool) -> Run:
    """Return a detector that sees images at one size, as this one, or at two."""
    if not multi_scale:
        return run
    from facemask.inference.multi_scale import multi_scale as at_two

    return at_two(run)


def check(conf: float | None, size: int | None, tiles: int | None) -> None:
    """Check numbers that a user gives.

    Raises:
        InputError: one is out of its range.
    """
    # NaN is not from 0 to 1 either.
    if conf is not None and not (isinstance(conf, Real) and 0 <= conf <= 1):
        raise InputError(f"conf is {conf!r}, and a confidence is a number from 0 to 1")
    low, high = SIZES
    for name, value in (("size", size), ("tiles", tiles)):
        whole = isinstance(value, Integral)
        if value is not None and not (whole and low <= value <= high):
            raise InputError(f"{name} is {value!r}; give a whole number, {low} to {high} px")


def class_names() -> tuple[str, ...]:
    """Return the classes of the detector that comes with the package, in the order of class_id."""
    return load().classes


def as_records(found: Detections, classes: Sequence[str]) -> list[dict[str, object]]:
    """Return faces as JSON has them: name, class, confidence, box of x1, y1, x2, y2 in px."""
    return [
        {
            "name": classes[number],
            "class": int(number),
            "confidence": round(float(confidence), 5),
            "box": {
                key: round(float(value), 2)
                for key, value in zip(("x1", "y1", "x2", "y2"), box, strict=True)
            },
        }
        for box, confidence, number in zip(
            found.xyxy, found.confidence, found.class_id, strict=True
        )
    ]
