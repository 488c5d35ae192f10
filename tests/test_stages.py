"""The whole pipeline as a user runs it: DVC, real stages, a tiny dataset drawn on the spot."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from stages import localize
from stages.common import Run

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "GIT_AUTHOR_NAME": "test",
    "GIT_AUTHOR_EMAIL": "test@example.org",
    "GIT_COMMITTER_NAME": "test",
    "GIT_COMMITTER_EMAIL": "test@example.org",
}
# One of each kind: both label losses, both units, convolutions and both backbones, the base of a
# search and what trains with its findings.
EXPERIMENTS = [
    "scratch_1",
    "scratch_4_smooth_l1",
    "mobilenet_5",
    "xception_3",
    "mobilenet_tuned",
]
LOCALIZERS = ["localizer", "localizer_stretched"]
ENSEMBLE, ROW = "ensemble", "one_look"
MEASURED = [*EXPERIMENTS, *LOCALIZERS]
CLASSES = ("with_mask", "without_mask")
STUDY = [name for name in EXPERIMENTS if name != "mobilenet_tuned"]


def run(folder, *command, code=0):
    done = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def dvc(folder, *arguments, code=0):
    return run(folder, sys.executable, "-m", "dvc", *arguments, code=code)


def stage(folder, name, *arguments, code=0):
    return run(folder, sys.executable, "-m", f"stages.{name}", *arguments, code=code)


def checkout(folder, change=None):
    """A working copy of the project with parameters changed by `change`."""
    for name in ("facemask", "stages", "reference", ".dvc/plots"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", ".gitignore", ".dvc/config", ".dvc/.gitignore", ".dvcignore"):
        shutil.copyfile(ROOT / name, folder / name)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    if change:
        change(params)
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    return folder


def shrink(params):
    params["datasets"]["sample"]["source"] = "drawn:16"
    params["experiments"] = {name: params["experiments"][name] for name in EXPERIMENTS}
    for experiment in params["experiments"].values():
        experiment["epochs"] = 1
    params["split"]["seed"] = 2  # one photograph with small crops only trains, one judges
    params["experiments"]["mobilenet_5"]["seeds"] = 2
    params["searches"] = {"mobilenet": params["searches"]["mobilenet"] | {"max_epochs": 3}}
    params["searches"]["mobilenet"]["space"] |= {"units": [8, 16, 32]}
    # Small, and of the backbone only the beginning, of which nothing is trained.
    tap = "block_3_expand_relu"
    small = {"epochs": 1, "taps": [tap], "frozen": tap, "width": 8}
    for localizer in params["localizers"].values():
        localizer |= small
        localizer["canvas"]["size"] = 64
        localizer["schedule"]["warmup"] = 0
    params["ablation"]["common"] = {"seeds": 1}
    params["ablation"]["rows"] = {ROW: params["ablation"]["rows"][ROW]}


def ran(output):
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The pipeline run once from nothing on 16 photographs, and committed."""
    folder = checkout(tmp_path_factory.mktemp("project"), shrink)
    run(folder, "git", "init", "-q")
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "-qm", "before")
    output = dvc(folder, "repro")
    assert len(ran(output)) == 6 + 2 + 1 + 2 * len(MEASURED) + 4
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "-qm", "after")
    return folder


def test_repro_leaves_nothing_but_what_git_and_dvc_know(project):
    assert run(project, "git", "status", "--porcelain") == ""
    assert "up to date" in dvc(project, "status")


def test_a_second_repro_runs_nothing(project):
    assert ran(dvc(project, "repro")) == []


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


