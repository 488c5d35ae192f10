"""A loaded network predicts on a crop as it was evaluated: whatever its kind, format and size."""

import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
from localizer_toys import ROOT, SIZE, settings
from network_toys import edited, pixels

from facemask import params
from facemask.columns import PREDICTED
from facemask.config.training import Backbone, ResolvedExperiment
from facemask.data.affine import resize
from facemask.errors import InputError
from facemask.inference.crop import load
from facemask.inference.localizer import predict_crops
from facemask.inference.predict import predict
from facemask.io import write_json
from facemask.models import study_networks
from facemask.models.backbones import build_application, build_backbone, weights_digest
from facemask.models.localizer import build_localizer

CONFIG = params.read(ROOT)


def write(folder, model, settings):
    folder.mkdir()
    model.save(folder / "model.keras")
    (folder / "config.json").write_text(settings.model_dump_json())
    return folder


@pytest.mark.parametrize(
    "changes",
    [{}, {"box_format": "center_xywh"}, {"box_format": "rel_xyxy"}, {"box_format": "xyxy"}],
)
def test_a_network_on_pixels_whatever_its_box_format(tmp_path, changes):
    experiment = edited("scratch_1", **changes)
    resolved = ResolvedExperiment(**experiment.model_dump(), seed=1, input_size=128)
    model = study_networks.build(resolved, (128, 128, 3))
    crop = cv2.resize(pixels(128, 1)[0], (411, 200)).astype(np.uint8)
    # Two, as in evaluation: the sums of a batch of one are rounded otherwise.
    samples = pd.DataFrame({"sample": [0, 1], "image": "a", "face": 0, "flip": 0, "split": "test"})
    samples = samples.assign(label=1, x0=0, y0=0, x1=411, y1=200)
    samples = samples.assign(box_x0=0, box_y0=0, box_x1=9, box_y1=9)
    inputs = np.stack([resize(crop, 128, 128)] * 2)
    recorded = predict(model, inputs, samples, resolved).iloc[0]
    probability, box = load(write(tmp_path / "model", model, resolved), CONFIG)(crop)
    assert probability == pytest.approx(recorded["probability"], abs=1e-6)
    expected = recorded[PREDICTED].to_numpy(float) * [411, 200, 411, 200]
    np.testing.assert_allclose(box, expected, atol=1e-3)


@pytest.mark.parametrize(
    "crop",
    [
        np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((0, 9, 3), np.uint8),
        np.zeros((9, 9, 3), np.float32),
    ],
)  # fmt: skip
def test_what_is_no_crop_is_refused(scratch, crop):
    with pytest.raises(InputError, match="uint8"):
        scratch(crop)


def test_a_crop_may_be_a_view_and_a_pixel(scratch):
    rng = np.random.default_rng(0)
    crop = rng.integers(0, 256, (50, 40, 3), np.uint8)
    assert scratch(crop[:, ::-1]) == scratch(np.ascontiguousarray(crop[:, ::-1]))
    assert len(scratch(crop[:1, :1]).box) == 4


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    resolved = ResolvedExperiment(**edited("scratch_1").model_dump(), seed=1, input_size=128)
    model = study_networks.build(resolved, (128, 128, 3))
    return load(write(tmp_path_factory.mktemp("one") / "model", model, resolved), CONFIG)


@pytest.fixture
def head(tmp_path):
    """A head on the features of a backbone with random weights, and parameters that have it."""
    resolved = ResolvedExperiment(**edited("mobilenet_1").model_dump(), seed=1, input_size=96)
    folder = write(tmp_path / "head", study_networks.build(resolved, (1280,)), resolved)
    backbone = Backbone(application="MobileNetV2", input_size=96)
    config = CONFIG.model_copy(update={"backbones": {"mobilenet_v2": backbone}})
    digest = weights_digest(*build_backbone(backbone, "random"))
    write_json({"sha256": digest}, folder / "backbone.json")
    return folder, config


def test_a_head_gets_its_backbone_also_in_a_repeat(head):
    folder, config = head
    crop = pixels(96, 1)[0].astype(np.uint8)
    (folder / "repeat_1").mkdir()
    shutil.copyfile(folder / "model.keras", folder / "repeat_1/model.keras")
    assert load(folder, config)(crop) == load(folder / "repeat_1", config)(crop)


def test_a_head_refuses_other_weights_and_a_missing_backbone(head):
    folder, config = head
    with pytest.raises(InputError, match=r"backbones\.mobilenet_v2"):
        load(folder, config.model_copy(update={"backbones": {}}))
    write_json({"sha256": "another"}, folder / "backbone.json")
    with pytest.raises(InputError, match="weights 'random'"):
        load(folder, config)
    (folder / "backbone.json").unlink()
    with pytest.raises(InputError, match=r"no .*backbone\.json"):
        load(folder, config)


def test_a_head_keeps_the_size_it_was_trained_with(head):
    folder, config = head
    crop = pixels(96, 1)[0]
    larger = config.backbones["mobilenet_v2"].model_copy(update={"input_size": 128})
    other = config.model_copy(update={"backbones": {"mobilenet_v2": larger}})
    assert load(folder, other)(crop) == load(folder, config)(crop)


def test_a_localizer_sees_a_large_crop_as_it_was_packed(tmp_path):
    level = "block_3_expand_relu"
    changes = {"feature_levels": [level], "freeze_until": level, "application": "MobileNetV2"}
    chosen = settings(**changes)
    application, preprocess, _ = build_application("MobileNetV2", SIZE, "random")
    model = build_localizer(chosen, application, preprocess)
    crop = pixels(400, 1)[0][:, :200]
    packed = cv2.resize(crop, (160, 320), interpolation=cv2.INTER_AREA)
    label, box, _ = predict_crops(model, [packed], chosen)
    found = load(write(tmp_path / "model", model, chosen), CONFIG)(crop)
    assert found.probability == pytest.approx(label[0, -1], abs=1e-6)
    np.testing.assert_allclose(found.box, box[0] * [200, 400, 200, 400], atol=1e-3)


def test_a_folder_without_a_network_is_named(tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path}.*pipelines/"):
        load(tmp_path, CONFIG)
