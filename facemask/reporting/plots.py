"""Pictures of a run: partitions, crops, training curves, confusion matrices and predictions.

Every function draws one picture and writes it to the path it is given; the suffix (.png, .jpg)
decides the format, and photographs are meant for .jpg. The same input gives the same bytes.
Colours (Okabe and Ito's, which colour-blind readers can tell apart) mean the same everywhere.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import cv2
import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, PercentFormatter

WITH, WITHOUT = "#56B4E9", "#E69F00"
LABEL_COLOURS = (WITHOUT, WITH)  # indexed by the label: 0 without a mask, 1 with one
LABEL_NAMES = ("without mask", "with mask")
WRONG, TRUTH = "#D55E00", "#FFFFFF"
TRAIN, VAL = "#0072B2", "#CC79A7"
MEASURED, PUBLISHED, GREY = "#009E73", "#FFFFFF", "#777777"
FACES = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#0072B2", "#999999")
DISTANCES = {"manhattan": "dx + dy", "euclidean": "√(dx² + dy²)", "chebyshev": "max(dx, dy)"}

DPI = 100
JPEG_QUALITY = 88
GAP = 8  # pixels between the cells of a sheet
# "default" first: what the user's own matplotlibrc says must not change the pictures.
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
def partition_picture(
    photo: np.ndarray,
    boxes: np.ndarray,
    partitions: Mapping[str, tuple[np.ndarray, np.ndarray]],
    min_area: int,
    path: str | os.PathLike[str],
) -> None:
    """Draw how each distance divides one photograph among its faces, a panel a distance.

    `photo` is (H, W, 3) uint8 RGB; `boxes` (F, 4) inclusive pixel ranges xmin, ymin, xmax, ymax;
    `partitions` maps the distance's name to (owner, rectangles): owner (H, W) int, the face at
    sampled pixels and -1 elsewhere, rectangles (F, 4) half-open x0, y0, x1, y1. Pixels that were
    not sampled take the colour of the nearest sampled one. A rectangle under `min_area` px² is
    dashed: it is no sample. ValueError where the arrays do not fit each other.
    """
    height, width = photo.shape[:2]
    boxes = np.asarray(boxes).reshape(-1, 4)
    for name, (owner, rectangles) in partitions.items():
        if owner.shape != (height, width) or len(rectangles) != len(boxes):
            raise ValueError(
                f"partition {name!r} has an owner map of {owner.shape} and {len(rectangles)} "
                f"rectangles; the photograph is {(height, width)} with {len(boxes)} faces"
            )
    colours = _face_colours(boxes)
    scale = min(4.4 / width, 5.0 / height)
    size = (len(partitions) * (width * scale + 0.12), height * scale + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(partitions), squeeze=False)[0]
    for axes, (name, (owner, rectangles)) in zip(panels, partitions.items(), strict=True):
        _photo_axes(axes, _tint(photo, owner, colours))
        kept = _areas(rectangles) >= min_area
        for face, (x0, y0, x1, y1) in enumerate(rectangles):
            rectangle = (x0, y0, x1, y1)
            _outline(axes, rectangle, colours[face], 2, "-" if kept[face] else (0, (3, 2)))
        for xmin, ymin, xmax, ymax in boxes:
            _outline(axes, (xmin, ymin, xmax + 1, ymax + 1), TRUTH, 1.2)
        distance = f": {DISTANCES[name]}" if name in DISTANCES else ""
        axes.set_title(f"{name.capitalize()}{distance}, {kept.sum()} of {len(boxes)} faces kept")
    figure.legend(
        handles=[
            key("face, as annotated", TRUTH, "-", 1.2),
            key(f"its rectangle, at least {min_area:,} px²: kept", GREY, "-", 2),
            key("smaller: no sample", GREY, (0, (3, 2)), 2),
        ],
        loc="outside lower center",
        ncols=3,
    )
    save(figure, path)


@style.context(STYLE)
def contact_sheet(
    crops: Iterable[np.ndarray],
    boxes: np.ndarray,
    labels: Sequence[int] | np.ndarray,
    path: str | os.PathLike[str],
    columns: int = 8,
) -> None:
    """Draw crops in rows, each with its face box in the colour of its label.

    `crops` are n arrays (s, s, 3) uint8 RGB; `boxes` (n, 4) corners x0, y0, x1, y1 relative to the
    crop, 0..1; `labels` n values, 0 without a mask and 1 with one. ValueError if the three differ
    in length or there is no crop.
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
    """Draw test crops with the annotated (dashed, white) and the predicted face box.

    `crops` are n arrays (s, s, 3) uint8 RGB, in the order of the rows of `predictions`, which has
    columns actual and predicted ("with_mask", "without_mask"), probability (of with_mask), iou,
    and true_x0 … true_y1, pred_x0 … pred_y1: corners relative to the crop. The number behind the
    label is the probability of the label predicted. A wrong label frames its crop.
    ValueError if the two differ in length or there is no crop.
    """
    crops = list(crops)
    if not crops or len(crops) != len(predictions):
        raise ValueError(f"{len(crops)} crops and {len(predictions)} predictions")
    cell = 168
    figure, axes, corners = _sheet(crops, cell, columns, caption=30, least=680)
    for (x, y), row in zip(corners, predictions.itertuples(), strict=True):
        predicted = int(row.predicted == "with_mask")
        wrong = row.predicted != row.actual
        true = (row.true_x0, row.true_y0, row.true_x1, row.true_y1)
        found = (row.pred_x0, row.pred_y0, row.pred_x1, row.pred_y1)
        _box_in_cell(axes, (x, y), cell, np.array(true), TRUTH, (0, (4, 2)))
        _box_in_cell(axes, (x, y), cell, np.array(found), LABEL_COLOURS[predicted])
        sure = row.probability if predicted else 1 - row.probability
        lines = [f"predicted {LABEL_NAMES[predicted]} {sure:.2f}", f"IoU {row.iou:.2f}"]
        if wrong:
            frame = Rectangle((x - 2, y - 2), cell + 4, cell + 4, fill=False, ec=WRONG, lw=4)
            axes.add_patch(frame)
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
    figure.legend(
        handles=[
            key("annotated", TRUTH, (0, (4, 2)), 2),
            key("predicted: with mask", WITH, "-", 2),
            key("predicted: without mask", WITHOUT, "-", 2),
            key("wrong label", WRONG, "-", 4),
        ],
        loc="upper center",
        ncols=4,
        borderaxespad=0.2,
    )
    save(figure, path)


