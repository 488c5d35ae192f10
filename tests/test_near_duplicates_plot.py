"""The sheet of near-duplicates: a row a group, the largest first, and each image in its place."""

import numpy as np
import pandas as pd
from PIL import Image

from facemask.reporting.near_duplicates_plot import CELL, LINE, group_sheet


def sheet(path, groups, shades):
    names = [f"{number}.png" for number in range(len(groups))]
    images = pd.DataFrame({"image": names, "width": 300, "height": 200})
    thumbnails = np.stack([np.full((128, 128), shade, np.uint8) for shade in shades])
    group_sheet(pd.Series(groups, names), images, thumbnails, path)
    return np.asarray(Image.open(path), int)


def test_groups_are_rows_and_images_alone_are_left_out(tmp_path):
    drawn = sheet(tmp_path / "new/a.jpg", [0, 1, 1, 2, 0, 0], [10, 60, 80, 120, 160, 200])
    height = CELL + 2 * LINE
    assert drawn.shape == (2 * height, 3 * CELL)
    cells = drawn[LINE + 40 :: height, CELL // 2 :: CELL]
    np.testing.assert_allclose(cells, [[10, 160, 200], [60, 80, 255]], atol=4)


def test_no_group_is_said(tmp_path):
    drawn = sheet(tmp_path / "a.jpg", [0, 1], [10, 20])
    assert (drawn < 128).any()
    assert drawn.shape[1] == 3 * CELL
