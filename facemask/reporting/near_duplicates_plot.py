"""The near-duplicates of a dataset as a picture: the largest groups, one per row."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

ROWS, COLUMNS, CELL, LINE = 12, 8, 160, 16  # the last two in px
NONE = "No image is a near-duplicate of another."


def group_sheet(
    groups: pd.Series, images: pd.DataFrame, thumbnails: np.ndarray, path: Path
) -> None:
    """Draw the largest groups of near-duplicates, a row each, with the images' names.

    Args:
        groups: the group of each image, as `near_duplicates.group` returns it.
        images: the table of `images.inventory`, in the same order.
        thumbnails: `images.thumbnail` of each.
        path: of the picture.
    """
    sizes = groups.value_counts(sort=False).sort_values(ascending=False, kind="stable")
    numbers = groups.to_numpy()
    largest = [np.flatnonzero(numbers == number) for number in sizes[sizes > 1].index[:ROWS]]
    columns = min(COLUMNS, max(map(len, largest), default=3))
    sheet = Image.new("L", (CELL * columns, max(1, len(largest)) * (CELL + 2 * LINE)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    if not largest:
        draw.text((8, LINE), NONE, "black", font)
    for row, members in enumerate(largest):
        top = row * (CELL + 2 * LINE)
        draw.text((4, top + 2), f"{len(members)} images", "black", font)
        for column, member in enumerate(members[:COLUMNS]):
            name, width, height = images.iloc[member][["image", "width", "height"]]
            scale = (CELL - 4) / max(width, height)
            sides = (max(1, round(scale * width)), max(1, round(scale * height)))
            small = Image.fromarray(np.asarray(thumbnails[member])).resize(sides)
            sheet.paste(small, (CELL * column, top + LINE))
            draw.text((CELL * column + 4, top + LINE + sides[1]), name[:26], "black", font)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, quality=85)
