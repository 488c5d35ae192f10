"""A trained detector as one file that needs neither TensorFlow nor Keras: ONNX or LiteRT.

What goes in is an image as it is, RGB, uint8, of any size: resizing and decoding are inside. What
comes out, as in `detect.Detections`, the best faces first: boxes (k, 4), corners in px of the
image; confidence (k,), 0 where there is no face; class_id (k,); scores (k, classes).
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from onnx import compose, numpy_helper, parser

from facemask.data.affine import PADDING
from facemask.inference.detect import MULTIPLE
from facemask.io import atomic_write
from facemask.models.detector import with_decoding

OPSET = 18  # the first whose Resize averages where it shrinks
IR_VERSION = 10
HEAD = f'<ir_version: {IR_VERSION}, opset_import: ["": {OPSET}]>'
LARGE = 256  # values from which on a weight is kept in half precision
FLOAT, INT, DOUBLE = (
    int(each) for each in (onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.DOUBLE)
)

# As `detect.model_input`: the longest side resized to `size`, padded right and below.
BEFORE = f"""{HEAD}
before (uint8[height, width, 3] image, int64 size)
  => (float[1, 3, rows, columns] inputs, double[4] scale, double[4] frame)
<float grey = {{{PADDING[0]}}}, int64[1] zero = {{0}}, int64[2] front = {{1, 3}},
 int64[2] multiple = {{{MULTIPLE}, {MULTIPLE}}}, int64[2] least = {{1, 1}},
 int64[6] none = {{0, 0, 0, 0, 0, 0}}, int64[4] twice = {{1, 0, 1, 0}}>
{{
  shape = Shape <start=0, end=2> (image)
  sides = Cast <to={DOUBLE}> (shape)
  longest = ReduceMax <keepdims=0> (sides)
  wanted = Cast <to={DOUBLE}> (size)
  factor = Div (wanted, longest)
  scaled = Mul (sides, factor)
  rounded = Round (scaled)
  rounded_int = Cast <to={INT}> (rounded)
  drawn = Max (rounded_int, least)
  pixels = Cast <to={FLOAT}> (image)
  planes = Transpose <perm=[2, 0, 1]> (pixels)
  batch = Unsqueeze (planes, zero)
  target = Concat <axis=0> (front, drawn)
  resized = Resize <mode="linear", antialias=1> (batch, "", "", target)
  over = Mod (drawn, multiple)
  lacking = Sub (multiple, over)
  below = Mod (lacking, multiple)
  pads = Concat <axis=0> (none, below)
  inputs = Pad (resized, pads, grey)
  drawn_double = Cast <to={DOUBLE}> (drawn)
  ratio = Div (drawn_double, sides)
  scale = Gather (ratio, twice)
  frame = Gather (sides, twice)
}}"""

# Boxes in px of the image, cut off at its edges.
AFTER = f"""{HEAD}
after (float[1, k, 4] drawn_boxes, float[1, k, c] drawn_scores, double[4] scale, double[4] frame)
  => (float[k, 4] boxes, float[k] confidence, int64[k] class_id, float[k, c] scores)
