"""The whole pipeline as a user runs it: DVC, real stages, a tiny synthetic dataset.

The small project of conftest.py has run once; tests look at it, or work on copies of it.
"""

import json
import re
import sys

import numpy as np
import pandas as pd
import pytest
from checks import CLASSES, check_documented, check_metrics, overlap, read_json
from conftest import (
    EXPERIMENTS,
    MEASURED,
    ROOT,
    SMALL,
    STUDY,
    checkout,
    dvc,
    edit_params,
    ran,
    run,
)

from facemask.data.synthetic import draw_dataset
from facemask.shards import Crops, Shards
from stages import localize
from stages.common import run_stage
from stages.crop import crop
from stages.embed import embed
from stages.evaluate import evaluate
from stages.fetch import fetch
from stages.pack import pack
from stages.parse import parse
from stages.resolve import write_configs
from stages.split import split
from stages.train import train


@pytest.fixture
def call(monkeypatch):
    """A function (folder, stage, arguments) that runs a stage as `python -m` would, but here."""

    def call(folder, stage, *arguments):
        monkeypatch.chdir(folder)
        file = sys.modules[stage.__module__].__file__
        monkeypatch.setattr(sys, "argv", [file, *arguments])
        run_stage(stage)

    return call


def test_the_study_is_what_dvc_repro_runs(project):
    output = (project.parent / "output.txt").read_text()
    alone = ["fetch", "parse", "crop", "split", "pack", "resolve", "report"]
    each = [f"{kind}@{name}" for kind in ("train", "evaluate") for name in EXPERIMENTS]
    tuned = [f"{kind}@mobilenet" for kind in ("tune", "train_tuned", "evaluate_tuned")]
    assert sorted(ran(output)) == sorted([*alone, "embed@mobilenet_v2", *each, *tuned])


def test_repro_leaves_nothing_but_what_git_and_dvc_know_and_runs_once(copy):
    assert run(copy, "git", "status", "--porcelain") == ""
    assert ran(dvc(copy, "repro")) == []
    # `source` runs each time, to see whether files were added.
    status = json.loads(dvc(copy, "status", "--json", "dvc.yaml"))
    assert status == {"source": ["always changed"]}
    assert run(copy, "git", "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("name", "epochs"), [("scratch_1", 1), ("mobilenet_1", 3), ("mobilenet_tuned", 3)]
)
def test_metrics_agree_with_the_predictions(project, name, epochs):
    check_metrics(project, "study", name, epochs)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_parameters_are_those_published(project, name):
    reported = read_json(project / f"report/records/study/statistics/{name}.json")["params"]
    published = pd.read_csv(ROOT / "reference/published_results.csv", index_col="id").loc[name]
    assert reported == {
        "total": published["total_params"], "trainable": published["trainable_params"]
    }  # fmt: skip


def test_a_model_says_what_it_was_made_with(project):
    reported = read_json(project / "models/scratch_1/config.json")
    assert reported == read_json(project / "data/configs/study/scratch_1.json")
    assert (reported["seed"], reported["input_size"], reported["epochs"]) == (42, 128, 1)
    # Filled in from defaults.
    assert reported["class_weights"] == dict.fromkeys(CLASSES, 1)


def test_what_a_search_finds_is_what_its_experiment_trains_with(project):
    import keras

    found = read_json(project / "data/searches/mobilenet.json")
    model = keras.saving.load_model(project / "models/mobilenet_tuned/model.keras", compile=False)
    dense = [layer for layer in model.layers if layer.__class__.__name__ == "Dense"]
    hidden = [layer.units for layer in dense if layer.name not in ("label", "box")]
    assert hidden == [found["units"]] * found["layers"]
    record = project / "report/records/study/searches/mobilenet"
    trials = pd.read_csv(record / "trials.csv")
    best = trials.loc[trials["val_loss"].idxmin()]
    assert {key: best[key] for key in found} == found
    assert read_json(record / "best.json")["val_loss"] == pytest.approx(best["val_loss"])
    reported = read_json(project / "models/mobilenet_tuned/config.json")
    assert reported["optimizer"]["learning_rate"] == found["learning_rate"]
    base = read_json(project / "data/configs/study/mobilenet_1.json")
    changed = {key for key in base if reported[key] != base[key]}
    assert changed <= {"network", "dropout", "optimizer"}
    assert not (project / ".resume/tune/mobilenet").exists()