@style.context(STYLE)
def experiment_picture(
    curves: pd.DataFrame,
    confusion: np.ndarray,
    title: str,
    best_epoch: int,
    path: str | os.PathLike[str],
) -> None:
    """Draw one experiment in a row: loss, accuracy, IoU, learning rate if it changes, confusion.

    `curves` has one row an epoch (1-based) and split ("train", "val") with columns loss, accuracy,
    iou and learning_rate; `confusion` is (2, 2) counts of test samples, actual labels down,
    predicted ones across, 0 without a mask first. `best_epoch` is the epoch whose weights were
    kept. `title` may have several lines; long ones are wrapped. ValueError if confusion has
    another shape.
    """
    confusion = np.asarray(confusion)
    if confusion.shape != (2, 2):
        raise ValueError(f"a confusion matrix of two classes is (2, 2), not {confusion.shape}")
    rates = curves.groupby("epoch")["learning_rate"].first().dropna()
    changes = len(np.unique(rates)) > 1
    widths = [1, 1, 1, *([0.6] if changes else []), 0.9]
    title = "\n".join(fill(line, 75) for line in title.split("\n"))
    height = 2.7 + 0.18 * title.count("\n")
    figure = Figure(figsize=(11 if changes else 10, height), layout="constrained")
    figure.suptitle(title, size=10, weight="bold", x=0.01, ha="left")
    panels = list(figure.subplots(1, len(widths), width_ratios=widths))
    for axes, (column, name) in zip(
        panels[:3],
        {"loss": "Total loss", "accuracy": "Accuracy", "iou": "IoU"}.items(),
        strict=True,
    ):
        _curve(axes, curves, column, best_epoch)
        axes.set_title(name)
        if column != "loss":
            axes.yaxis.set_major_formatter(PercentFormatter(1))
    figure.legend(
        handles=[
            key("train", TRAIN, "-", 1.6),
            key("validation", VAL, "-", 1.6),
            key("best epoch", GREY, ":", 1.2),
        ],
        loc="upper right",
        ncols=3,
        borderaxespad=0.2,
    )
    if changes:
        _learning_rate(panels[3], rates)
    _confusion(panels[-1], confusion)
    save(figure, path)


