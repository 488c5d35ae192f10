"""What networks predict: against the models' own outputs, and boxes by hand."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from facemask import params
from facemask.columns import PREDICTED, TRUE
from facemask.config.training import ResolvedExperiment
from facemask.inference import predict
from facemask.models import study_networks

CONFIG = params.read(Path(__file__).parents[1])
SIZE = 32
WITH, WITHOUT = "with_mask", "without_mask"


def head_on_features(box_format: str, label_loss: str) -> tuple[ResolvedExperiment, keras.Model]:
    """An untrained head on six features."""
    raw = CONFIG.experiments["mobilenet_1"].model_dump() | {
        "network": {"filters": [], "pools": 0, "dense": [8], "label_dense": []},
        "box_format": box_format,
        "losses": {
            "label": {"name": label_loss, "smoothing": 0.0, "focal_gamma": 0.0},
            "box": {"name": "mse", "threshold": 1.0},
        },
    }
    experiment = ResolvedExperiment.model_validate(raw | {"seed": 5, "input_size": SIZE})
    keras.utils.set_random_seed(5)
    return experiment, study_networks.build(experiment, (6,))


def toy_samples(count: int) -> pd.DataFrame:
    """Samples in crops of 80 by 40 px, not in the order of their numbers."""
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        {
            "sample": np.arange(count),
            "image": [f"{number}.png" for number in range(count)],
            "face": rng.integers(0, 5, count),
            "label": rng.integers(0, 2, count),
            "x0": 100,
            "y0": 200,
            "x1": 180,
            "y1": 240,
            "box_x0": rng.integers(0, 40, count),
            "box_y0": rng.integers(0, 20, count),
            "box_x1": rng.integers(41, 81, count),
            "box_y1": rng.integers(21, 41, count),
            "flip": rng.integers(0, 2, count),
            "split": rng.choice(["train", "val", "test"], count),
        }
    )
    return table.sample(frac=1, random_state=0)


@pytest.mark.parametrize(
    ("box_format", "label_loss"),
    [("rel_center_xywh", "binary_crossentropy"), ("xyxy", "categorical_crossentropy")],
)
def test_predictions_are_the_models_outputs(
    box_format: str, label_loss: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    experiment, model = head_on_features(box_format, label_loss)
    inputs = np.random.default_rng(2).normal(0, 2, (33, 6)).astype(np.float32)
    np.save(tmp_path / "inputs.npy", inputs)
    samples = toy_samples(33).iloc[:23]  # ten rows of the inputs are left out
    monkeypatch.setattr(predict, "BATCH", 5)
    found = predict.predict(
        model, np.load(tmp_path / "inputs.npy", mmap_mode="r"), samples, experiment
    )
    whole = model.predict(inputs, verbose=0)
    rows = samples["sample"].to_numpy()
    probability = whole["label"][rows, -1]
    np.testing.assert_allclose(found["probability"], probability, atol=1e-6)
    assert 0 < (probability > 0.5).sum() < len(rows)
    assert found["predicted"].tolist() == [WITH if p > 0.5 else WITHOUT for p in probability]
    assert found["actual"].tolist() == [WITH if label else WITHOUT for label in samples["label"]]
    for column in ("sample", "image", "face", "flip", "split"):
        assert found[column].tolist() == samples[column].tolist()

    true = samples[["box_x0", "box_y0", "box_x1", "box_y1"]].to_numpy() / [80, 40, 80, 40]
    np.testing.assert_allclose(found[TRUE], true, rtol=1e-6)
    box = whole["box"][rows]
    if box_format == "xyxy":
        predicted = box / SIZE
    else:
        predicted = np.concatenate([box[:, :2] - box[:, 2:] / 2, box[:, :2] + box[:, 2:] / 2], 1)
    np.testing.assert_allclose(found[PREDICTED], predicted, atol=1e-6)
    pairs = keras.utils.bounding_boxes.compute_iou(
        true.astype(np.float32), found[PREDICTED].to_numpy(np.float32), "xyxy"
    )
    if box_format != "xyxy":  # Keras' IoU takes boxes of negative width at their word
        np.testing.assert_allclose(found["iou"], np.diag(pairs), atol=1e-5)
    assert found["iou"].between(0, 1).all()


@pytest.mark.parametrize(
    ("box_format", "output"),
    [
        ("center_xywh", [16, 8, 8, 24]),
        ("xyxy", [12, -4, 20, 20]),
        ("rel_xyxy", [0.375, -0.125, 0.625, 0.625]),
        ("rel_center_xywh", [0.5, 0.25, 0.25, 0.75]),
    ],
)
def test_predicted_corners_are_fractions_of_the_crop(box_format: str, output: list[float]) -> None:
    """A network that always predicts one box, reaching above the crop, in each format."""
    experiment, _ = head_on_features(box_format, "binary_crossentropy")
    inputs = keras.Input((6,))
    constant = keras.layers.Dense(5, kernel_initializer="zeros")
    x = constant(inputs)
    model = keras.Model(inputs, {"label": x[:, :1], "box": x[:, 1:]})
    constant.set_weights([np.zeros((6, 5)), np.array([0.75, *output])])
    samples = toy_samples(4).assign(box_x0=30, box_y0=-5, box_x1=50, box_y1=5, label=[1, 0, 0, 1])
    found = predict.predict(model, np.zeros((4, 6), np.float32), samples, experiment)
    np.testing.assert_allclose(found[PREDICTED], [[0.375, -0.125, 0.625, 0.625]] * 4, atol=1e-6)
    # The true box is the upper third of the predicted one.
    np.testing.assert_allclose(found["iou"], 1 / 3, atol=1e-6)
    assert found["predicted"].tolist() == [WITH] * 4
    assert found["actual"].tolist() == [WITH, WITHOUT, WITHOUT, WITH]
