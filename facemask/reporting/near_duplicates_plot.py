"""The near-duplicates of a dataset as a picture: the largest groups, one per row."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from facemask.data.images import read_rgb

ROWS, COLUMNS, CELL, LINE = 12, 8, 160, 16  # the last two in px
NONE = "No image is a near-duplicate of another."


def group_sheet(groups: pd.Series, images: Path, path: Path) -> None:
    """Draw the largest groups of near-duplicates, a row each, with the images' names.

    Args:
        groups: the group of each image by its name, as `near_duplicates.group` returns it.
        images: folder of the images.
        path: of the picture.
    """
    sizes = groups.value_counts(sort=False).sort_values(ascending=False, kind="stable")
    largest = [groups.index[groups == number] for number in sizes[sizes > 1].index[:ROWS]]
    columns = min(COLUMNS, max(map(len, largest), default=3))
    sheet = Image.new("RGB", (CELL * columns, max(1, len(largest)) * (CELL + 2 * LINE)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    if not largest:
        draw.text((8, LINE), NONE, "black", font)
    for row, names in enumerate(largest):
        top = row * (CELL + 2 * LINE)
        draw.text((4, top + 2), f"{len(names)} images", "black", font)
        for column, name in enumerate(names[:COLUMNS]):
            image = Image.fromarray(np.ascontiguousarray(read_rgb(images / name)))
            image.thumbnail((CELL - 4, CELL))
            sheet.paste(image, (CELL * column, top + LINE))
            below = top + LINE + image.height
            draw.text((CELL * column + 4, below), name[:26], "black", font)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, quality=85)
