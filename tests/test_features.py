"""Features in shards, against the backbone on all crops at once."""

import numpy as np
import pytest

from facemask.config.training import Backbone
from facemask.models import features
from facemask.models.backbones import build_backbone
from facemask.shards import Shards, save, write_places

SMALL = Backbone(application="MobileNetV2", input_size=32)


@pytest.mark.parametrize("count", [11, 8])
def test_rows_are_the_backbones_features_in_the_order_of_samples(count, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "BATCH", 2)
    monkeypatch.setattr(features, "ROWS", 4)
    crops = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8)
    # Crops lie in shards of their own, not in the order of their numbers.
    shards = np.arange(count) % 3
    for shard in range(3):
        save(crops[shards == shard], tmp_path / f"crops/{shard:05d}.npy")
    write_places(shards, tmp_path / "crops")
    about = features.embed(SMALL, "random", tmp_path / "crops", tmp_path / "features")
    found = Shards(tmp_path / "features")
    model, _ = build_backbone(SMALL, "random")
    expected = model.predict_on_batch(crops)
    assert (found.dtype, found.shape) == (np.float32, expected.shape)
    np.testing.assert_allclose(found[:], expected, rtol=1e-4, atol=1e-4)
    assert len(list((tmp_path / "features").glob("0*.npy"))) == -(-count // 4)
    assert (about["weights"], about["input_size"]) == ("random", 32)
    assert about["params"] == model.count_params()