def test_data_counts_agree_with_the_tables(project):
    counts = read_json(project / "data/counts.json")
    samples = pd.read_csv(project / "data/samples.csv")
    splits = pd.read_csv(project / "data/splits.csv")
    crops = samples[samples["flip"] == 0]
    assert counts["images"] == 16
    assert counts["faces"] == len(pd.read_csv(project / "data/annotations.csv"))
    assert counts["crops"] == len(crops) == counts["crops_with_mask"] + counts["crops_without_mask"]
    assert counts["samples"] == len(samples)
    for name in ("train", "val", "test"):
        assert counts[name] == (splits["split"] == name).sum() > 0
    shown = read_json(project / "metrics/data.json")
    assert (shown["images"], shown["test"]) == (16, counts["test"])
    # Test samples that share an image with others.
    test = splits["split"] == "test"
    leaking = splits.loc[test, "image"].isin(splits.loc[~test, "image"]).sum()
    assert shown["leaks"] >= leaking > 0


def test_extra_crops_are_kept_beside(project):
    data = project / "data"
    samples, extra, trained, splits = (
        pd.read_csv(data / f"{name}.csv")
        for name in ("samples", "extra_samples", "extra_splits", "splits")
    )
    faces = pd.read_csv(data / "annotations.csv")
    keys = ["image", "face"]
    crops = pd.concat([samples[samples["flip"] == 0], extra])
    assert sorted(map(tuple, crops[keys].to_numpy())) == sorted(map(tuple, faces[keys].to_numpy()))
    assert [*samples["sample"], *extra["sample"]] == list(range(len(samples) + len(extra)))
    assert len(pd.read_csv(data / "crops/native/shapes.csv")) == len(samples) + len(extra)
    assert len(Shards(data / "crops/128")) == len(samples)
    judges = splits[splits["split"].isin(["val", "test"])]
    assert 0 < len(trained) < len(extra)
    assert not set(trained["image"]) & set(judges["image"])
    counts = read_json(data / "counts.json")
    assert counts["extra_crops"] == len(trained)
    assert counts["extra_crops_without_mask"] == (trained["label"] == 0).sum()


@pytest.mark.parametrize("wanted", [True, False])
def test_a_localizer_learns_from_extra_crops_if_that_is_wanted(copy, call, monkeypatch, wanted):
    class Seen(Exception):
        pass

    def only_look(settings, crops, splits, *others):
        raise Seen(splits)

    monkeypatch.setattr(localize.localizer, "train", only_look)
    call(copy, write_configs, "localizer")
    file = copy / "data/configs/localizer/localizer.json"
    file.write_text(json.dumps(read_json(file) | {"extra_crops": wanted}))
    with pytest.raises(Seen) as caught:
        call(copy, localize.localize, "localizer")
    passed = caught.value.args[0]
    own, extra = (pd.read_csv(copy / f"data/{name}.csv") for name in ("splits", "extra_splits"))
    for part, numbers in own.groupby("split")["sample"]:
        more = extra["sample"] if wanted and part == "train" else []
        assert [*passed.loc[passed["split"] == part, "sample"]] == [*numbers, *more]
    # The number of a row is where its pixels are: their aspect is its crop region's.
    sizes = passed[["x1", "y1"]].to_numpy() - passed[["x0", "y0"]].to_numpy()
    shapes = Crops(copy / "data/crops/native").shapes[passed["sample"]]
    shrunk = np.minimum(1, 320 / sizes.max(axis=1, keepdims=True))
    assert np.abs(shapes - sizes * shrunk).max() <= 1


def test_repeats_are_trained_with_seeds_of_their_own_and_their_std_is_reported(copy, call):
    file = copy / "data/configs/study/mobilenet_1.json"
    file.write_text(json.dumps(read_json(file) | {"repeats": 2}))
    before = pd.read_csv(copy / "models/mobilenet_1/history.csv")
    call(copy, train, "study", "mobilenet_1")
    call(copy, evaluate, "study", "mobilenet_1")
    folders = [copy / "models/mobilenet_1", copy / "models/mobilenet_1/repeat_1"]
    first, second = (pd.read_csv(folder / "history.csv") for folder in folders)
    np.testing.assert_allclose(first["loss"], before["loss"], rtol=1e-4)  # what it was without
    assert abs(first["loss"] - second["loss"]).min() > 1e-3
    predictions = [
        pd.read_csv(folder / "predictions.csv").query("split == 'test'") for folder in folders
    ]
    values = [overlap(table).mean() for table in predictions]
    shown = read_json(copy / "metrics/mobilenet_1.json")
    assert shown["iou"] == pytest.approx(values[0], abs=1e-5)
    assert shown["iou_mean"] == pytest.approx(np.mean(values), abs=1e-5)
    assert shown["iou_std"] == pytest.approx(np.std(values, ddof=1), abs=1e-5)
    reported = read_json(copy / "report/records/study/statistics/mobilenet_1.json")
    assert reported["count"] == 2


