"""README.md and docs/: tables are what the measured runs make, commands name what exists."""

import importlib
import importlib.util
import json
import re
from pathlib import Path
from statistics import mean, stdev

import onnxruntime
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from facemask import cli
from facemask.inference import runtime
from facemask.reporting import model_card

ROOT = Path(__file__).parents[1]
README, PAGE, RESULTS = ROOT / "README.md", ROOT / "docs/results.md", ROOT / "docs/results"
PAGES = [README, *sorted(ROOT.glob("docs/*.md"))]
PUBLISHED = pd.read_csv(ROOT / "reference/published_results.csv", index_col="id")
STUDY, LOCALIZER = "records/study/predictions/{}.csv", "records/localizer/predictions/{}.csv"
FOLDS = [f"localizer_grouped_{fold}/" for fold in range(5)]
ROWS = [
    *((PAGE, "The study's 19 experiments", name, ["kaggle/" + STUDY]) for name in PUBLISHED.index),
    *((README, "Results", name, ["kaggle/" + STUDY]) for name in ("scratch_7", "mobilenet_6")),
    (README, "Results", "ensemble", ["localizer/" + LOCALIZER]),
    (PAGE, "Localizers, random split", "localizer", ["localizer/" + LOCALIZER]),
    (PAGE, "Localizers, five grouped folds", "localizer", [fold + LOCALIZER for fold in FOLDS]),
]


@pytest.fixture(scope="module")
def rendered():
    spec = importlib.util.spec_from_file_location("results_page", ROOT / "docs/results.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script.render(RESULTS)


@pytest.mark.parametrize("page", [PAGE, README], ids=lambda page: page.name)
def test_the_page_is_what_the_snapshots_make(rendered, page):
    assert page.read_text() == rendered[page]


def first_table(page, title):
    """The cells of a section's first table: rows by their names, cells by their headers."""
    section = page.read_text().split(f"\n## {title}\n")[1]
    header, _, *rows = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)[0].splitlines()
    cells = [[cell.strip(" `\\*") for cell in row.strip("|").split("|")] for row in (header, *rows)]
    return {row[0]: dict(zip(cells[0], row, strict=True)) for row in cells[1:]}


@pytest.mark.parametrize(("page", "title", "name", "files"), ROWS)
def test_cells_are_the_metrics_of_the_predictions(page, title, name, files):
    faces = pd.concat([pd.read_csv(RESULTS / file.format(name)) for file in files])
    right, masked = faces["actual"] == faces["predicted"], faces["actual"] == "with_mask"
    expected = {"accuracy": right, "recall with mask": right[masked], "IoU": faces["iou"]}
    row = first_table(page, title)[name]
    for column, values in {**expected, "recall without mask": right[~masked]}.items():
        # Predictions are kept with six digits.
        assert float(row[column].split()[0]) == pytest.approx(100 * values.mean(), abs=0.0051)


def test_the_shipped_detector_is_the_one_that_was_measured():
    records = RESULTS / "detector_grouped_0/records/detector"
    measured, exported = (
        json.loads((records / f"{kind}/detector.json").read_text())
        for kind in ("statistics", "exported")
    )
    assert runtime.SHIPPED.stat().st_size / 1e6 == exported["onnx"]["megabytes"] <= 6
    session = onnxruntime.InferenceSession(runtime.SHIPPED)
    kept = session.get_modelmeta().custom_metadata_map
    about = {key: json.loads(value) for key, value in kept.items()}
    card = runtime.SHIPPED.with_name("README.md").read_text()
    assert card == model_card.render(about, measured, exported)


def test_published_values_stand_beside_the_study():
    for name, row in first_table(PAGE, "The study's 19 experiments").items():
        for header, key in (("accuracy", "test_accuracy"), ("IoU", "test_iou")):
            value = PUBLISHED.loc[name, key]
            cell = "-" if pd.isna(value) else f"{100 * value:.2f}"
            assert row[f"published {header}"] == cell


def test_variants_of_the_ablation_have_the_metrics_of_their_repeats():
    table = first_table(PAGE, "Ablation")
    assert len(table) >= 15
    for name, row in table.items():
        file = RESULTS / f"localizer_grouped_0/records/localizer/ablation/{name}.json"
        values = [100 * value for value in json.loads(file.read_text())["val"]["mean_iou"]]
        assert row["IoU"] == f"{mean(values):.2f} ± {stdev(values):.2f}"


def test_wrong_labels_are_counted():
    faces = pd.concat(
        [pd.read_csv(RESULTS / fold / LOCALIZER.format("localizer")) for fold in FOLDS]
    )
    wrong = faces["actual"] != faces["predicted"]
    text = " ".join(PAGE.read_text().split())
    assert f"gives {wrong.sum()} of {len(faces):,} crops the wrong label" in text
    assert f"lost as well in {(wrong & (faces['iou'] < 0.5)).sum()} of them" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_keys_and_stages_exist(page):
    text = page.read_text()
    text = text.replace("$E", "experiments.mobilenet_1")
    if place := re.search(r"^P=(\S+)", text, re.MULTILINE):
        text = text.replace("$P", place[1])
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / link).exists(), link
    for file, key in re.findall(r"-S ['\"]?\+*(?:([\w./]+):)?([\w.]+)=", text):
        values = yaml.safe_load((ROOT / (file or "params.yaml")).read_text())
        # What defaults: holds need not be written by an experiment.
        for part in key.split(".")[: 2 if f"++{key}" in text else None]:
            values = values[part]
    for target in re.findall(r"dvc repro (?:-f )?([\w/.]+(?::\w+)?)", text):
        file, _, stage = target.rpartition(":") if "/" in target else ("", "", target)
        stages = yaml.safe_load((ROOT / (file or "dvc.yaml")).read_text())["stages"]
        assert stage in stages or (ROOT / stage).is_file(), target
    for module, names in re.findall(r"^from (facemask\S*) import (.+)$", text, re.MULTILINE):
        found = importlib.import_module(module)
        for name in names.split(", "):
            assert hasattr(found, name) or importlib.util.find_spec(f"{module}.{name}"), name


@pytest.mark.parametrize("page", [README, ROOT / "docs/experiments.md"], ids=lambda page: page.name)
def test_documented_comparisons_run_as_shown(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    found = re.findall(r"facemask compare ([\w@]+) ([\w@]+)(?:\n(.*?)```)?", page.read_text(), re.S)
    assert found
    for *names, output in found:
        done = CliRunner().invoke(cli.app, ["compare", *names])
        assert done.exit_code == 0, done.output
        assert {*output.splitlines()} - {"…"} <= {*done.output.splitlines()}
