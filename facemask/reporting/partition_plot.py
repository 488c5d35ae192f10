"""The plot of a partition: one image divided among its faces by several distances.

Style and colours are those of `plots`.
"""

import os
from collections.abc import Mapping

import cv2
import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from facemask.reporting.plots import FACES, GREY, STYLE, TRUTH, key, outline, save

DISTANCES = {"manhattan": "dx + dy", "euclidean": "√(dx² + dy²)", "chebyshev": "max(dx, dy)"}


@style.context(STYLE)
def partition_plot(
    image: np.ndarray,
    boxes: np.ndarray,
    partitions: Mapping[str, tuple[np.ndarray, np.ndarray]],
    min_area: int,
    path: str | os.PathLike[str],
) -> None:
    """Draw how each distance divides one image among its faces, one panel per distance.

    Pixels that are not in the sampling grid take the colour of the nearest one that is. A crop
    region under min_area is dashed: it is no sample.

    Args:
        image: (H, W, 3) uint8 RGB.
        boxes: (F, 4) inclusive px xmin, ymin, xmax, ymax.
        partitions: of each distance (owner, regions): owner (H, W) int, the face at sampled pixels
            and -1 elsewhere; regions (F, 4) half-open x0, y0, x1, y1.
        min_area: px².
        path: where to.

    Raises:
        ValueError: the arrays do not fit each other.
    """
    height, width = image.shape[:2]
    boxes = np.asarray(boxes).reshape(-1, 4)
    for name, (owner, regions) in partitions.items():
        if owner.shape != (height, width) or len(regions) != len(boxes):
            raise ValueError(
                f"partition {name!r} has an owner map of {owner.shape} and {len(regions)} "
                f"regions; the image is {(height, width)} with {len(boxes)} faces"
            )
    scale = min(4.4 / width, 5.0 / height)
    size = (len(partitions) * (width * scale + 0.12), height * scale + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(partitions), squeeze=False)[0]
    for axes, (name, (owner, regions)) in zip(panels, partitions.items(), strict=True):
        kept = np.prod(regions[:, 2:] - regions[:, :2], axis=1) >= min_area
        _partition(axes, image, boxes, owner, regions, kept)
        distance = f": {DISTANCES[name]}" if name in DISTANCES else ""
        axes.set_title(f"{name.capitalize()}{distance}, {kept.sum()} of {len(boxes)} faces kept")
    figure.legend(
        handles=[
            key("face, as annotated", TRUTH, "-", 1.2),
            key(f"its crop region, at least {min_area:,} px²: kept", GREY, "-", 2),
            key("smaller: no sample", GREY, (0, (3, 2)), 2),
        ],
        loc="outside lower center",
        ncols=3,
    )
    save(figure, path)


def _partition(
    axes: Axes,
    image: np.ndarray,
    boxes: np.ndarray,
    owner: np.ndarray,
    regions: np.ndarray,
    kept: np.ndarray,
) -> None:
    colours = _face_colours(boxes)
    height, width = image.shape[:2]
    # Pixel (x, y) spans x..x+1, y..y+1.
    tinted = _tint(image, owner, colours)
    axes.imshow(tinted, extent=(0, width, height, 0), interpolation="antialiased")
    # Room for the outlines that run along the border.
    axes.set(xlim=(-2, width + 2), ylim=(height + 2, -2))
    axes.set_axis_off()
    for region, colour, whole in zip(regions, colours, kept, strict=True):
        outline(axes, region, colour, 2, "-" if whole else (0, (3, 2)))
    for xmin, ymin, xmax, ymax in boxes:
        outline(axes, (xmin, ymin, xmax + 1, ymax + 1), TRUTH, 1.2)


def _face_colours(boxes: np.ndarray) -> list[str]:
    """One colour per face, dealt out from left to right so that neighbours seldom share one."""
    ranks = np.argsort(np.argsort(boxes[:, 0] + boxes[:, 2], kind="stable"), kind="stable")
    return [FACES[rank % len(FACES)] for rank in ranks]


def _tint(image: np.ndarray, owner: np.ndarray, colours: list[str]) -> np.ndarray:
    """The image under the translucent colours of the faces that own its pixels."""
    sampled = owner >= 0
    if not sampled.any():
        return image
    # Distance to the nearest zero: sampled pixels are the zeros, each with a label of its own.
    _, nearest = cv2.distanceTransformWithLabels(
        (~sampled).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    faces = np.empty(nearest.max() + 1, dtype=int)
    faces[nearest[sampled]] = owner[sampled]
    palette = np.array([to_rgb(colour) for colour in colours]) * 255
    return (0.62 * image + 0.38 * palette[faces[nearest]]).round().astype(np.uint8)
