"""A loaded network predicts on a crop as it was evaluated: whatever its kind, format and size."""

import cv2
import numpy as np
import pandas as pd
import pytest
from localizer_toys import ROOT
from network_toys import edited, pixels

from facemask import params
from facemask.columns import PREDICTED
from facemask.config.training import ResolvedExperiment
from facemask.data.arrays import resize
from facemask.errors import InputError
from facemask.inference.crop import load
from facemask.inference.predict import predict
from facemask.models import study_networks

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
    samples = pd.DataFrame({"sample": [0], "image": "a", "face": 0, "flip": 0, "split": "test"})
    samples = samples.assign(label=1, x0=0, y0=0, x1=411, y1=200)
    samples = samples.assign(box_x0=0, box_y0=0, box_x1=9, box_y1=9)
    recorded = predict(model, resize(crop, 128, 128)[None], samples, resolved).iloc[0]
    probability, box = load(write(tmp_path / "model", model, resolved), CONFIG)(crop)
    assert probability == pytest.approx(recorded["probability"], abs=1e-6)
    expected = recorded[PREDICTED].to_numpy(float) * [411, 200, 411, 200]
    np.testing.assert_allclose(box, expected, atol=1e-3)


def test_a_folder_without_a_network_is_named(tmp_path):
    with pytest.raises(InputError, match=str(tmp_path)):
        load(tmp_path, CONFIG)
