"""The pipelines of detectors as a user runs them: DVC, real stages, a tiny synthetic dataset."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import DETECTOR_VARIANT, ROOT, commit, dvc, ran, run

from facemask.columns import CORNERS
from facemask.evaluation.detection_metrics import pooled
from facemask.inference import runtime
from facemask.records import fold, is_detector

pytestmark = pytest.mark.slow
STAGES = ["resolve", "split_images", "pack_images"]
OF_DETECTOR = [
    f"{stage}@detector" for stage in ("train_detector", "detect", "evaluate", "export", "report")
]


@pytest.fixture(scope="module")
def detected(project, tmp_path_factory):
    """A copy of the small project in which both pipelines of detectors ran."""
    folder = tmp_path_factory.mktemp("detected") / "project"
    shutil.copytree(project, folder, ignore=shutil.ignore_patterns("tmp"))
    outputs = [
        ran(dvc(folder, "repro", f"pipelines/{name}/dvc.yaml"))
        for name in ("detector", "detector_ablation")
    ]
    commit(folder, "detected")
    return folder, *outputs


def read_json(path):
    return json.loads(path.read_text())


def test_each_pipeline_runs_by_itself_and_once(detected):
    folder, detector, ablation = detected
    place = "pipelines/detector/dvc.yaml"
    assert sorted(detector) == sorted(f"{place}:{name}" for name in [*STAGES, *OF_DETECTOR])
    place = "pipelines/detector_ablation/dvc.yaml"
    kinds = ("train_detector", "detect", "evaluate")
    names = ["resolve", *(f"{kind}@{DETECTOR_VARIANT}" for kind in kinds)]
    assert sorted(ablation) == sorted(f"{place}:{name}" for name in names)
    both = [f"pipelines/{name}/dvc.yaml" for name in ("detector", "detector_ablation")]
    assert ran(dvc(folder, "repro", *both)) == []
    assert run(folder, "git", "status", "--porcelain") == ""


def test_exported_files_find_what_the_network_finds_and_a_card_describes_them(detected):
    folder = detected[0]
    record = read_json(folder / "report/records/detector/exported/detector.json")
    assert set(record) == {"onnx", "onnx_float32", "litert"}
    exact = [record[kind] for kind in ("onnx_float32", "litert")]
    assert all(each["missing"] == each["extra"] == 0 for each in exact)
    assert all(each["box_px"] < 0.5 and each["score"] < 0.005 for each in exact)
    assert record["onnx"]["megabytes"] < 0.9 * record["onnx_float32"]["megabytes"]
    measured = read_json(folder / "report/records/detector/statistics/detector.json")
    shipped = runtime.load(folder / "models/exported/detector/detector.onnx")
    assert shipped.classes == tuple(measured["classes"])
    assert shipped.confidence == measured["confidence"]
    card = (folder / "models/exported/detector/README.md").read_text()
    assert f"{100 * measured['test']['two_classes']['ap50']:.2f}" in card
    assert f"{measured['params']['total']:,}" in card


def test_images_are_split_and_not_samples(detected):
    images = pd.read_csv(detected[0] / "data/whole_images.csv")
    assert len(images) == 16
    assert images.groupby("group")["split"].nunique().max() == 1
    assert set(images["split"]) == {"train", "val", "test"}


def test_what_is_measured_is_what_was_found_in_test_images(detected):
    folder = detected[0]
    records = folder / "report/records/detector"
    images = pd.read_csv(folder / "data/whole_images.csv").set_index("image")["split"]
    found = pd.read_csv(folder / "data/detections/detector/detections.csv")
    assert set(found["image"].map(images)) <= {"val", "test"}
    kept = pd.read_csv(records / "detections/detector.csv")
    assert set(kept["image"].map(images)) == {"test"}
    measured = read_json(records / "statistics/detector.json")
    assert measured["test"]["images"] == (images == "test").sum()
    crops = pd.read_csv(records / "predictions/detector.csv")
    assert set(crops["image"].map(images)) == {"test"}
    curves = pd.read_csv(records / "curves/detector.csv").groupby("experiment")["precision"].mean()
    ap50 = {"detector, face": measured["test"]["face"]["ap50"]}
    for label, own in measured["test"]["two_classes"]["by_class"].items():
        ap50[f"detector, {label.replace('_', ' ')}"] = own["ap50"]
    known = {key: value for key, value in ap50.items() if not np.isnan(value)}
    assert curves.to_dict() == pytest.approx(known, abs=1e-6)
    shown = read_json(folder / "metrics/detector.json")
    assert shown["ap50"] == measured["test"]["two_classes"]["ap50"]
    recall = measured["crops"]["recall_without_mask"]  # NaN if no crop is of the class
    assert shown["crops_recall_without"] == pytest.approx(recall, nan_ok=True)
    assert not (
        folder / "data/detections/detector_ablation" / DETECTOR_VARIANT / "crops.csv"
    ).exists()


def test_what_was_found_at_two_sizes_is_measured_too(detected):
    folder = detected[0]
    records, found = folder / "report/records/detector", folder / "data/detections/detector"
    for kind in ("detections", "crops"):
        one, other = (found / part / f"{kind}.csv" for part in ("", "multi_scale"))
        assert one.read_bytes() != other.read_bytes()
    one, other = (
        read_json(records / f"statistics/{name}.json")
        for name in ("detector", "detector_multi_scale")
    )
    assert one["test_images"] == other["test_images"]
    assert one["train_seconds"] == other["train_seconds"]
    kept = pd.read_csv(records / "detections/detector_multi_scale.csv")
    assert set(kept["image"]) <= set(other["test_images"])
    shown = read_json(folder / "metrics/detector_multi_scale.json")
    assert shown["ap50"] == other["test"]["two_classes"]["ap50"]


def test_variants_of_the_ablation_see_validation_images_alone(detected):
    folder = detected[0]
    measured = read_json(folder / f"report/records/detector_ablation/{DETECTOR_VARIANT}.json")
    assert len(measured["val"]) == len(measured["train_seconds"]) == 1
    images = pd.read_csv(folder / "data/whole_images.csv").set_index("image")["split"]
    for found in (folder / "data/detections/detector_ablation").rglob("detections.csv"):
        assert set(pd.read_csv(found)["image"].map(images)) <= {"val"}


def test_the_page_shows_all_its_plots(detected):
    folder = detected[0] / "report/detector/detector"
    text = (folder / "README.md").read_text()
    linked = {part.split(")")[0] for part in text.split("](")[1:]}
    assert len(linked) == 6
    for plot in linked:
        assert (folder / plot).stat().st_size > 2000


def test_the_documented_code_finds_what_was_recorded(detected, monkeypatch):
    folder = detected[0]
    monkeypatch.chdir(folder)
    section = (ROOT / "docs/detector.md").read_text().split("\n## Use one\n")[1]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    recorded = pd.read_csv(folder / "data/detections/detector/detections.csv")
    image = recorded["image"].iloc[0]
    code = code.replace("sample0.png", image).replace("least=0.3", "least=0.005")
    found: dict = {}
    exec(code, found)
    # It saw the image as it is, and the stage as it was packed, of 128 px: of a network
    # that has learnt little, some detections differ.
    scale = np.tile(found["read_rgb"](folder / "data/raw/images" / image).shape[1::-1], 2)
    rows = recorded.loc[recorded["image"] == image, CORNERS].to_numpy() / scale
    boxes = found["found"].xyxy / scale
    near = np.abs(rows[:, None] - boxes[None]).max(axis=2) < 0.02
    assert len(rows) > 20
    assert near.any(axis=0).mean() > 0.6
    assert near.any(axis=1).mean() > 0.6


def test_folds_are_pooled_from_records(detected, monkeypatch):
    monkeypatch.chdir(detected[0])
    assert is_detector("detector")
    assert not is_detector("scratch_1")
    one = fold("detector")
    found = pooled([one])
    assert found["measured"]["test"]["images"] == one.statistics["test"]["images"]
    assert found["parameters"] == one.statistics["params"]["total"]


def test_a_detector_that_found_nothing_is_pooled(detected, tmp_path, monkeypatch):
    shutil.copytree(detected[0] / "report/records", tmp_path / "report/records")
    monkeypatch.chdir(tmp_path)
    table = tmp_path / "report/records/detector/detections/detector.csv"
    table.write_text(table.read_text().partition("\n")[0] + "\n")
    found = pooled([fold("detector")])
    assert found["measured"]["test"]["faces"] > 0
    assert found["face"]["ap50"] == found["false_alarms"] == 0