@pytest.mark.parametrize("name", MEASURED)
def test_metrics_have_the_promised_shape_and_agree_with_the_predictions(project, name):
    metrics = json.loads((project / f"metrics/sample/{name}.json").read_text())
    keys = ["train", "val", "test", "params", "epochs", "best_epoch", "train_seconds", "protocol"]
    assert list(metrics) == keys + ["seeds"] * (name == "mobilenet_5")
    tested = pd.read_csv(project / f"metrics/sample/predictions/{name}.csv")
    data = json.loads((project / "metrics/sample/data.json").read_text())
    assert len(tested) == data["test"]
    right = tested["actual"] == tested["predicted"]
    assert metrics["test"]["accuracy"] == pytest.approx(right.mean())
    iou = overlap(tested)
    np.testing.assert_allclose(tested["iou"], iou, atol=2e-5)
    assert metrics["test"]["mean_iou"] == pytest.approx(iou.mean(), abs=1e-5)
    assert metrics["test"]["iou_50"] == pytest.approx((iou >= 0.5).mean())
    recalls = {kind: right[tested["actual"] == kind].mean() for kind in CLASSES}
    for kind, recall in recalls.items():
        assert metrics["test"][f"recall_{kind}"] == pytest.approx(recall)
    balanced = sum(recalls.values()) / 2
    assert metrics["test"]["balanced_accuracy"] == pytest.approx(balanced)
    splits = pd.read_csv(project / "data/sample/splits.csv").set_index("sample")
    common = splits.loc[splits["split"] == "train", "label"].mode()[0]
    share = (splits.loc[tested["sample"], "label"] == common).mean()
    assert metrics["test"]["majority_accuracy"] == pytest.approx(share)
    actual = splits.loc[tested["sample"], "label"].map(dict(enumerate(reversed(CLASSES))))
    assert list(tested["actual"]) == list(actual)
    sure = json.loads((project / f"metrics/sample/statistics/{name}.json").read_text())
    for figure, interval in sure["intervals"].items():
        assert interval["value"] == pytest.approx(metrics["test"][figure])
        assert interval["low"] <= interval["value"] <= interval["high"]


@pytest.mark.parametrize("name", STUDY)
def test_parameters_are_those_published(project, name):
    metrics = json.loads((project / f"metrics/sample/{name}.json").read_text())
    published = pd.read_csv(ROOT / "reference/published_results.csv", index_col="id").loc[name]
    assert metrics["params"] == {
        "total": published["total_params"], "trainable": published["trainable_params"]
    }  # fmt: skip


def test_several_seeds_are_trained_and_their_spread_is_told(project):
    folder = project / "models/sample/mobilenet_5"
    first, second = (
        pd.read_csv(at / "history.csv")["loss"][0] for at in (folder, folder / "repeat_1")
    )
    assert first != second
    metrics = json.loads((project / "metrics/sample/mobilenet_5.json").read_text())
    assert metrics["seeds"]["count"] == 2
    mean, std = (metrics["seeds"]["mean_iou"][key] for key in ("mean", "std"))
    # Of two values the deviation is their distance over the root of two.
    assert abs(metrics["test"]["mean_iou"] - mean) == pytest.approx(std / 2**0.5)
    assert std > 0


def test_what_a_search_finds_is_what_its_experiment_trains_with(project):
    import keras

    found = json.loads((project / "data/sample/searches/mobilenet/found.json").read_text())
    model = keras.saving.load_model(
        project / "models/sample/mobilenet_tuned/model.keras", compile=False
    )
    dense = [layer for layer in model.layers if layer.__class__.__name__ == "Dense"]
    hidden = [layer.units for layer in dense if layer.name not in ("label", "box")]
    assert hidden == [found["units"]] * found["layers"]
    trials = pd.read_csv(project / "metrics/sample/searches/mobilenet.csv")
    best = trials.loc[trials["val_loss"].idxmin()]
    assert {key: best[key] for key in found} == found
    told = json.loads((project / "metrics/sample/searches/mobilenet.json").read_text())
    assert told["val_loss"] == pytest.approx(best["val_loss"])
    assert not (project / ".resume/sample/tune/mobilenet").exists()


def test_data_counts_agree_with_the_tables(project):
    data = json.loads((project / "metrics/sample/data.json").read_text())
    samples = pd.read_csv(project / "data/sample/samples.csv")
    crops = samples[samples["flip"] == 0]
    assert data["images"] == 16
    assert data["faces"] == len(pd.read_csv(project / "data/sample/annotations.csv"))
    assert data["crops"] == len(crops) == data["crops_with_mask"] + data["crops_without_mask"]
    assert data["samples"] == len(samples) == data["train"] + data["val"] + data["test"]