@style.context(STYLE)
def leaderboard_picture(leaderboard: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Draw measured and published accuracy and IoU of each experiment, and both recalls.

    `leaderboard` has a row an experiment as `study.leaderboard` gives it: id, family, note,
    majority_accuracy, recall_with_mask, recall_without_mask, and test_accuracy and test_iou
    with their _published twins, fractions 0..1, NaN where there is none. Rows are grouped by
    family in the order families first come, best first inside. A row with a note is starred and
    the notes stand below. ValueError without a row.
    """
    if leaderboard.empty:
        raise ValueError("no experiment to draw: the leaderboard has no row")
    rows, places, heads = _grouped(leaderboard)
    stars = {note: "*" * i for i, note in enumerate(filter(None, rows["note"].unique()), 1)}
    notes = [fill(f"{star} {note}", 150) for note, star in stars.items()]
    lines = sum(note.count("\n") + 1 for note in notes)
    height = 1.4 + 0.24 * (places[-1] + 1) + 0.16 * lines
    figure = Figure(figsize=(10, height), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    for axes, column, name in zip(
        panels[:2], ("test_accuracy", "test_iou"), ("Test accuracy", "Test IoU"), strict=True
    ):
        published, measured = rows[f"{column}_published"], rows[column]
        axes.hlines(places, published, measured, color=GREY, lw=1.5, zorder=2)
        # The ring is wider than the dot: both are seen where they coincide.
        axes.scatter(published, places, s=70, c=PUBLISHED, ec=GREY, lw=1.4, zorder=3)
        axes.scatter(measured, places, s=30, c=MEASURED, zorder=4)
        axes.set_title(name)
    for share in rows["majority_accuracy"].dropna().unique():
        panels[0].axvline(share, color="black", lw=1.2, ls="--", zorder=1)
    recalls = rows["recall_without_mask"], rows["recall_with_mask"]
    panels[2].hlines(places, *recalls, color="#CCCCCC", lw=1.5, zorder=2)
    for label, (recall, marker) in enumerate(zip(recalls, "so", strict=True)):
        panels[2].scatter(recall, places, s=32, c=LABEL_COLOURS[label], marker=marker, zorder=3)
    panels[2].set_title("Recall of each class (test)")
    names = [f"{row.id} {stars.get(row.note, '')}".strip() for row in rows.itertuples()]
    panels[0].set_yticks(places, names)
    panels[0].set_ylim(places[-1] + 0.7, -1.7)
    for family, place in heads.items():
        beside_axis = panels[0].get_yaxis_transform()
        panels[0].text(
            -0.01, place, family, transform=beside_axis, ha="right", va="center", weight="bold"
        )
    for axes in panels:
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
    figure.legend(handles=_leaderboard_keys(), loc="outside upper center", ncols=5)
    if notes:
        figure.supxlabel("\n".join(notes), size=9, x=0.01, ha="left")
    save(figure, path)


def _leaderboard_keys() -> list[Line2D]:
    dots = (
        ("measured", MEASURED, MEASURED, "o"),
        ("published", PUBLISHED, GREY, "o"),
        ("recall with mask", WITH, WITH, "o"),
        ("recall without mask", WITHOUT, WITHOUT, "s"),
    )
    keys = [
        Line2D([], [], ls="", marker=marker, color=face, markeredgecolor=edge, label=name)
        for name, face, edge, marker in dots
    ]
    keys.insert(2, Line2D([], [], color="black", lw=1.2, ls="--", label="majority class alone"))
    return keys


def _grouped(leaderboard: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray, dict[str, float]]:
    """Rows by family, the y of each row, and the y of each family's heading above its rows."""
    families = list(dict.fromkeys(leaderboard["family"]))
    order = leaderboard["family"].map(families.index)
    rows = leaderboard.assign(_family=order).sort_values(
        ["_family", "test_accuracy", "test_iou"], ascending=[True, False, False], kind="stable"
    )
    places = np.arange(len(rows)) + 1.6 * rows["_family"].to_numpy()
    heads = {name: places[rows["_family"] == i].min() - 1 for i, name in enumerate(families)}
    return rows, places, heads


def _curve(axes: Axes, curves: pd.DataFrame, column: str, best_epoch: int) -> None:
    axes.axvline(best_epoch, color=GREY, lw=1.2, ls=":")
    for split, colour in (("train", TRAIN), ("val", VAL)):
        line = curves[curves["split"] == split].sort_values("epoch")
        axes.plot(line["epoch"], line[column], color=colour, lw=1.6, marker=".", ms=4)
        best = line[line["epoch"] == best_epoch]
        axes.scatter(best["epoch"], best[column], s=36, fc="white", ec=colour, lw=1.6, zorder=3)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))


