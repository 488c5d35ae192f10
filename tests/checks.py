"""What tests of stages hold against what networks predicted, whatever the pipeline."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from facemask.columns import PREDICTED

CLASSES = ("with_mask", "without_mask")


def read_json(path):
    return json.loads(path.read_text())


def overlap(rows):
    """The overlap of true and predicted boxes, from their corners."""
    true, predicted = (
        rows[[f"{which}_{side}" for side in ("x0", "y0", "x1", "y1")]].to_numpy().T
        for which in ("true", "pred")
    )
    areas = [
        np.clip(x1 - x0, 0, None) * np.clip(y1 - y0, 0, None)
        for x0, y0, x1, y1 in (
            true,
            predicted,
            [*np.maximum(true[:2], predicted[:2]), *np.minimum(true[2:], predicted[2:])],
        )
    ]
    return areas[2] / (areas[0] + areas[1] - areas[2])


def check_metrics(folder, pipeline, name, epochs=None):
    """Metrics and records of an experiment against what its network predicted."""
    shown = read_json(folder / f"metrics/{name}.json")
    records = folder / "report/records" / pipeline
    full = read_json(records / f"statistics/{name}.json")
    data = read_json(folder / "data/counts.json")
    tested = pd.read_csv(records / f"predictions/{name}.csv")
    predictions = pd.read_csv(folder / f"models/{name}/predictions.csv")
    splits = pd.read_csv(folder / "data/splits.csv").set_index("sample")

    right = tested["actual"] == tested["predicted"]
    recalls = [right[tested["actual"] == kind].mean() for kind in CLASSES]
    common = splits.loc[splits["split"] == "train", "label"].mode()[0]
    labels = splits.loc[tested["sample"], "label"]
    iou = overlap(tested)
    val = predictions[predictions["split"] == "val"]
    assert shown == pytest.approx(
        {
            "accuracy": right.mean(),
            "majority": (labels == common).mean(),
            "recall_with": recalls[0],
            "recall_without": recalls[1],
            "iou": iou.mean(),
            "val_accuracy": (val["actual"] == val["predicted"]).mean(),
            "val_iou": overlap(val).mean(),
        },
        abs=1e-5,
    )
    assert len(tested) == data["test"]
    np.testing.assert_allclose(tested["iou"], iou, atol=2e-5)
    assert full["test"]["iou_50"] == pytest.approx((iou >= 0.5).mean())
    assert full["test"]["balanced_accuracy"] == pytest.approx(sum(recalls) / 2)
    assert list(tested["actual"]) == list(labels.map(dict(enumerate(reversed(CLASSES)))))
    assert full["count"] == 1
    for metric, interval in full["intervals"].items():
        assert interval["value"] == pytest.approx(full["test"][metric])
        assert interval["low"] <= interval["value"] <= interval["high"]
    if epochs:
        history = pd.read_csv(records / f"history/{name}.csv")
        assert full["epochs"] == len(history) == epochs
        assert full["best_epoch"] == history["val_loss"].argmin() + 1


def documented(page, name):
    """The code of a page's section "Use one", for another network."""
    section = (ROOT / page).read_text().split("\n## Use one\n")[1]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    assert code.count('"models/') == 1
    return re.sub(r'"models/\w+"', f'"models/{name}"', code)


def check_documented(folder, page, name, monkeypatch):
    """Run it as it stands, and then its function on crops of all sizes."""
    monkeypatch.chdir(folder)
    found = {}
    exec(documented(page, name), found)
    samples, predictions = (
        pd.read_csv(path).set_index("sample")
        for path in ("data/samples.csv", f"models/{name}/predictions.csv")
    )
    both = samples.loc[samples.index.intersection(predictions.index)]
    by_size = both.assign(area=(both["x1"] - both["x0"]) * (both["y1"] - both["y0"]))
    by_size = by_size.sort_values("area")
    chosen = [found["sample"].name, *by_size.index[:3], *by_size.index[-3:]]
    chosen += by_size.index[by_size["flip"] == 1][:2].tolist()
    for number in chosen:
        row, recorded = samples.loc[number], predictions.loc[number]
        crop = found["read_rgb"](folder / "data/raw/images" / row["image"])
        crop = crop[row["y0"] : row["y1"], row["x0"] : row["x1"]]
        crop = crop[:, ::-1] if row["flip"] else crop
        probability, box = found["predict"](np.ascontiguousarray(crop))
        assert probability == pytest.approx(recorded["probability"], abs=1e-6)
        sides = np.tile(crop.shape[1::-1], 2)
        np.testing.assert_allclose(
            np.array(box) / sides, recorded[PREDICTED].to_numpy(float), atol=1e-6
        )
