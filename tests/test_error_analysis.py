"""Where a network fails: against sums by hand over random predictions."""

import numpy as np
import pandas as pd
import pytest

from facemask.evaluation import error_analysis

CLASSES = ["mask_weared_incorrect", "with_mask", "without_mask"]


@pytest.fixture
def tables() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(0)
    count = 300
    faces = pd.DataFrame({"image": "a.png", "face": range(count)})
    faces["name"] = rng.choice(CLASSES, count)
    sides = np.exp(rng.uniform(1.5, 5, (count, 2))).astype(int)
    samples = pd.DataFrame({"sample": range(count), "image": "a.png", "face": range(count)})
    samples[["box_x0", "box_y0"]] = 0
    samples[["box_x1", "box_y1"]] = sides
    samples["enclosed"] = rng.integers(0, 6, count)
    predictions = samples[["sample", "image", "face"]].copy()
    predictions["actual"] = rng.choice(["with_mask", "without_mask"], count)
    predictions["predicted"] = rng.choice(["with_mask", "without_mask"], count)
    predictions["probability"] = rng.random(count)
    predictions["iou"] = rng.random(count)
    return predictions.sample(frac=0.6, random_state=1).reset_index(drop=True), samples, faces


def test_groups_are_sums_over_their_samples(tables) -> None:
    predictions, samples, faces = tables
    groups = error_analysis.by_group(error_analysis.described(*tables))
    side = samples[["box_x1", "box_y1"]].max(axis=1)[predictions["sample"]].to_numpy()
    right = (predictions["actual"] == predictions["predicted"]).to_numpy()
    iou = predictions["iou"].to_numpy()
    inside = {
        "to 16 px": side <= 16,
        "16-24 px": (side > 16) & (side <= 24),
        "64-96 px": (side > 64) & (side <= 96),
        "above 96 px": side > 96,
    }
    enclosed = samples["enclosed"][predictions["sample"]].to_numpy()
    inside |= {"0": enclosed == 0, "2": enclosed == 2, "3 or more": enclosed >= 3}
    name = faces["name"][predictions["sample"]].to_numpy()
    inside |= {kind: name == kind for kind in CLASSES}
    found = pd.concat(groups.values()).set_index("group")
    for group, mask in inside.items():
        row = found.loc[group]
        assert row["samples"] == mask.sum() > 0
        assert row["accuracy"] == pytest.approx(right[mask].mean())
        assert row["mean_iou"] == pytest.approx(iou[mask].mean())
        assert row["iou_50"] == pytest.approx((iou[mask] >= 0.5).mean())
    for table in groups.values():
        assert table["samples"].sum() == len(predictions)
    assert list(groups["size"]["group"])[:3] == ["to 16 px", "16-24 px", "24-32 px"]
    assert list(groups["enclosed"]["group"]) == ["0", "1", "2", "3 or more"]


def test_groups_without_a_sample_are_left_out(tables) -> None:
    predictions, samples, faces = tables
    few = error_analysis.described(predictions[:1], samples, faces)
    assert [len(table) for table in error_analysis.by_group(few).values()] == [1, 1, 1]


def test_the_worst_come_first(tables) -> None:
    predictions, *_ = tables
    worst = error_analysis.worst_boxes(predictions, 24)
    assert len(worst) == 24
    assert worst["iou"].is_monotonic_increasing
    assert worst["iou"].max() <= predictions["iou"].nsmallest(24).max()
    wrong = error_analysis.misclassified(predictions)
    assert set(wrong["sample"]) == set(
        predictions.loc[predictions["actual"] != predictions["predicted"], "sample"]
    )
    assert (wrong["probability"] - 0.5).abs().is_monotonic_decreasing
    assert list(wrong.columns) == list(predictions.columns)