def test_the_report_names_every_experiment_and_its_plots_exist(project):
    folder = project / "report"
    text = (folder / "REPORT.md").read_text()
    for name in MEASURED:
        assert f"`{name}`" in text
        assert f"plots/curves/{name}.png" in text
    linked = {part.split(")")[0] for part in text.split("](")[1:]}
    plots = {link for link in linked if link.startswith("plots/")}
    assert len(plots) >= len(MEASURED) + 4
    for plot in plots:
        assert (folder / plot).stat().st_size > 2000
    assert "random weights" in text


def test_dvclive_logs_every_epoch_of_both_splits(project):
    live = project / "models/mobilenet_1/live/plots/metrics"
    for split_name in ("train", "eval"):
        for name in ("loss", "label_loss", "box_loss", "label_accuracy", "box_iou"):
            assert len(pd.read_csv(live / split_name / f"{name}.tsv", sep="\t")) == 3
    assert (live / "train/learning_rate.tsv").exists()


def test_dvc_draws_curves_and_confusion_matrices(copy):
    plots = json.loads(dvc(copy, "plots", "show", "--json"))["data"]
    assert {
        "Total loss", "Label loss", "Box loss", "Accuracy", "IoU", "Learning rate",
        "IoU histogram", "Precision and recall without mask", "Confusion matrices",
    } <= {name.split("::")[-1] for name in plots}  # fmt: skip
    assert any("searches/mobilenet" in name for name in plots)
    for name, drawn in plots.items():
        assert drawn, name


def test_the_plots_page_draws_without_network(copy, tmp_path):
    dvc(copy, "plots", "show", "-o", str(tmp_path / "page"))
    page = (tmp_path / "page/index.html").read_text()
    assert "Content-Security-Policy" in page
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=.https?:", page)
    assert page.count("vegaEmbed(") > 9


# What runs again.


def test_one_changed_value_reruns_its_experiment_alone(copy):
    change = ["-S", "experiments.scratch_1.epochs=2"]
    output = dvc(copy, "exp", "run", *change, "evaluate@scratch_1")
    assert sorted(ran(output)) == ["evaluate@scratch_1", "resolve", "train@scratch_1"]
    reported = read_json(copy / "report/records/study/statistics/scratch_1.json")
    assert reported["epochs"] == 2
    status = json.loads(dvc(copy, "status", "--json", "dvc.yaml"))
    assert set(status) - {"source"} == {"report"}


@pytest.mark.parametrize(
    ("setting", "trained"),
    [
        # A key that the entry itself does not have.
        ("++experiments.scratch_1.class_weights.without_mask=2", ["train@scratch_1"]),
        # mobilenet_1, where the search begins as well, has a value of its own.
        ("defaults.early_stopping=3", ["train@scratch_1"]),
    ],
)  # fmt: skip
def test_a_changed_value_is_due_again_where_it_is_used(copy, setting, trained):
    """What follows a training, the test before this one runs."""
    assert ran(dvc(copy, "exp", "run", "-S", setting, "resolve")) == ["resolve"]
    status = json.loads(dvc(copy, "status", "--json", "dvc.yaml"))
    assert sorted(set(status) - {"report", "source"}) == trained


def test_random_and_grouped_are_compared_row_by_row(copy, call):
    packed = [copy / f"data/{name}samples.csv" for name in ("", "extra_")]
    before = [path.read_bytes() for path in packed]
    edit_params(copy, lambda params: params.update(split="grouped_0"))
    for stage, *arguments in (
        (split,),
        (train, "study", "scratch_1"),
        (evaluate, "study", "scratch_1"),
    ):
        call(copy, stage, *arguments)
    # What pack and embed depend on is the same: no image is decoded again.
    assert [path.read_bytes() for path in packed] == before
    assert read_json(copy / "metrics/data.json")["leaks"] == 0
    check_metrics(copy, "study", "scratch_1", 1)
    compared = dvc(copy, "metrics", "diff", "--all", "--md")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in compared.splitlines()]
    rows = [(row[0], row[1]) for row in rows if row and row[0].startswith("metrics")]
    names = [*MEASURED, "data"]
    expected = [
        (f"metrics/{name}.json", metric)
        for name in names
        for metric in read_json(copy / f"metrics/{name}.json")
    ]
    assert sorted(rows) == sorted(expected)
    assert len(rows) > 20


def test_metrics_of_the_whole_study_fit_a_screen(project, tmp_path):
    folder = checkout(tmp_path)
    run(folder, "git", "init", "-q")
    names = pd.read_csv(ROOT / "reference/published_results.csv")["id"]
    assert len(names) == 19
    shown = dict.fromkeys(read_json(project / "metrics/scratch_1.json"), 0.745283018)
    (folder / "metrics").mkdir()
    for name in [*names, "mobilenet_tuned", "xception_tuned"]:
        (folder / f"metrics/{name}.json").write_text(json.dumps(shown))
    counts = dict.fromkeys(read_json(project / "metrics/data.json"), 4072)
    (folder / "metrics/data.json").write_text(json.dumps(counts))
    lines = dvc(folder, "metrics", "show").splitlines()
    assert len(lines) == 1 + 19 + 2 + 1
    assert max(map(len, lines)) <= 160
    reported = {line.split()[0] for line in lines[1:]}
    assert {f"metrics/{name}.json" for name in names} < reported


