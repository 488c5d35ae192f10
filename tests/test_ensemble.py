"""Ensembles: between their members, calibrated, and swayed by quality."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from facemask.columns import CLASSES, PREDICTED, TRUE
from facemask.errors import InputError
from facemask.evaluation import calibration
from facemask.inference import ensemble
from facemask.models import boxes


def predictions(seed: int, sharpness: float = 1.0, count: int = 400) -> pd.DataFrame:
    """What a network might predict on samples that are the same for every seed."""
    known, own = np.random.default_rng(0), np.random.default_rng([1, seed])
    label = known.integers(0, 2, count)
    true = np.sort(known.random((count, 2, 2)), axis=1).reshape(count, 4).astype(np.float32)
    logits = sharpness * (2 * label - 1 + own.normal(0, 1, count))
    table = pd.DataFrame({"sample": np.arange(count), "image": "a.png", "face": 0, "flip": 0})
    table["split"] = known.choice(["train", "val", "test"], count)
    table["actual"] = np.array(CLASSES)[label]
    table["probability"] = 1 / (1 + np.exp(-logits))
    table["predicted"] = np.array(CLASSES)[(table["probability"] > 0.5).astype(int)]
    table[TRUE] = true
    table[PREDICTED] = true + own.normal(0, 0.05, (count, 4))
    table["iou"] = np.asarray(boxes.iou(true, table[PREDICTED].to_numpy(np.float32)))
    return table


def fuse(members: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The members as one, each calibrated on its validation samples."""
    return ensemble.fuse([calibrated(table) for table in members])


def calibrated(table: pd.DataFrame) -> pd.DataFrame:
    return calibration.calibrated(table, calibration.temperature(table[table["split"] == "val"]))


def test_several_make_fewer_mistakes_than_each() -> None:
    members = [predictions(seed) for seed in range(5)]
    fused = fuse(members)
    assert fused["iou"].mean() > max(table["iou"].mean() for table in members)
    rights = [(table["actual"] == table["predicted"]).mean() for table in [*members, fused]]
    assert rights[-1] > max(rights[:-1])
    np.testing.assert_allclose(
        fused["iou"],
        boxes.iou(fused[TRUE].to_numpy(np.float32), fused[PREDICTED].to_numpy(np.float32)),
        atol=1e-6,
    )


def test_of_a_network_and_itself_comes_its_calibrated_prediction() -> None:
    one = predictions(3, sharpness=4)
    fused = fuse([one, one])
    np.testing.assert_allclose(fused[PREDICTED], one[PREDICTED], atol=1e-6)
    assert (fused["predicted"] == one["predicted"]).all()
    divisor = calibration.temperature(one[one["split"] == "val"])
    assert divisor > 1.5
    np.testing.assert_allclose(fused["probability"], calibrated(one)["probability"])


def test_an_overconfident_one_does_not_count_for_more() -> None:
    first, second = predictions(0), predictions(1)
    logits = np.log(second["probability"] / (1 - second["probability"]))
    overconfident = second.assign(probability=1 / (1 + np.exp(-3 * logits)))
    np.testing.assert_allclose(
        fuse([first, overconfident])["probability"], fuse([first, second])["probability"], atol=5e-3
    )


def test_boxes_weigh_as_the_networks_agree_with_themselves() -> None:
    first, second = predictions(0), predictions(1)
    corners = [table[PREDICTED].to_numpy(np.float32) for table in (first, second)]
    alike = np.asarray(boxes.iou(*corners)) >= 0.5
    assert 100 < alike.sum() < 300
    both = first.assign(flip_iou=0.9), second.assign(flip_iou=0.3)
    expected = 0.75 * first[PREDICTED] + 0.25 * second[PREDICTED]
    np.testing.assert_allclose(fuse(both)[PREDICTED][alike], expected[alike], atol=1e-6)
    # Of two faces there is no mean: the better box is taken, whichever it is.
    np.testing.assert_allclose(fuse(both)[PREDICTED][~alike], first[PREDICTED][~alike])
    np.testing.assert_allclose(fuse(both[::-1])[PREDICTED], fuse(both)[PREDICTED])
    # Without a flip IoU one counts as 1, with one of 0 hardly, and two such alike.
    np.testing.assert_allclose(
        fuse([first, second.assign(flip_iou=0.0)])[PREDICTED], first[PREDICTED], atol=2e-3
    )
    nobody = fuse([first.assign(flip_iou=0.0), second.assign(flip_iou=0.0)])
    expected = (first[PREDICTED] + second[PREDICTED]) / 2
    np.testing.assert_allclose(nobody[PREDICTED][alike], expected[alike], atol=1e-6)


def test_predictions_on_other_samples_are_refused() -> None:
    first = predictions(0)
    with pytest.raises(InputError, match="same samples"):
        fuse([first, first.assign(sample=first["sample"] + 1)])
    with pytest.raises(InputError, match="same samples"):
        fuse([first, first.iloc[:-1]])
