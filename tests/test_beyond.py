"""The pipelines of losses and localizers as a user runs them: DVC, real stages, a tiny dataset."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
from checks import check_documented, check_metrics, overlap, read_json
from conftest import ENSEMBLE, LOCALIZERS, LOSS, VARIANT, commit, dvc, ran, run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def beyond(project, tmp_path_factory):
    """A copy of the small project in which the other two pipelines ran as well."""
    folder = tmp_path_factory.mktemp("beyond") / "project"
    shutil.copytree(project, folder, ignore=shutil.ignore_patterns("tmp"))
    losses = dvc(folder, "repro", "pipelines/losses/dvc.yaml")
    localizer = dvc(folder, "repro", "pipelines/localizer/dvc.yaml")
    commit(folder, "beyond")
    return folder, ran(losses), ran(localizer)


def test_each_pipeline_runs_by_itself_and_once(beyond):
    folder, losses, localizer = beyond
    place = "pipelines/losses/dvc.yaml"
    each = [f"train@{LOSS}", f"evaluate@{LOSS}"]
    assert sorted(losses) == sorted(f"{place}:{name}" for name in ["resolve", *each, "report"])
    place = "pipelines/localizer/dvc.yaml"
    each = [f"{kind}@{name}" for kind in ("localize", "evaluate") for name in LOCALIZERS]
    others = ["resolve", f"ensemble@{ENSEMBLE}", f"report@{ENSEMBLE}"]
    others += [f"ablate@{VARIANT}", f"evaluate_variant@{VARIANT}"]
    assert sorted(localizer) == sorted(f"{place}:{name}" for name in [*each, *others])
    both = [f"pipelines/{name}/dvc.yaml" for name in ("losses", "localizer")]
    assert ran(dvc(folder, "repro", "dvc.yaml", *both)) == []
    assert run(folder, "git", "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("pipeline", "name"), [("losses", LOSS), *(("localizer", name) for name in LOCALIZERS)]
)
def test_metrics_beyond_the_study_agree_with_the_predictions(beyond, pipeline, name):
    check_metrics(beyond[0], pipeline, name)


def test_the_page_of_losses_compares_them(beyond):
    folder = beyond[0] / "report/losses"
    text = (folder / "README.md").read_text()
    assert "squared error" in text
    assert "GIoU" in text
    assert (folder / "losses.png").stat().st_size > 2000


def test_localizers_predict_on_samples_and_never_on_extra_crops(beyond):
    samples = pd.read_csv(beyond[0] / "data/samples.csv")
    for name in LOCALIZERS:
        predictions = pd.read_csv(beyond[0] / "models" / name / "predictions.csv")
        assert sorted(predictions["sample"]) == sorted(samples["sample"])


def test_an_ensemble_lies_between_its_members(beyond):
    records = beyond[0] / "report/records/localizer"
    tables = {
        name: pd.read_csv(records / f"predictions/{name}.csv") for name in (ENSEMBLE, *LOCALIZERS)
    }
    reported = read_json(records / f"statistics/{ENSEMBLE}.json")
    assert reported["networks"] == 2
    assert reported["test"]["mean_iou"] == pytest.approx(overlap(tables[ENSEMBLE]).mean(), abs=1e-5)
    shown = read_json(beyond[0] / f"metrics/{ENSEMBLE}.json")
    assert shown["iou"] == reported["test"]["mean_iou"]
    fused, *members = (table["pred_x0"] for table in tables.values())
    low, high = np.min(members, axis=0), np.max(members, axis=0)
    assert (low < high).any()
    assert ((fused >= low - 1e-5) & (fused <= high + 1e-5)).all()


def test_variants_of_the_ablation_do_not_see_the_test_samples(beyond):
    measured = read_json(beyond[0] / f"report/records/localizer/ablation/{VARIANT}.json")
    assert list(measured) == ["val", "train_seconds"]
    assert len(measured["val"]["accuracy"]) == len(measured["train_seconds"]) == 1
    files = [*(beyond[0] / "models/ablation" / VARIANT).rglob("predictions.csv")]
    assert files
    for predictions in files:
        assert set(pd.read_csv(predictions)["split"]) == {"val"}


def test_the_page_of_localizers_shows_all_and_its_plots_exist(beyond):
    folder = beyond[0] / "report/localizer" / ENSEMBLE
    text = (folder / "README.md").read_text()
    for name in (*LOCALIZERS, ENSEMBLE, VARIANT):
        assert re.search(rf"^\| `{name}` +\|", text, re.MULTILINE)
    linked = {part.split(")")[0] for part in text.split("](")[1:]}
    assert len(linked) >= 4
    for plot in linked:
        assert (folder / plot).stat().st_size > 2000


@pytest.mark.parametrize("name", LOCALIZERS)
def test_the_documented_code_of_localizers_gives_the_recorded_predictions(
    beyond, monkeypatch, name
):
    check_documented(beyond[0], "docs/localizers.md", name, monkeypatch)