<int64[1] first = {{0}}, int64[1] last = {{-1}}, double origin = {{0}}>
{{
  one = Squeeze (drawn_boxes, first)
  exact = Cast <to={DOUBLE}> (one)
  unscaled = Div (exact, scale)
  above = Max (unscaled, origin)
  inside = Min (above, frame)
  boxes = Cast <to={FLOAT}> (inside)
  scores = Squeeze (drawn_scores, first)
  confidence = ReduceMax <keepdims=0> (scores, last)
  class_id = ArgMax <axis=1, keepdims=0> (scores)
}}"""


# Of each format, the file or folder that `write` makes.
FILES = {
    "onnx": "detector.onnx",
    "onnx_float32": "detector_float32.onnx",
    "litert": "detector.tflite",
    "saved_model": "saved_model",
}


def write(
    model: keras.Model,
    quality_power: float,
    about: Mapping[str, Any],
    formats: Sequence[str],
    folder: Path,
) -> dict[str, Path]:
    """Write a detector in some formats, of those in FILES.

    Args:
        model, quality_power, about: as of `to_onnx`.
        formats: of FILES.
        folder: to write them to.

    Returns:
        The path of each format.
    """

    @cache
    def whole() -> onnx.ModelProto:
        return to_onnx(model, quality_power, about)

    contents: dict[str, Callable[[], bytes]] = {
        "onnx": lambda: halved(whole()).SerializeToString(),
        "onnx_float32": lambda: whole().SerializeToString(),
        "litert": lambda: to_litert(model, quality_power),
    }
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / FILES[name] for name in formats}
    for name, path in paths.items():
        if name == "saved_model":
            to_saved_model(model, quality_power, path)
            continue
        content = contents[name]()
        with atomic_write(path) as part:
            part.write_bytes(content)
    return paths


def to_onnx(model: keras.Model, quality_power: float, about: Mapping[str, Any]) -> onnx.ModelProto:
    """Return a detector as ONNX, whose second input, size, is the longest side it sees, px.

    Args:
        model: of `models.detector.build_detector`, trained.
        quality_power: as of `with_decoding`.
        about: kept in the file, each value as JSON: classes, size, …
    """
    before, after = (parser.parse_model(each) for each in (BEFORE, AFTER))
    network = _network(with_decoding(model, quality_power))
    rest = compose.merge_models(
        network,
        after,
        [("network/boxes", "drawn_boxes"), ("network/scores", "drawn_scores")],
    )
    joints = ["scale", "frame"]
    whole = compose.merge_models(
        before, rest, [("inputs", "network/inputs"), *zip(joints, joints, strict=True)]
    )
    del whole.opset_import[1:]  # the same one of each part
    onnx.helper.set_model_props(whole, {key: json.dumps(value) for key, value in about.items()})
    onnx.checker.check_model(whole, full_check=True)
    return whole


def _network(decoded: keras.Model) -> onnx.ModelProto:
    """The network with its decoding, from inputs (1, 3, H, W) to boxes and scores."""

    @tf.function(input_signature=[tf.TensorSpec((1, None, None, 3), tf.float32, name="inputs")])
    def call(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = decoded(inputs, training=False)
        return {name: tf.identity(outputs[name], name=name) for name in ("boxes", "scores")}

    converted, _ = tf2onnx.convert.from_function(
        call, call.input_signature, opset=OPSET, inputs_as_nchw=["inputs:0"]
    )
    converted.ir_version = IR_VERSION
    # A domain that no node is of would not be that of the other graphs.
    del converted.opset_import[1:]
    converted.graph.CopyFrom(_numbered(converted.graph))
    return compose.add_prefix(converted, "network/")


def _numbered(graph: onnx.GraphProto) -> onnx.GraphProto:
    """The same graph, its nodes and weights ordered and named by where its outputs need them.

    tf2onnx orders and names them anew in each run: without this, one network had many files.
    """
    weights = {weight.name: weight for weight in graph.initializer}
    ends = [*graph.input, *graph.output]
    # It names sides that it does not know anew, too.
    for side in (side for end in ends for side in end.type.tensor_type.shape.dim):
        if side.HasField("dim_param"):
            side.Clear()
    names = {"": ""} | {each.name: each.name for each in ends}
    nodes = []
    for number, node in enumerate(_in_order(graph)):
        for name in node.input:
            if name in weights:
                names.setdefault(name, f"weight_{len(names)}")
        for place, name in enumerate(node.output):
            names.setdefault(name, f"{node.op_type}_{number}_{place}")
        renamed = onnx.NodeProto()
        renamed.CopyFrom(node)
        renamed.name = f"{node.op_type}_{number}"
        renamed.input[:] = [names[name] for name in node.input]
        renamed.output[:] = [names[name] for name in node.output]
        nodes.append(renamed)
    used = [
        numpy_helper.from_array(numpy_helper.to_array(weights[name]), names[name])
        for name in names
        if name in weights
    ]
    return onnx.helper.make_graph(nodes, "network", graph.input, graph.output, used)


def _in_order(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Nodes that the outputs need, each after those that it needs itself, depth first."""
    makers = {name: node for node in graph.node for name in node.output if name}
    waiting, done = [each.name for each in reversed(graph.output)], set()
    while waiting:
        node = makers.get(waiting[-1])
        inputs = node.input if node else ()
        needed = [name for name in inputs if name in makers and name not in done]
        if needed:
            waiting.append(needed[0])
        elif waiting.pop() not in done and node:
            done.update(node.output)
            yield node


