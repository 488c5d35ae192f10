"""Pictures of detections in whole images, and precision over recall."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from facemask.columns import CORNERS, WITH
from facemask.data import affine
from facemask.data.affine import resize
from facemask.evaluation.detection import is_found, size_names
from facemask.evaluation.precision_bootstrap import RECALLS
from facemask.reporting import plots
from facemask.reporting.plots import FACES, LABEL_COLOURS, STYLE, TRUTH, WRONG
from facemask.shards import Crops

SIDE = 800  # px, the longest side of an image in a picture
CELL, COLUMNS = 128, 10  # px and number of the cells of a sheet of faces
CONTEXT = 3.0  # sides of a face that its cell shows
ALARM = "#CC79A7"


def curves_plot(results: Mapping[str, Any], by_size: Any, path: Path) -> None:  # noqa: ANN401
    """Draw precision over recall at an IoU of .5.

    Args:
        results: of each title what `detection.evaluate` returns: a panel each, a line per class.
        by_size: the same of one class, whose sizes are the last panel's lines.
        path: where to.
    """
    with style.context(STYLE):
        figure = Figure(figsize=(3.6 * (len(results) + 1), 3.9), layout="constrained")
        panels = figure.subplots(1, len(results) + 1, sharey=True)
        for axes, (title, result) in zip(panels, results.items(), strict=False):
            names = [each["name"] for each in result.coco_gt.dataset["categories"]]
            precision = np.array(result.eval["precision"])[0, :, :, 0, -1]
            _curves(axes, title, names, precision)
        precision = np.array(by_size.eval["precision"])[0, :, 0, 1:, -1]
        _curves(panels[-1], "face, by the root of its area", size_names(), precision)
        panels[0].set_ylabel("precision")
        plots.save(figure, path)


def _curves(axes: Axes, title: str, names: Sequence[str], precision: np.ndarray) -> None:
    """Draw precision (recalls, lines); that of a group without faces is negative."""
    for number, (name, values) in enumerate(zip(names, precision.T, strict=True)):
        if values[0] >= 0:
            label = f"{name.replace('_', ' ')} ({100 * values.mean():.1f})"
            axes.plot(RECALLS, values, color=FACES[number], label=label)
    axes.set(title=title, xlabel="recall", xlim=(0, 1.01), ylim=(0, 1.02))
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.17),  # below the panel: within it curves run anywhere
        ncols=2,
        fontsize=8,
        title="AP@.5, %",
        title_fontsize=8,
    )


def images_sheet(
    images: Crops, numbers: Sequence[int], faces: pd.DataFrame, detections: pd.DataFrame, path: Path
) -> None:
    """Draw whole images, two in a row, with what was found, missed and seen where nothing is.

    Args:
        images: packed.
        numbers: of those to draw.
        faces, detections: of `detection.matches`, with sample (the image's number), threshold, and
            corners in px of the packed image.
        path: where to.
    """
    rows = -(-len(numbers) // 2)
    with style.context(STYLE):
        figure = Figure(figsize=(16, 6.0 * rows + 0.5), layout="constrained")
        panels = figure.subplots(rows, 2, squeeze=False).ravel()
        for axes, number in zip(panels, numbers, strict=False):
            image = images[number]
            scale = SIDE / max(image.shape)
            height, width = (round(scale * side) for side in image.shape[:2])
            axes.imshow(resize(image, width, height), extent=(0, width, height, 0))
            mark(axes, scale, *(t[t["sample"] == number] for t in (faces, detections)))
        for axes in panels:
            axes.set_axis_off()
        figure.legend(handles=_keys(), loc="outside upper center", ncols=5)
        plots.save(figure, path)


def mark(axes: Axes, scale: float, faces: pd.DataFrame, detections: pd.DataFrame) -> None:
    """Outline the faces and false alarms of one image, in px of it times `scale`."""
    for face, found in zip(faces.to_dict("records"), is_found(faces), strict=True):
        right = face["predicted"] == face["actual"]
        colour = LABEL_COLOURS[int(face["actual"] == WITH)] if right else WRONG
        corners = [scale * face[name] for name in CORNERS]
        plots.outline(axes, corners, colour if found else TRUTH, 1.4, "-" if found else ":")
    shown = detections[detections["confidence"] >= detections["threshold"]]
    for corners in scale * shown.loc[shown["face"] < 0, CORNERS].to_numpy():
        plots.outline(axes, corners, ALARM, 1.4, "--")


def _keys() -> list[Any]:
    return [
        plots.key("with mask", LABEL_COLOURS[1], "-", 2),
        plots.key("without mask", LABEL_COLOURS[0], "-", 2),
        plots.key("found, wrong class", WRONG, "-", 2),
        plots.key("missed", TRUTH, ":", 2),
        plots.key("false alarm", ALARM, "--", 2),
    ]


def boxes_sheet(images: Crops, boxes: pd.DataFrame, path: Path) -> None:
    """Draw boxes with what is around them, the first first; each with its number below.

    Args:
        images: packed.
        boxes: rows with sample (the image's number) and corners in px of the packed image.
        path: where to.
    """
    rows = max(1, -(-len(boxes) // COLUMNS))
    with style.context(STYLE):
        figure = Figure(figsize=(1.4 * COLUMNS, 1.55 * rows), layout="constrained")
        panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
        for axes in panels:
            axes.set_axis_off()
        records = boxes[["sample", *CORNERS]].to_numpy()
        for place, (axes, (number, *corners)) in enumerate(zip(panels, records, strict=False), 1):
            box = np.array(corners)
            transform = affine.zoom_in(box, CELL, 1 / CONTEXT)
            axes.imshow(affine.draw(images[int(number)], transform, CELL))
            plots.outline(axes, affine.transformed(box[None], transform)[0] - 0.5, TRUTH, 1.0)
            axes.set_title(str(place), fontsize=7, pad=2)
        plots.save(figure, path)


def samples_sheet(
    samples: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], path: Path, columns: int = 6
) -> None:
    """Draw training samples with the boxes that are learnt.

    Args:
        samples: of each the image, boxes (n, 4) in its px, and labels (n,), 1 with a mask.
        path: where to.
        columns: of the sheet.
    """
    rows = -(-len(samples) // columns)
    with style.context(STYLE):
        figure = Figure(figsize=(2.6 * columns, 2.6 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in panels:
            axes.set_axis_off()
        for axes, (image, boxes, labels) in zip(panels, samples, strict=False):
            axes.imshow(image)
            for box, label in zip(boxes, labels, strict=True):
                plots.outline(axes, box - 0.5, LABEL_COLOURS[int(label)], 1.0)
        plots.save(figure, path)
