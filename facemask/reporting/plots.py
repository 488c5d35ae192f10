"""Style of all plots, and sheets of crops with boxes.

Every function draws one plot and writes it to the path it is given; the suffix (.png, .jpg)
decides the format, and sheets of images are meant for .jpg. The same input gives the same bytes.
Colours (Okabe and Ito's, which colour-blind readers can tell apart) mean the same everywhere.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from facemask.columns import PREDICTED, TRUE, WITH

Dashes = str | tuple[int, tuple[int, ...]]

LABEL_COLOURS = ("#E69F00", "#56B4E9")  # by label: 0 without a mask, 1 with one
LABEL_NAMES = ("without mask", "with mask")
WRONG, TRUTH = "#D55E00", "#FFFFFF"
TRAIN, VAL = "#0072B2", "#CC79A7"
MEASURED, PUBLISHED, GREY = "#009E73", "#FFFFFF", "#777777"
FACES = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#0072B2", "#999999")

DPI = 100
JPEG_QUALITY = 88
GAP = 8  # pixels between the cells of a sheet
# "default" first: what the user's own matplotlibrc says must not change the plots.
STYLE: list[str | dict[str, Any]] = [
    "default",
    {
        "figure.dpi": DPI,
        "savefig.dpi": DPI,
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#E5E5E5",
        "axes.axisbelow": True,
        "legend.frameon": False,
        "text.parse_math": False,
    },
]


@style.context(STYLE)
def contact_sheet(
    crops: Iterable[np.ndarray],
    boxes: np.ndarray,
    labels: Sequence[int] | np.ndarray,
    path: str | os.PathLike[str],
    columns: int = 8,
) -> None:
    """Draw crops in rows, each with its face box in the colour of its label.

    Args:
        crops: n arrays (s, s, 3) uint8 RGB.
        boxes: (n, 4) corners x0, y0, x1, y1, divided by the crop's sides.
        labels: n values, 0 without a mask and 1 with one.
        path: where to.
        columns: crops in a row.

    Raises:
        ValueError: the three differ in length, or there is no crop.
    """
    crops, labels = list(crops), np.asarray(labels, dtype=int)
    if not crops or not len(crops) == len(boxes) == len(labels):
        raise ValueError(f"{len(crops)} crops, {len(boxes)} boxes and {len(labels)} labels")
    cell = 128
    figure, axes, corners = _sheet(crops, cell, columns, caption=0, least=400)
    for corner, box, label in zip(corners, np.asarray(boxes, dtype=float), labels, strict=True):
        _box_in_cell(axes, corner, cell, box, LABEL_COLOURS[label])
    counts = np.bincount(labels, minlength=2)
    figure.legend(
        handles=[
            key(f"face {LABEL_NAMES[i]} ({counts[i]})", LABEL_COLOURS[i], "-", 2) for i in (1, 0)
        ],
        loc="upper center",
        ncols=2,
        borderaxespad=0.2,
    )
    save(figure, path)


@style.context(STYLE)
def prediction_sheet(
    crops: Iterable[np.ndarray],
    predictions: pd.DataFrame,
    path: str | os.PathLike[str],
    columns: int = 6,
) -> None:
    """Draw crops with the annotated (dashed, white) and the predicted face box.

    Args:
        crops: n arrays (s, s, 3) uint8 RGB, in the order of the rows of predictions.
        predictions: actual and predicted ("with_mask", "without_mask"), probability (of
            with_mask), iou, TRUE and PREDICTED corners divided by the crop's sides. A wrong label
            frames its crop.
        path: where to.
        columns: crops in a row.

    Raises:
        ValueError: the two differ in length, or there is no crop.
    """
    crops = list(crops)
    if not crops or len(crops) != len(predictions):
        raise ValueError(f"{len(crops)} crops and {len(predictions)} predictions")
    cell = 168
    figure, axes, corners = _sheet(crops, cell, columns, caption=30, least=680)
    for corner, (_, row) in zip(corners, predictions.iterrows(), strict=True):
        colour = LABEL_COLOURS[int(row["predicted"] == WITH)]
        _box_in_cell(axes, corner, cell, row[TRUE], TRUTH, (0, (4, 2)))
        _box_in_cell(axes, corner, cell, row[PREDICTED], colour)
        _caption(axes, corner, cell, row)
    figure.legend(
        handles=[
            key("annotated", TRUTH, (0, (4, 2)), 2),
            key("predicted: with mask", LABEL_COLOURS[1], "-", 2),
            key("predicted: without mask", LABEL_COLOURS[0], "-", 2),
            key("wrong label", WRONG, "-", 4),
        ],
        loc="upper center",
        ncols=4,
        borderaxespad=0.2,
    )
    save(figure, path)


def _caption(axes: Axes, corner: tuple[int, int], cell: int, row: pd.Series) -> None:
    """The predicted label with its confidence and the IoU; what the label is, if it is wrong."""
    x, y = corner
    predicted = int(row["predicted"] == WITH)
    wrong = row["predicted"] != row["actual"]
    confidence = row["probability"] if predicted else 1 - row["probability"]
    lines = [f"predicted {LABEL_NAMES[predicted]} {confidence:.2f}", f"IoU {row['iou']:.2f}"]
    if wrong:
        axes.add_patch(Rectangle((x - 2, y - 2), cell + 4, cell + 4, fill=False, ec=WRONG, lw=4))
        lines[1] += f"  ✗ is {LABEL_NAMES[1 - predicted]}"
    axes.text(
        x,
        y + cell + 5,
        "\n".join(lines),
        va="top",
        size=8,
        color=WRONG if wrong else "black",
        weight="bold" if wrong else "normal",
        stretch="condensed",
    )


def _sheet(
    crops: list[np.ndarray], cell: int, columns: int, caption: int, least: int
) -> tuple[Figure, Axes, list[tuple[int, int]]]:
    """A sheet with every crop `cell` pixels wide, in axes whose unit is the pixel, and the
    left upper corner of each crop; a head for the legend above, which needs `least` pixels of
    width, and `caption` pixels below each crop.
    """
    head, columns = 26, min(columns, len(crops))
    rows = -(-len(crops) // columns)
    step_x, step_y = cell + GAP, cell + caption + GAP
    size = (head + rows * step_y + GAP, max(columns * step_x + GAP, least), 3)
    sheet = np.full(size, 255, dtype=np.uint8)
    corners = [
        (GAP + i % columns * step_x, head + i // columns * step_y) for i in range(len(crops))
    ]
    for (x, y), crop in zip(corners, crops, strict=True):
        method = cv2.INTER_AREA if crop.shape[0] > cell else cv2.INTER_LINEAR
        sheet[y : y + cell, x : x + cell] = cv2.resize(crop, (cell, cell), interpolation=method)
    height, width = sheet.shape[:2]
    # The thousandth of a pixel keeps the division from losing the last row or column.
    figure = Figure(figsize=((width + 1e-3) / DPI, (height + 1e-3) / DPI))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(sheet, extent=(0, width, height, 0), interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    return figure, axes, corners


def _box_in_cell(
    axes: Axes,
    corner: tuple[int, int],
    cell: int,
    box: np.ndarray | pd.Series,
    colour: str,
    dashes: Dashes = "-",
) -> None:
    """Draw a box in corners relative to its crop; what leaves the crop is cut off, not moved."""
    x, y = corner
    x0, y0, x1, y1 = np.asarray(box, dtype=float) * cell
    patch = outline(axes, (x + x0, y + y0, x + x1, y + y1), colour, 1.8, dashes)
    patch.set_clip_path(Rectangle((x, y), cell, cell, transform=axes.transData))


def outline(
    axes: Axes,
    region: Sequence[float],
    colour: str,
    width: float,
    dashes: Dashes = "-",
) -> Rectangle:
    """Draw half-open x0, y0, x1, y1 with a dark edge that shows on any ground."""
    x0, y0, x1, y1 = region
    patch = Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=colour, lw=width, ls=dashes)
    patch.set_path_effects([withStroke(linewidth=width + 1.4, foreground="#000000AA")])
    axes.add_patch(patch)
    return patch


def key(name: str, colour: str, dashes: Dashes, width: float) -> Line2D:
    """Return a line for a legend, with a dark edge if it is white."""
    line = Line2D([], [], color=colour, ls=dashes, lw=width, label=name)
    if colour == TRUTH:
        line.set_path_effects([withStroke(linewidth=width + 1.6, foreground="#000000AA")])
    return line


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as .png or .jpg, the same figure as the same bytes.

    Raises:
        ValueError: the path ends otherwise.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".png":
        # Without the entry matplotlib writes its own version, and bytes change with it.
        figure.savefig(path, metadata={"Software": None})
    elif suffix in (".jpg", ".jpeg"):
        figure.savefig(path, pil_kwargs={"quality": JPEG_QUALITY})
    else:
        raise ValueError(f"{path}: a plot is written as .png or .jpg, not {suffix!r}")