def halved(whole: onnx.ModelProto) -> onnx.ModelProto:
    """Return a detector whose large weights are float16, each cast to float32 before it is read.

    That halves the file; sums stay float32.
    """
    smaller = onnx.ModelProto()
    smaller.CopyFrom(whole)
    graph = smaller.graph
    for weight in graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype == np.float32 and values.size >= LARGE:
            name = weight.name
            weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}/half"))
            cast = onnx.helper.make_node("Cast", [weight.name], [name], to=FLOAT)
            graph.node.insert(0, cast)
    onnx.checker.check_model(smaller, full_check=True)
    return smaller


def to_saved_model(
    model: keras.Model, quality_power: float, folder: Path, antialias: bool = True
) -> None:
    """Write a detector as a SavedModel: its signature serving_default takes image and size.

    Args:
        model, quality_power: as of `to_onnx`.
        folder: to write.
        antialias: average where an image is made smaller, as all others do but LiteRT.
    """
    decoded = with_decoding(model, quality_power)
    archive = keras.export.ExportArchive()
    archive.track(decoded)
    archive.add_endpoint("serving_default", _function(decoded, antialias))
    archive.write_out(str(folder), verbose=False)


def to_litert(model: keras.Model, quality_power: float) -> bytes:
    """Return a detector as a LiteRT file (.tflite).

    LiteRT does not average where it shrinks: images whose longest side is far above `size` should
    be made smaller before.
    """
    with tempfile.TemporaryDirectory() as folder:
        to_saved_model(model, quality_power, Path(folder), antialias=False)
        return tf.lite.TFLiteConverter.from_saved_model(folder).convert()


def _function(decoded: keras.Model, antialias: bool) -> Any:  # noqa: ANN401
    """From image and size to OUTPUTS, in TensorFlow."""

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None, 3), tf.uint8, name="image"),
            tf.TensorSpec((), tf.int32, name="size"),
        ]
    )
    def call(image: tf.Tensor, size: tf.Tensor) -> dict[str, tf.Tensor]:
        sides = tf.shape(image)[:2]
        factor = tf.cast(size, tf.float32) / tf.cast(tf.reduce_max(sides), tf.float32)
        drawn = tf.maximum(tf.cast(tf.round(tf.cast(sides, tf.float32) * factor), tf.int32), 1)
        pixels = tf.cast(image, tf.float32)[None]
        resized = tf.image.resize(pixels, drawn, antialias=antialias)
        beyond = -drawn % MULTIPLE
        below, right = tf.unstack(beyond)
        padding = [[0, 0], [0, below], [0, right], [0, 0]]
        inputs = tf.pad(resized, padding, constant_values=PADDING[0])
        # LiteRT forgets how many channels a padded image has.
        inputs = tf.reshape(inputs, tf.concat([[1], drawn + beyond, [3]], axis=0))
        outputs = decoded(inputs, training=False)
        ratio = tf.cast(drawn, tf.float32) / tf.cast(sides, tf.float32)
        frame = tf.cast(tf.tile(sides[::-1], [2]), tf.float32)
        boxes = outputs["boxes"][0] / tf.tile(ratio[::-1], [2])
        scores = outputs["scores"][0]
        return {
            "boxes": tf.clip_by_value(boxes, 0.0, frame),
            "confidence": tf.reduce_max(scores, axis=1),
            "class_id": tf.argmax(scores, axis=1, output_type=tf.int32),
            "scores": scores,
        }

    return call
