"""Plots of localizers: drawn from what they are given, boxes at their place."""

import cv2
import numpy as np
import pandas as pd
import pytest

from facemask.columns import CLASSES, CROP_BOX, CROP_REGION, true_boxes
from facemask.evaluation import error_analysis
from facemask.inference.table import table_of
from facemask.reporting import localizer_plots, plots
from facemask.reporting.tables import METRICS

VARIANTS = {
    "baseline": {"val": {key: [0.5, 0.75] for key in localizer_plots.COMPARED}},
    "one_pass": {"val": {key: [0.25] for key in localizer_plots.COMPARED}},
}


@pytest.fixture(scope="module")
def toys():
    """Grey crops of several aspects with a square in each: red without a mask, else blue."""
    rng = np.random.default_rng(0)
    rows, crops = [], []
    for number, split in enumerate(["val"] * 8 + ["test"] * 8):
        width, height = rng.integers(40, 90, 2)
        side = rng.integers(12, 24)
        x, y = rng.integers(0, width - side), rng.integers(0, height - side)
        crops.append(np.full((height, width, 3), 90, np.uint8))
        crops[-1][y : y + side, x : x + side] = (0, 0, 255) if number % 2 else (255, 0, 0)
        rows.append((number, 0, 0, width, height, x, y, x + side, y + side, number % 2, split))
    columns = ["sample", *CROP_REGION, *CROP_BOX, "label", "split"]
    return crops, pd.DataFrame(rows, columns=columns).assign(image="a.png", face=0, flip=0)


def predicted(splits):
    rng = np.random.default_rng(0)
    box = true_boxes(splits) + rng.normal(0, 0.05, (len(splits), 4)).astype(np.float32)
    actual, probability = np.array(CLASSES)[splits["label"]], rng.random(len(splits))
    return table_of(splits, actual, true_boxes(splits), probability, box)


def test_sheets_show_crops_in_their_aspect_and_boxes_where_they_are(toys, monkeypatch):
    crops, splits = toys
    given = {}
    monkeypatch.setattr(
        plots, "prediction_sheet", lambda images, table, path: given.update(i=images, t=table)
    )
    localizer_plots.prediction_sheet(crops, predicted(splits).iloc[5:9], "unused.jpg")
    for image, number, row in zip(given["i"], range(5, 9), given["t"].itertuples(), strict=True):
        height, width = crops[number].shape[:2]
        padded = (image == 127).all(axis=2)
        share = min(width, height) / max(width, height)
        assert 1 - padded.mean() == pytest.approx(share, abs=0.03)
        # The one coloured square is where the true box is said to be.
        y, x = np.nonzero(image.max(axis=2).astype(int) - image.min(axis=2) > 60)
        seen = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]) / localizer_plots.CELL
        box = [row.true_x0, row.true_y0, row.true_x1, row.true_y1]
        np.testing.assert_allclose(box, seen, atol=0.02)


def test_all_plots_are_drawn_and_wrong_labels_only_if_there_are(toys, tmp_path):
    crops, splits = toys
    table = predicted(splits)
    faces = pd.DataFrame({"image": "a.png", "face": [0], "name": ["with_mask"]})
    described = error_analysis.described(table, splits.assign(enclosed=0), faces)
    given = {
        "crops": crops,
        "predictions": {"finder": table, "other": table},
        "groups": error_analysis.by_group(described),
    }
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    drawn = localizer_plots.draw(tmp_path / "a", validated=table, ablation=VARIANTS, **given)
    always = {"reliability", "groups", "worst", "ablation"}
    assert set(drawn) == {*always, "misclassified"}
    for name in drawn.values():
        assert cv2.imread(str(tmp_path / "a" / name)).std() > 5
    right = table[table["actual"] == table["predicted"]]
    drawn = localizer_plots.draw(tmp_path / "b", validated=right, ablation=VARIANTS, **given)
    assert set(drawn) == always
    name = "reliability.png"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_variants_are_dots_beside_the_mean_and_band_of_the_first(monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "save", lambda figure, path: drawn.append(figure))
    localizer_plots.ablation_plot(VARIANTS, "unused.png")
    for axes, key in zip(drawn[0].axes, localizer_plots.COMPARED, strict=True):
        assert axes.get_title() == f"{METRICS[key]}, %"
        mean, *rows = [line.get_xydata().tolist() for line in axes.lines]
        assert mean == [[62.5, 0], [62.5, 1]]
        assert rows == [[[50, 0], [75, 0]], [[62.5, 0]], [[25, 1]], [[25, 1]]]
        (band,) = axes.patches
        assert (band.get_x(), band.get_width()) == (50, 25)
    assert [tick.get_text() for tick in drawn[0].axes[0].get_yticklabels()] == list(VARIANTS)