def test_small_crops_are_kept_beside_and_never_answered(project):
    data = project / "data/sample"
    samples, small, train, splits = (
        pd.read_csv(data / f"{name}.csv")
        for name in ("samples", "small_samples", "small_splits", "splits")
    )
    faces = pd.read_csv(data / "annotations.csv")
    keys = ["image", "face"]
    crops = pd.concat([samples[samples["flip"] == 0], small])
    assert sorted(map(tuple, crops[keys].to_numpy())) == sorted(map(tuple, faces[keys].to_numpy()))
    assert [*samples["sample"], *small["sample"]] == list(range(len(samples) + len(small)))
    assert len(pd.read_csv(data / "crops/own/shapes.csv")) == len(samples) + len(small)
    assert len(np.load(data / "crops/128/inputs.npy", mmap_mode="r")) == len(samples)
    judges = splits[splits["split"].isin(["val", "test"])]
    assert 0 < len(train) < len(small)
    assert not set(train["image"]) & set(judges["image"])
    counts = json.loads((project / "metrics/sample/data.json").read_text())
    assert counts["small_crops"] == len(train)
    assert counts["small_crops_without_mask"] == (train["label"] == 0).sum()
    for name in LOCALIZERS:
        answers = pd.read_csv(project / "models/sample" / name / "predictions.csv")
        assert sorted(answers["sample"]) == sorted(samples["sample"])


@pytest.mark.parametrize("wanted", [True, False])
def test_a_localizer_learns_from_small_crops_if_it_is_asked_to(project, monkeypatch, wanted):
    class Seen(Exception):
        pass

    def train(settings, application, weights, crops, splits, *others):
        raise Seen(splits)

    monkeypatch.chdir(project)
    monkeypatch.setattr(localize.localizer, "train", train)
    found = Run()
    settings = found.params.localizers["localizer"].model_copy(update={"small_crops": wanted})
    with pytest.raises(Seen) as told:
        localize.train_seeds(found, settings, found.models / "other", ("val",))
    passed = told.value.args[0]
    own, small = pd.read_csv(found.splits), pd.read_csv(found.small_splits)
    for part, numbers in own.groupby("split")["sample"]:
        more = small["sample"] if wanted and part == "train" else []
        assert [*passed.loc[passed["split"] == part, "sample"]] == [*numbers, *more]
    # The number of a row is where its pixels are: their proportions are its rectangle's.
    sizes = passed[["x1", "y1"]].to_numpy() - passed[["x0", "y0"]].to_numpy()
    shapes = pd.read_csv(found.data / "crops/own/shapes.csv").to_numpy()[passed["sample"]]
    shrunk = np.minimum(1, found.params.pack.limit / sizes.max(axis=1, keepdims=True))
    assert np.abs(shapes - sizes * shrunk).max() <= 1


def test_the_report_names_every_experiment_and_its_pictures_exist(project):
    docs = project / "docs/results/sample"
    text = (docs / "REPORT.md").read_text()
    for name in MEASURED:
        assert f"`{name}`" in text
        assert f"figures/curves/{name}.png" in text
    linked = {part.split(")")[0] for part in text.split("](")[1:]}
    pictures = {link for link in linked if link.startswith("figures/")}
    assert len(pictures) >= len(EXPERIMENTS) + 4
    for picture in pictures:
        assert (docs / picture).stat().st_size > 2000
    assert "random weights" in text


def test_an_ensemble_lies_between_its_members(project):
    tables = {
        name: pd.read_csv(project / f"metrics/sample/predictions/{name}.csv")
        for name in (ENSEMBLE, *LOCALIZERS)
    }
    metrics = json.loads((project / f"metrics/sample/{ENSEMBLE}.json").read_text())
    assert metrics["networks"] == 2
    assert metrics["test"]["mean_iou"] == pytest.approx(overlap(tables[ENSEMBLE]).mean(), abs=1e-5)
    fused, *members = (table["pred_x0"] for table in tables.values())
    low, high = np.min(members, axis=0), np.max(members, axis=0)
    assert (low < high).any()
    assert ((fused >= low - 1e-5) & (fused <= high + 1e-5)).all()


