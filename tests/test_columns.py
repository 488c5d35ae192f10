"""Boxes from the columns of tables."""

import numpy as np
import pandas as pd

from facemask.columns import true_boxes


def test_true_boxes_divide_x_by_width_and_y_by_height() -> None:
    names = ["x0", "y0", "x1", "y1", "box_x0", "box_y0", "box_x1", "box_y1"]
    rows = [(50, 7, 150, 207, 10, 20, 60, 80), (0, 0, 30, 50, 0, 0, 30, 50)]
    found = true_boxes(pd.DataFrame(rows, columns=names))
    np.testing.assert_allclose(found, [[0.1, 0.1, 0.6, 0.4], [0, 0, 1, 1]], rtol=1e-6)
    assert found.dtype == np.float32
