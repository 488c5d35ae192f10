"""Figures: against counts by hand and sklearn, and predictions against the model's own."""

import json
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn import metrics as sklearn_metrics

from facemask import evaluation, networks
from facemask.config import Experiment, parse

ROOT = Path(__file__).parents[1]
CONFIG = parse(yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8")))
SIZE = 32
WITH, WITHOUT = "with_mask", "without_mask"


def random_predictions(seed: int = 0, count: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    classes = [WITH, WITHOUT]
    return pd.DataFrame(
        {
            "split": rng.choice(["train", "val", "test"], count),
            "actual": rng.choice(classes, count, p=[0.7, 0.3]),
            "predicted": rng.choice(classes, count),
            # Whole steps, so that some are exactly 0.5.
            "iou": rng.integers(0, 11, count) / 10,
        }
    )


def answers(counts: dict[tuple[str, str], int], split: str) -> pd.DataFrame:
    """Predictions from a confusion matrix: (actual, predicted) to how many."""
    rows = [pair for pair, count in counts.items() for _ in range(count)]
    return pd.DataFrame(rows, columns=["actual", "predicted"]).assign(split=split, iou=0.25)


@pytest.mark.parametrize("seed", range(5))
def test_figures_are_counts(seed: int) -> None:
    predictions = random_predictions(seed)
    found = evaluation.measure(predictions)
    for name, figures in found.items():
        part = predictions[predictions["split"] == name]
        right = sum(a == p for a, p in zip(part["actual"], part["predicted"], strict=True))
        assert figures["accuracy"] == pytest.approx(right / len(part))
        assert figures["mean_iou"] == pytest.approx(sum(part["iou"]) / len(part))
    test = predictions[predictions["split"] == "test"]
    actual, predicted = test["actual"].to_numpy(), test["predicted"].to_numpy()
    recalls = {
        c: (predicted[actual == c] == c).sum() / (actual == c).sum() for c in (WITH, WITHOUT)
    }
    expected = {
        "recall_with_mask": recalls[WITH],
        "recall_without_mask": recalls[WITHOUT],
        "balanced_accuracy": (recalls[WITH] + recalls[WITHOUT]) / 2,
        "iou_50": sum(iou >= 0.5 for iou in test["iou"]) / len(test),
        "majority_accuracy": (actual == WITH).sum() / len(actual),
    }
    assert {name: found["test"][name] for name in expected} == pytest.approx(expected)
    report = sklearn_metrics.classification_report(actual, predicted, output_dict=True)
    assert found["test"]["recall_without_mask"] == pytest.approx(report[WITHOUT]["recall"])
    assert found["test"]["balanced_accuracy"] == pytest.approx(report["macro avg"]["recall"])
    assert found["test"]["accuracy"] == pytest.approx(report["accuracy"])


def test_majority_is_that_of_the_training_samples() -> None:
    predictions = pd.concat(
        [
            answers({(WITHOUT, WITHOUT): 6, (WITH, WITH): 2}, "train"),
            answers({(WITH, WITH): 30}, "val"),
            answers({(WITH, WITH): 9, (WITHOUT, WITH): 1}, "test"),
        ]
    )
    found = evaluation.measure(predictions)["test"]
    assert found["majority_accuracy"] == pytest.approx(0.1)
    assert found["accuracy"] == pytest.approx(0.9)
    assert (found["recall_with_mask"], found["recall_without_mask"]) == (1.0, 0.0)
    assert found["iou_50"] == 0.0


def test_always_with_mask_scores_the_majority() -> None:
    """The study's own test set: about 71 % for a network that says nothing."""
    parts = [
        answers({(WITH, WITH): 304, (WITHOUT, WITH): 124}, name)
        for name in ("train", "val", "test")
    ]
    found = evaluation.measure(pd.concat(parts))["test"]
    assert found["accuracy"] == found["majority_accuracy"] == pytest.approx(304 / 428)
    assert found["balanced_accuracy"] == pytest.approx(0.5)


def test_summary_has_the_shape_of_a_metrics_file() -> None:
    history = pd.DataFrame(
        {
            "epoch": [1, 2, 3, 4],
            "val_loss": [0.9, 0.4, 0.4, 0.6],  # the first of two equals is the one kept
            "seconds": [1.26, 2.0, 3.0, 4.0],
        }
    )
    found = evaluation.summary(random_predictions(), history, 2587205, 329221, "report")
    shape = {key: list(value) if isinstance(value, dict) else None for key, value in found.items()}
    assert shape == {
        "train": ["accuracy", "mean_iou"],
        "val": ["accuracy", "mean_iou"],
        "test": [
            "accuracy",
            "mean_iou",
            "iou_50",
            "recall_with_mask",
            "recall_without_mask",
            "balanced_accuracy",
            "majority_accuracy",
        ],
        "params": ["total", "trainable"],
        "epochs": None,
        "best_epoch": None,
        "train_seconds": None,
        "protocol": None,
    }
    assert found["params"] == {"total": 2587205, "trainable": 329221}
    assert (found["epochs"], found["best_epoch"], found["protocol"]) == (4, 2, "report")
    assert found["train_seconds"] == pytest.approx(10.3)
    assert json.loads(json.dumps(found)) == found
    for name in ("train", "val", "test"):
        assert all(0 <= value <= 1 for value in found[name].values())


def head_on_features(box_format: str, label_loss: str) -> tuple[Experiment, keras.Model]:
    """An untrained head on six features."""
    raw = CONFIG.experiments["mobilenet_1"].model_dump() | {
        "network": {"filters": [], "pools": 0, "dense": [8], "label_dense": []},
        "box_format": box_format,
        "losses": {
            "label": {"name": label_loss, "smoothing": 0.0, "focal_gamma": 0.0},
            "box": {"name": "mse", "threshold": 1.0},
        },
    }
    experiment = Experiment.model_validate(raw)
    keras.utils.set_random_seed(5)
    return experiment, networks.build(experiment, (6,))


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
def test_predictions_are_the_models_answers(
    box_format: str, label_loss: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    experiment, model = head_on_features(box_format, label_loss)
    inputs = np.random.default_rng(2).normal(0, 2, (33, 6)).astype(np.float32)
    np.save(tmp_path / "inputs.npy", inputs)
    samples = toy_samples(33).iloc[:23]  # ten rows of the inputs are asked nothing
    monkeypatch.setattr(evaluation, "BATCH", 5)
    found = evaluation.predict(
        model, np.load(tmp_path / "inputs.npy", mmap_mode="r"), samples, experiment, SIZE
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
    np.testing.assert_allclose(found[evaluation.TRUE], true, rtol=1e-6)
    box = whole["box"][rows]
    if box_format == "xyxy":
        predicted = box / SIZE
    else:
        predicted = np.concatenate([box[:, :2] - box[:, 2:] / 2, box[:, :2] + box[:, 2:] / 2], 1)
    np.testing.assert_allclose(found[evaluation.PREDICTED], predicted, atol=1e-6)
    pairs = keras.utils.bounding_boxes.compute_iou(
        true.astype(np.float32), found[evaluation.PREDICTED].to_numpy(np.float32), "xyxy"
    )
    if box_format != "xyxy":  # Keras' IoU takes boxes of negative width at their word
        np.testing.assert_allclose(found["iou"], np.diag(pairs), atol=1e-5)
    assert found["iou"].between(0, 1).all()


@pytest.mark.parametrize(
    ("box_format", "answer"),
    [
        ("center_xywh", [16, 8, 8, 24]),
        ("xyxy", [12, -4, 20, 20]),
        ("rel_xyxy", [0.375, -0.125, 0.625, 0.625]),
        ("rel_center_xywh", [0.5, 0.25, 0.25, 0.75]),
    ],
)
def test_predicted_corners_are_fractions_of_the_crop(box_format: str, answer: list[float]) -> None:
    """A network that always answers one box, reaching above the crop, in each format."""
    experiment, _ = head_on_features(box_format, "binary_crossentropy")
    inputs = keras.Input((6,))
    constant = keras.layers.Dense(5, kernel_initializer="zeros")
    x = constant(inputs)
    model = keras.Model(inputs, {"label": x[:, :1], "box": x[:, 1:]})
    constant.set_weights([np.zeros((6, 5)), np.array([0.75, *answer])])
    samples = toy_samples(4).assign(box_x0=30, box_y0=-5, box_x1=50, box_y1=5, label=[1, 0, 0, 1])
    found = evaluation.predict(model, np.zeros((4, 6), np.float32), samples, experiment, SIZE)
    np.testing.assert_allclose(
        found[evaluation.PREDICTED], [[0.375, -0.125, 0.625, 0.625]] * 4, atol=1e-6
    )
    # The true box is the upper third of the predicted one.
    np.testing.assert_allclose(found["iou"], 1 / 3, atol=1e-6)
    assert found["predicted"].tolist() == [WITH] * 4
    assert found["actual"].tolist() == [WITH, WITHOUT, WITHOUT, WITH]
