"""Metrics: against counts by hand and sklearn."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn_metrics

from facemask.evaluation import bootstrap, calibration, metrics, significance

WITH, WITHOUT = "with_mask", "without_mask"
METRICS = [
    "accuracy",
    "mean_iou",
    "iou_50",
    "recall_with_mask",
    "recall_without_mask",
    "balanced_accuracy",
    "majority_accuracy",
]


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


def predictions_of(counts: dict[tuple[str, str], int], split: str) -> pd.DataFrame:
    """Predictions from a confusion matrix: (actual, predicted) to how many."""
    rows = [pair for pair, count in counts.items() for _ in range(count)]
    return pd.DataFrame(rows, columns=["actual", "predicted"]).assign(split=split, iou=0.25)


@pytest.mark.parametrize("seed", range(5))
def test_metrics_are_counts(seed: int) -> None:
    predictions = random_predictions(seed)
    found = metrics.measure(predictions)
    for name, measured in found.items():
        part = predictions[predictions["split"] == name]
        right = sum(a == p for a, p in zip(part["actual"], part["predicted"], strict=True))
        assert measured["accuracy"] == pytest.approx(right / len(part))
        assert measured["mean_iou"] == pytest.approx(sum(part["iou"]) / len(part))
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
            predictions_of({(WITHOUT, WITHOUT): 6, (WITH, WITH): 2}, "train"),
            predictions_of({(WITH, WITH): 30}, "val"),
            predictions_of({(WITH, WITH): 9, (WITHOUT, WITH): 1}, "test"),
        ]
    )
    found = metrics.measure(predictions)["test"]
    assert found["majority_accuracy"] == pytest.approx(0.1)
    assert found["accuracy"] == pytest.approx(0.9)
    assert (found["recall_with_mask"], found["recall_without_mask"]) == (1.0, 0.0)
    assert found["iou_50"] == 0.0


def test_always_with_mask_scores_the_majority() -> None:
    """The study's own test set: about 71 % for a network that ignores its input."""
    parts = [
        predictions_of({(WITH, WITH): 304, (WITHOUT, WITH): 124}, name)
        for name in ("train", "val", "test")
    ]
    found = metrics.measure(pd.concat(parts))["test"]
    assert found["accuracy"] == found["majority_accuracy"] == pytest.approx(304 / 428)
    assert found["balanced_accuracy"] == pytest.approx(0.5)


def test_summary_has_the_shape_of_a_record() -> None:
    history = pd.DataFrame(
        {
            "epoch": [1, 2, 3, 4],
            "val_loss": [0.9, 0.4, 0.4, 0.6],  # the first of two equals is the one kept
            "seconds": [1.26, 2.0, 3.0, 4.0],
        }
    )
    found = metrics.summary(random_predictions(), history, {"total": 2587205, "trainable": 329221})
    shape = {key: list(value) if isinstance(value, dict) else None for key, value in found.items()}
    assert shape == {
        "train": ["accuracy", "mean_iou"],
        "val": METRICS,
        "test": METRICS,
        "params": ["total", "trainable"],
        "epochs": None,
        "best_epoch": None,
        "train_seconds": None,
    }
    assert found["params"] == {"total": 2587205, "trainable": 329221}
    assert (found["epochs"], found["best_epoch"]) == (4, 2)
    assert found["train_seconds"] == pytest.approx(10.3)
    assert json.loads(json.dumps(found)) == found
    for name in ("train", "val", "test"):
        assert all(0 <= value <= 1 for value in found[name].values())


def whole_predictions(seed: int) -> pd.DataFrame:
    """Predictions with all that intervals and calibration need."""
    table = random_predictions(seed)
    rng = np.random.default_rng(seed)
    right = rng.random(len(table))
    probability = np.where(table["predicted"] == WITH, 0.5 + right / 2, 0.5 - right / 2)
    boxes = dict.fromkeys(significance.TRUE, 0.5)
    image = np.arange(len(table)) // 2
    return table.assign(probability=probability, image=image, face=0, flip=0, **boxes)


def test_uncertainty_is_of_the_first_repeat_and_the_std_of_all() -> None:
    tables = [whole_predictions(seed) for seed in (3, 4, 5)]
    test = tables[0][tables[0]["split"] == "test"]
    alone, several = metrics.uncertainty(tables[:1]), metrics.uncertainty(tables)
    assert (alone["count"], several["count"]) == (1, 3)
    assert "repeats" not in alone
    for found in (alone, several):
        assert found["intervals"] == bootstrap.intervals(test)
        assert found["calibration"] == calibration.summary(tables[0])
    accuracies = [metrics.measure(table)["test"]["accuracy"] for table in tables]
    repeats = several["repeats"]["accuracy"]
    assert repeats["mean"] == pytest.approx(np.mean(accuracies))
    assert repeats["std"] == pytest.approx(np.std(accuracies, ddof=1))


def test_the_headline_is_few_numbers_of_test_and_validation_samples() -> None:
    """An accuracy never stands without that of the majority and both recalls."""
    tables = [whole_predictions(seed) for seed in (3, 4)]
    history = pd.DataFrame({"epoch": [1], "val_loss": [0.9], "seconds": [1.0]})
    measured = metrics.summary(tables[0], history, {"total": 1, "trainable": 1})
    first = metrics.measure(tables[0])
    test, val = first["test"], first["val"]
    expected = {
        "accuracy": test["accuracy"],
        "majority": test["majority_accuracy"],
        "recall_with": test["recall_with_mask"],
        "recall_without": test["recall_without_mask"],
        "iou": test["mean_iou"],
        "val_accuracy": val["accuracy"],
        "val_iou": val["mean_iou"],
    }
    alone = metrics.headline({**measured, **metrics.uncertainty(tables[:1])})
    assert alone == expected
    assert all(isinstance(value, float) for value in alone.values())
    several = metrics.headline({**measured, **metrics.uncertainty(tables)})
    ious = [metrics.measure(table)["test"]["mean_iou"] for table in tables]
    assert several.items() >= expected.items()
    assert several["iou_mean"] == pytest.approx(np.mean(ious))
    assert several["iou_std"] == pytest.approx(np.std(ious, ddof=1))
    assert set(several) - set(expected) == {"accuracy_mean", "accuracy_std", "iou_mean", "iou_std"}


def test_what_decisions_go_by_is_of_every_repeat_and_not_of_the_test() -> None:
    repeats = [random_predictions(seed) for seed in (1, 2)]
    val = [table[table["split"] == "val"] for table in repeats]
    histories = [pd.DataFrame({"seconds": [1.0, 2.5]}), pd.DataFrame({"seconds": [4.0]})]
    for number, table in enumerate(repeats):
        splits = table.assign(label=(table["actual"] == "with_mask").astype(int))
        found = metrics.validated(val, histories, splits)
        assert list(found) == ["val", "train_seconds"]
        assert found["train_seconds"] == [3.5, 4.0]
        whole = metrics.measure(table)["val"]
        assert {key: values[number] for key, values in found["val"].items()} == whole