def _learning_rate(axes: Axes, rates: pd.Series) -> None:
    axes.step(rates.index, rates, color="black", lw=1.4, where="mid")
    axes.set(title="Learning rate", yscale="log", xlabel="epoch")
    values = np.unique(rates)
    shown = values[np.linspace(0, len(values) - 1, min(4, len(values))).round().astype(int)]
    axes.set_yticks(shown, [f"{value:.1e}" for value in shown])
    axes.minorticks_off()
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))


def _confusion(axes: Axes, confusion: np.ndarray) -> None:
    totals = confusion.sum(axis=1, keepdims=True)
    shares = np.divide(confusion, totals, out=np.zeros((2, 2)), where=totals > 0)
    # The square is filled with the share of its row, so that the small class is seen as well.
    blues = LinearSegmentedColormap.from_list("shares", ["white", TRAIN])
    axes.imshow(shares, cmap=blues, vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        axes.text(
            column,
            row,
            f"{confusion[row, column]:,}\n{share:.1%}",
            ha="center",
            va="center",
            color="white" if share > 0.55 else "black",
        )
    names = [name.replace(" ", "\n") for name in LABEL_NAMES]
    axes.set_xticks([0, 1], names, size=8)
    axes.set_yticks([0, 1], names, size=8)
    axes.set(title="Test samples", xlabel="predicted", ylabel="actual")
    axes.grid(visible=False)
    axes.tick_params(length=0)


def _face_colours(boxes: np.ndarray) -> list[str]:
    """A colour a face, dealt out from left to right so that neighbours seldom share one."""
    ranks = np.argsort(np.argsort(boxes[:, 0] + boxes[:, 2], kind="stable"), kind="stable")
    return [FACES[rank % len(FACES)] for rank in ranks]


def _tint(photo: np.ndarray, owner: np.ndarray, colours: list[str]) -> np.ndarray:
    """The photograph under the translucent colours of the faces that own its pixels."""
    sampled = owner >= 0
    if not sampled.any():
        return photo
    # Distance to the nearest zero: sampled pixels are the zeros, each with a label of its own.
    _, nearest = cv2.distanceTransformWithLabels(
        (~sampled).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    faces = np.empty(nearest.max() + 1, dtype=int)
    faces[nearest[sampled]] = owner[sampled]
    palette = np.array([to_rgb(colour) for colour in colours]) * 255
    return (0.62 * photo + 0.38 * palette[faces[nearest]]).round().astype(np.uint8)


def _photo_axes(axes: Axes, photo: np.ndarray) -> None:
    """Show a photograph with pixel (x, y) spanning x..x+1, y..y+1."""
    height, width = photo.shape[:2]
    axes.imshow(photo, extent=(0, width, height, 0), interpolation="antialiased")
    # Room for the outlines that run along the border.
    axes.set(xlim=(-2, width + 2), ylim=(height + 2, -2))
    axes.set_axis_off()


def _outline(
    axes: Axes,
    rectangle: Sequence[float],
    colour: str,
    width: float,
    dashes: str | tuple[int, tuple[int, ...]] = "-",
) -> Rectangle:
    """A half-open rectangle x0, y0, x1, y1 with a dark edge that shows on any ground."""
    x0, y0, x1, y1 = rectangle
    patch = Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=colour, lw=width, ls=dashes)
    patch.set_path_effects([withStroke(linewidth=width + 1.4, foreground="#000000AA")])
    axes.add_patch(patch)
    return patch


def key(name: str, colour: str, dashes: str | tuple[int, tuple[int, ...]], width: float) -> Line2D:
    """A line for a legend, with a dark edge if it is white."""
    line = Line2D([], [], color=colour, ls=dashes, lw=width, label=name)
    if colour == TRUTH:
        line.set_path_effects([withStroke(linewidth=width + 1.6, foreground="#000000AA")])
    return line


def _areas(rectangles: np.ndarray) -> np.ndarray:
    x0, y0, x1, y1 = np.asarray(rectangles).reshape(-1, 4).T
    return (x1 - x0) * (y1 - y0)


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
    box: np.ndarray,
    colour: str,
    dashes: str | tuple[int, tuple[int, ...]] = "-",
) -> None:
    """A box in corners relative to its crop; what leaves the crop is cut off, not moved."""
    x, y = corner
    x0, y0, x1, y1 = np.asarray(box, dtype=float) * cell
    patch = _outline(axes, (x + x0, y + y0, x + x1, y + y1), colour, 1.8, dashes)
    patch.set_clip_path(Rectangle((x, y), cell, cell, transform=axes.transData))


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
        raise ValueError(f"{path}: a picture is written as .png or .jpg, not {suffix!r}")