def test_rows_of_the_ablation_do_not_see_the_test_samples(project):
    figures = json.loads((project / f"metrics/sample/ablation/{ROW}.json").read_text())
    assert list(figures) == ["val", "train_seconds"]
    assert len(figures["val"]["accuracy"]) == len(figures["train_seconds"]) == 1
    folder = project / "models/sample/ablation" / ROW
    for answers in folder.rglob("predictions.csv"):
        assert set(pd.read_csv(answers)["split"]) == {"val"}


def test_the_page_beyond_the_study_tells_of_all_and_its_pictures_exist(project):
    folder = project / "docs/results/sample/beyond" / ENSEMBLE
    text = (folder / "README.md").read_text()
    for name in (*LOCALIZERS, ENSEMBLE, ROW):
        assert f"| `{name}` |" in text
    linked = {part.split(")")[0] for part in text.split("](")[1:]}
    assert len(linked) >= 4
    for picture in linked:
        assert (folder / picture).stat().st_size > 2000


def test_dvclive_logs_every_epoch_of_both_splits(project):
    live = project / "models/sample/scratch_1/live/plots/metrics"
    for split in ("train", "eval"):
        for name in ("loss", "label_loss", "box_loss", "label_accuracy", "box_iou"):
            assert len(pd.read_csv(live / split / f"{name}.tsv", sep="\t")) == 1
    assert (live / "train/learning_rate.tsv").exists()


def test_dvc_draws_curves_and_confusion_matrices(project):
    plots = json.loads(dvc(project, "plots", "show", "--json"))["data"]
    assert {
        "Total loss", "Label loss", "Box loss", "Accuracy", "IoU", "Learning rate",
        "IoU histogram", "Precision and recall without mask", "Confusion matrices",
    } <= {name.split("::")[-1] for name in plots}  # fmt: skip
    assert any("searches/mobilenet" in name for name in plots)
    for name, drawn in plots.items():
        assert drawn, name


def test_the_plots_page_draws_without_network(project, tmp_path):
    dvc(project, "plots", "show", "-o", str(tmp_path / "page"))
    page = (tmp_path / "page/index.html").read_text()
    assert "Content-Security-Policy" in page
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=.https?:", page)
    assert page.count("vegaEmbed(") > 9


def test_one_changed_value_reruns_its_experiment_alone(project):
    output = dvc(project, "exp", "run", "-S", "experiments.scratch_1.epochs=2")
    assert sorted(ran(output)) == ["evaluate@scratch_1", "report", "train@scratch_1"]
    changes = json.loads(dvc(project, "metrics", "diff", "--json"))
    epochs = changes["metrics/sample/scratch_1.json"]["epochs"]
    assert (epochs["old"], epochs["new"]) == (1, 2)
    run(project, "git", "checkout", "-q", ".")
    dvc(project, "checkout", "-q")


def test_a_grouped_run_stands_beside_and_decodes_nothing(project):
    grouped = ["-S", "split.protocol=grouped", "-S", "split.suffix=_grouped"]
    output = dvc(project, "exp", "run", *grouped, "evaluate@mobilenet_5")
    assert not {"fetch", "parse", "crop", "balance", "pack"} & set(ran(output))
    assert not any(name.startswith("embed") for name in ran(output))
    data = json.loads((project / "metrics/sample_grouped/data.json").read_text())
    assert data["leaking_test_samples"] == 0
    metrics = json.loads((project / "metrics/sample_grouped/mobilenet_5.json").read_text())
    assert metrics["protocol"] == "grouped"
    # exp run may take the other protocol's files out of the workspace; git and DVC have them.
    run(project, "git", "checkout", "-q", ".")
    dvc(project, "checkout", "-q")
    assert (project / "metrics/sample/mobilenet_5.json").exists()
    assert ran(dvc(project, "repro")) == []


