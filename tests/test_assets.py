import cv2
import numpy as np
import pandas as pd
import pytest

from facemask.config.data import Crop
from facemask.reporting import assets


def metrics(accuracy, test):
    return {"val": {"accuracy": accuracy}, "test": {"accuracy": test}, "best_epoch": 1}


def test_the_best_of_a_family_is_chosen_on_validation_whatever_the_test_says():
    measured = {"a": metrics(0.7, 0.9), "b": metrics(0.8, 0.1), "c": metrics(0.5, 0.5)}
    families = {"a": "scratch", "b": "scratch", "c": "further"}
    assert assets.best_on_validation(measured, families) == ["b", "c"]


@pytest.mark.parametrize(("rows", "count"), [(10, 4), (4, 10), (1, 3), (100, 7)])
def test_evenly_spaced_takes_different_rows_from_end_to_end(rows, count):
    chosen = assets.evenly_spaced(pd.DataFrame({"row": range(rows)}), count)["row"]
    assert chosen.is_unique
    assert chosen.is_monotonic_increasing
    assert len(chosen) == min(rows, count)
    if count > 1:
        assert chosen.iloc[[0, -1]].tolist() == ([0, rows - 1])


def test_the_partition_is_drawn_on_the_image_that_gives_most_crops(tmp_path, monkeypatch):
    for number, name in enumerate(["a.png", "b.png"]):
        cv2.imwrite(str(tmp_path / name), np.full((40, 60, 3), 100 + number, np.uint8))
    boxes = {"a.png": [(2, 2, 10, 10)], "b.png": [(2, 2, 10, 10), (40, 20, 50, 30)]}
    faces = pd.DataFrame(
        [(name, *box) for name, found in boxes.items() for box in found],
        columns=["image", "xmin", "ymin", "xmax", "ymax"],
    )
    drawn = {}
    monkeypatch.setattr(
        assets.partition_plot,
        "partition_plot",
        lambda *arguments: drawn.update(
            zip(["image", "boxes", "partitions"], arguments, strict=False)
        ),
    )
    crop = Crop(metric="manhattan", grid_stride=5, grid_offset=2, min_area=10)
    assets.draw_partition(tmp_path, faces, faces[["image"]], crop, tmp_path / "x.jpg")
    assert drawn["image"].mean() == 101
    np.testing.assert_array_equal(drawn["boxes"], boxes["b.png"])
    assert set(drawn["partitions"]) == {"manhattan", "euclidean", "chebyshev"}
    for owner, found in drawn["partitions"].values():
        assert owner.shape == (40, 60)
        assert len(found) == 2