def files(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".gitignore"
    }


def test_another_dataset_changes_no_path(project, tmp_path, call):
    """The same images under another name: the same files, byte for byte."""

    def mine(params):
        SMALL[STUDY](params)
        params["dataset"] = "mine"
        params["datasets"]["mine"] = {**params["datasets"]["sample"], "source": "../images"}

    folder = tmp_path / "project"
    checkout(folder, {**SMALL, STUDY: mine})
    draw_dataset(tmp_path / "images", 16)
    for stage in (fetch, parse, crop, split, pack):
        call(folder, stage)
    own, theirs = files(folder / "data"), files(project / "data")
    later = ("configs", "features", "searches", "source.csv")
    assert own == {path: data for path, data in theirs.items() if path.parts[0] not in later}
    assert len(own) > 40


def test_stages_without_networks_do_not_wait_for_tensorflow():
    names = ["source", "fetch", "parse", "crop", "split", "pack", "resolve", "evaluate", "report"]
    code = "import sys\n" + "".join(
        f"import stages.{name}\n"
        f"print('{name}', sorted({{'tensorflow', 'keras'}} & {{*sys.modules}}))\n"
        for name in names
    )
    reported = run(ROOT, sys.executable, "-c", code)
    assert reported.splitlines() == [f"{name} []" for name in names]


# What a user can mend.


@pytest.fixture
def own(tmp_path):
    """A project whose dataset is a user's own folder of synthetic images."""

    def point(params):
        params["dataset"] = "mine"
        params["datasets"]["mine"] = {**params["datasets"]["sample"], "source": "mine"}

    folder = checkout(tmp_path, {STUDY: point})
    draw_dataset(folder / "mine", 3)
    return folder


def contents(folder):
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def images(folder):
    return sorted((folder / "mine/images").iterdir())


def remove_image(folder):
    path = images(folder)[1]
    path.unlink()
    return [f"{path.stem}.xml", "missing"]


def truncate_image(folder):
    path = images(folder)[1]
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
def test_wrong_input_ends_in_one_message_and_touches_nothing(own, call, spoil):
    expected = spoil(own)
    before = contents(own / "mine")
    with pytest.raises(SystemExit) as caught:
        for stage in (fetch, parse):
            call(own, stage)
    message = str(caught.value.code)
    assert re.match(r"\nThe (fetch|parse) stage stopped: ", message)
    for word in expected:
        assert word in message
    assert contents(own / "mine") == before


def test_what_was_read_repaired_and_left_out_is_said_on_the_terminal(own, call, capsys):
    edit_params(own, lambda params: params.update(strict=False))
    edit_params(own, lambda params: params["datasets"]["mine"]["classes"].update(unsure=None))
    unsure, broken = sorted((own / "mine/annotations").iterdir())[1:]
    unsure.write_text(re.sub(r"<name>\w+<", "<name>unsure<", unsure.read_text(), count=1))
    broken.write_text("")
    for stage in (fetch, parse):
        call(own, stage)
    shown = capsys.readouterr().out
    assert "mine: 2 images" in shown
    assert "unsure: 1 faces dropped" in shown
    assert "boxes: zero_based; " in shown
    assert "error 1, repaired 0" in shown
    assert f"left out: 1\n  {broken.stem}" in shown
    assert "report/validation.md" in shown


def test_missing_weights_are_named(own, call):
    edit_params(own, lambda params: params["datasets"]["mine"].update(weights="no-weights"))
    with pytest.raises(SystemExit, match="no-weights") as caught:
        call(own, embed, "mobilenet_v2")
    assert "mobilenet_v2*.h5" in str(caught.value.code)


def test_the_ci_gate_runs_the_commands_of_the_readme():
    lines = (ROOT / "README.md").read_text().splitlines()
    (install,) = (line for line in lines if line.startswith("python3.11 -m venv"))
    assert any(line == "pytest" or line.endswith("&& pytest") for line in lines)
    gate = (ROOT / ".ci/run").read_text()
    assert install in gate
    assert '\npytest --cov --cov-fail-under=95 -m "slow or not slow"' in gate


@pytest.mark.parametrize("name", MEASURED)
def test_the_documented_code_gives_the_recorded_predictions(project, monkeypatch, name):
    check_documented(project, "docs/experiments.md", name, monkeypatch)