@pytest.mark.parametrize("name", ["fetch", "parse", "crop", "balance", "split", "pack", "evaluate"])
def test_stages_without_networks_do_not_wait_for_tensorflow(name):
    code = f"import sys, stages.{name}; print({{'tensorflow', 'keras'}} & set(sys.modules))"
    assert run(ROOT, sys.executable, "-c", code).strip() == "set()"


def photographs(folder):
    return sorted((folder / "mine/images").iterdir())


@pytest.fixture
def own(tmp_path):
    """A project whose dataset is a user's own folder of drawn photographs."""

    def point(params):
        params["dataset"] = "mine"
        params["datasets"]["mine"] = {**params["datasets"]["sample"], "source": "mine"}

    from facemask.data.synthetic import draw_dataset

    folder = checkout(tmp_path, point)
    draw_dataset(folder / "mine", 3)
    return folder


def contents(folder):
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def remove_image(folder):
    path = photographs(folder)[1]
    path.unlink()
    return [f"{path.stem}.xml", "missing"]


def truncate_image(folder):
    path = photographs(folder)[1]
    path.write_bytes(path.read_bytes()[:100])
    return [path.name, "not a readable image"]


def rewrite(folder, old, new):
    path = sorted((folder / "mine/annotations").iterdir())[0]
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path.name


def break_xml(folder):
    return [rewrite(folder, "</annotation>", ""), "not well-formed"]


def unknown_class(folder):
    name = rewrite(folder, "<name>", "<name>hat_and_")
    return [name, "unknown class", "datasets.<name>.classes"]


def box_outside(folder):
    text = sorted((folder / "mine/annotations").iterdir())[0].read_text()
    xmin = text.split("<xmin>")[1].split("<")[0]
    xmax = text.split("<xmax>")[1].split("<")[0]
    rewrite(folder, f"<xmin>{xmin}", "<xmin>5000")
    return [rewrite(folder, f"<xmax>{xmax}", "<xmax>5100"), "outside the image"]


def edit_params(folder, change):
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text())
    change(params)
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def unknown_key(folder):
    edit_params(folder, lambda params: params["crop"].update(min_aera=1))
    return ["crop.min_aera", "unknown key", "min_area"]


def wrong_value(folder):
    edit_params(folder, lambda params: params["experiments"]["scratch_2"].update(epochs="ten"))
    return ["experiments.scratch_2.epochs", "'ten'"]


def missing_source(folder):
    edit_params(folder, lambda params: params["datasets"]["mine"].update(source="nowhere"))
    return ["'nowhere'", "datasets.<name>.source"]


@pytest.mark.parametrize(
    "spoil",
    [
        remove_image, truncate_image, break_xml, unknown_class, box_outside, unknown_key,
        wrong_value, missing_source,
    ],
)  # fmt: skip
def test_wrong_input_ends_in_one_message_and_touches_nothing(own, spoil):
    expected = spoil(own)
    before = contents(own / "mine")
    for name in ("fetch", "parse"):
        done = subprocess.run(
            [sys.executable, "-m", f"stages.{name}"],
            cwd=own, env=ENVIRONMENT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            break
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for word in expected:
        assert word in done.stderr
    assert contents(own / "mine") == before


def test_missing_weights_are_named(own):
    edit_params(own, lambda params: params["datasets"]["mine"].update(weights="no-weights"))
    message = stage(own, "embed", "mobilenet_v2", code=1)
    assert "no-weights" in message
    assert "mobilenet_v2*.h5" in message
    assert "Traceback" not in message


def test_the_ci_gate_runs_the_test_command_of_the_readme():
    commands = [
        line for line in (ROOT / "README.md").read_text().splitlines() if line.endswith("&& pytest")
    ]
    assert len(commands) == 1
    gate = (ROOT / ".ci/run").read_text()
    assert commands[0] in gate
