"""The command line: its metrics against the library's, and its messages for wrong inputs."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import setuptools
from click.testing import CliRunner

from facemask.cli import app
from facemask.evaluation import bootstrap, significance

ROOT = Path(__file__).parents[1]
KAGGLE = ROOT / "docs/results/kaggle/records/study"
NAMES = ["mobilenet_1", "mobilenet_4", "scratch_1"]
RECORDS = "report/records/study"
ROW = re.compile(
    r"(?P<metric>[A-Za-z0-9 ]+?)  +(?P<first>\S+) +(?P<second>\S+) +(?P<difference>\S+)"
    r" +(?P<low>\S+) to (?P<high>\S+) +(?P<mark>\*)? +(?P<p>\S+)"
)


WHO = [f"GIT_{role}_{key}" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")]
ENVIRONMENT = {
    **os.environ,
    **dict.fromkeys(WHO, "test@example.org"),
    "DVC_NO_ANALYTICS": "1",
    # Neither the terminal that runs the tests nor a build server's wish for colours counts.
    "COLUMNS": "80",
    "NO_COLOR": "1",
    "TERM": "dumb",
}


def run(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, env=ENVIRONMENT, check=True, capture_output=True)


def facemask(*arguments: str, code: int = 0) -> str:
    """What a command prints: on stdout if it is to succeed, on stderr if it is to fail."""
    result = CliRunner(env=ENVIRONMENT).invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    assert bool(result.stderr) == bool(code)
    assert bool(result.stdout) != bool(code)
    return result.stderr if code else result.stdout


def rows(output: str) -> dict[str, dict[str, str]]:
    """The printed table: metric → cells."""
    found = [match.groupdict() for match in map(ROW.fullmatch, output.splitlines()) if match]
    return {row.pop("metric").lower().replace(" ", "_"): row for row in found}


def reverse(path: Path) -> None:
    """Swap every predicted class of an experiment."""
    table = pd.read_csv(path)
    table["predicted"] = table["predicted"].map(
        {"with_mask": "without_mask", "without_mask": "with_mask"}
    )
    table.to_csv(path, index=False)


def keep(records: Path, folder: Path, names: list[str], images: int) -> None:
    """Predictions of some experiments, of the first images alone, and their statistics."""
    for kind in ("predictions", "statistics"):
        (folder / kind).mkdir(parents=True)
    for name in names:
        table = pd.read_csv(records / f"predictions/{name}.csv")
        first = table["image"].unique()[:images]
        path = folder / f"predictions/{name}.csv"
        table[table["image"].isin(first)].to_csv(path, index=False)
        shutil.copy(records / f"statistics/{name}.json", folder / "statistics")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working copy with three experiments of the study and one of another pipeline."""
    keep(KAGGLE, tmp_path / RECORDS, NAMES, 40)
    losses = ROOT / "docs/results/losses/records/losses"
    keep(losses, tmp_path / "report/records/losses", ["mobilenet_6_giou"], 40)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the repository, whose snapshots are those of docs/results."""
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize(
    "names", [("mobilenet_5", "mobilenet_6"), ("scratch_7", "mobilenet_3"), ("scratch_1",) * 2]
)
def test_the_table_is_that_of_the_library(here: None, names: tuple[str, str]) -> None:
    output = facemask("compare", *(f"{name}@kaggle" for name in names))
    tables = [pd.read_csv(KAGGLE / f"predictions/{name}.csv") for name in names]
    expected = significance.compare(*tables).set_index("metric")
    printed = rows(output)
    assert list(printed) == bootstrap.METRICS
    for metric, row in expected.iterrows():
        cells = printed[metric]
        for name in ("first", "second", "difference", "low", "high"):
            assert float(cells[name]) == pytest.approx(100 * row[name], abs=0.005001)
        shown = "<0.001" if row["p"] < 0.001 else f"{row['p']:.3f}"
        assert cells["p"] == shown
        assert (cells["mark"] == "*") == (row["low"] * row["high"] > 0)
    measured = json.loads((KAGGLE / f"statistics/{names[1]}.json").read_text())["test"]
    for metric in bootstrap.METRICS:
        assert float(printed[metric]["second"]) == pytest.approx(100 * measured[metric], abs=0.0051)
    text = " ".join(output.split())
    assert f"A: {names[0]}@kaggle B: {names[1]}@kaggle " in text
    assert "424 test samples of 323 images." in text
    assert f"{100 * measured['majority_accuracy']:.2f} % of them are with_mask" in text
    assert max(map(len, output.splitlines())) <= 80


def test_some_rows_are_marked_and_some_are_not(here: None) -> None:
    # Half the weight of the box, all else equal: labels alike, boxes worse.
    printed = rows(facemask("compare", "mobilenet_1@kaggle", "mobilenet_3@kaggle"))
    assert printed["mean_iou"]["mark"] == "*"
    assert printed["accuracy"]["mark"] is None


def test_two_members_are_the_ensemble_of_the_pipeline(here: None) -> None:
    """From what is kept of its members; six digits of a box are."""
    both = "localizer@localizer+localizer_stretched@localizer"
    printed = rows(facemask("compare", "ensemble@localizer", both))
    file = ROOT / "docs/results/localizer/records/localizer/statistics/ensemble.json"
    measured = json.loads(file.read_text())["test"]
    assert list(printed) == bootstrap.METRICS
    for metric, cells in printed.items():
        assert float(cells["second"]) == pytest.approx(100 * measured[metric], abs=0.005001)
        assert abs(float(cells["difference"])) == 0


def test_experiments_of_all_pipelines_of_snapshots_and_of_files_are_found(project: Path) -> None:
    records, kept = project / "report/records", project / "docs/results"
    shutil.copytree(records, kept / "new/records")
    shutil.copytree(records, kept / "swapped/records")
    reverse(kept / "swapped/records/losses/predictions/mobilenet_6_giou.csv")
    expected = rows(
        facemask(
            "compare",
            records / "losses/predictions/mobilenet_6_giou.csv",
            f"{RECORDS}/predictions/scratch_1.csv",
        )
    )
    assert len(expected) == len(bootstrap.METRICS)
    for names in (
        ("mobilenet_6_giou", "scratch_1"),
        ("mobilenet_6_giou@new", "scratch_1"),
        ("mobilenet_6_giou", "scratch_1@new"),
    ):
        assert rows(facemask("compare", *names)) == expected
    turned = rows(facemask("compare", "mobilenet_6_giou@swapped", "mobilenet_6_giou"))["accuracy"]
    assert float(turned["first"]) + float(turned["second"]) == pytest.approx(100, abs=0.011)


@pytest.fixture
def repository(project: Path) -> Path:
    """The working copy in git, with other predictions in the DVC experiment `turned`."""
    dvc = (sys.executable, "-m", "dvc")
    run(project, "git", "init", "-q")
    run(project, *dvc, "init", "-q")
    run(project, "git", "add", ".")
    run(project, "git", "commit", "-qm", "measured")
    reverse(project / f"{RECORDS}/predictions/mobilenet_4.csv")
    run(project, *dvc, "exp", "save", "-q", "-n", "turned")
    run(project, "git", "checkout", "-q", ".")
    return project


def test_experiments_of_other_revisions(repository: Path) -> None:
    reverse(repository / f"{RECORDS}/predictions/mobilenet_1.csv")
    for name, revision in (("mobilenet_1", "HEAD"), ("mobilenet_4", "turned")):
        cells = rows(facemask("compare", f"{name}@{revision}", name))["accuracy"]
        assert float(cells["first"]) + float(cells["second"]) == pytest.approx(100, abs=0.011)
        assert float(cells["difference"]) != 0
    # What a revision does not hold, or DVC does not know; snapshots are named too.
    (repository / "docs/results/mine").mkdir(parents=True)
    lost = facemask("compare", "mobilenet_5@turned", "mobilenet_4", code=1)
    assert "there is no mobilenet_5 in turned (did you mean mobilenet_4?)" in lost
    lost = facemask("compare", "mobilenet_4@tunred", "mobilenet_4", code=1)
    assert "unknown Git revision 'tunred'" in lost
    for words in ("dvc exp list", "git log", "mine"):
        assert words in lost


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mobilenet_1", "mobilnet_4"], "(did you mean mobilenet_4?); there are: mobilenet_1, mo"),
        (["zzz", "mobilenet_1"], "there is no zzz in the workspace; there are: mobilenet_1, mobil"),
        (["mobilenet_1", "mobilenet_1@empty"], "no experiment was measured in empty"),
        (["mobilenet_1", "nowhere/own.csv"], "there is no nowhere/own.csv; give an experiment"),
        (["mobilenet_1@HEAD", "mobilenet_1"], "the snapshots are empty"),
        (["mobilenet_1", KAGGLE / "predictions/scratch_1.csv"], " in the first, 424 in the sec"),
        (["mobilenet_1", "other.csv"], "other.csv is not a table of predictions: no face, flip, a"),
    ],
)
def test_wrong_inputs_end_in_one_message(project: Path, arguments: list[str], message: str) -> None:
    (project / "docs/results/empty").mkdir(parents=True)
    (project / "other.csv").write_text("image,iou\na.png,0.5\n")
    output = facemask("compare", *arguments, code=1)
    assert output.startswith("facemask: ")
    assert message in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace(",", ";"), "';'; save it with commas"),
        (lambda text: text.replace(",", "\t"), "separated by '\\t'"),
        (lambda text: re.sub(r"0\.(\d+)", r'"0,\1"', text), "column probability does not hold num"),
        (lambda text: text.splitlines()[0], "has no rows"),
        (lambda text: "", "has no rows"),
        (lambda text: text.encode("utf-16"), "not text in UTF-8"),
        (lambda text: text.replace("maksssksksss", "ü").encode("latin-1"), "not text in UTF-8"),
        (lambda text: b"\x89PNG\r\n\xff\xfe", "not text in UTF-8"),
        (lambda text: text + '"', "is not a CSV file: Error tokenizing data"),
        (lambda text: "<html>404</html>\n<p>", "no image, face, flip"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_table_of_predictions_is_told_from_another(
    project: Path, change: Callable[[str], str | bytes], message: str
) -> None:
    changed = change((project / f"{RECORDS}/predictions/mobilenet_1.csv").read_text())
    content = changed.encode() if isinstance(changed, str) else changed
    (project / "other.csv").write_bytes(content)
    output = facemask("compare", "mobilenet_1", "other.csv", code=1)
    assert output.startswith("facemask: other.csv")
    assert message in output


@pytest.mark.parametrize("lead, end", [(b"\xef\xbb\xbf", b"\r\n"), (b"", b"\r")])
def test_a_table_that_a_spreadsheet_saved_is_read(project: Path, lead: bytes, end: bytes) -> None:
    content = (project / f"{RECORDS}/predictions/mobilenet_1.csv").read_bytes()
    (project / "saved.csv").write_bytes(lead + content.replace(b"\n", end))
    assert facemask("compare", "mobilenet_1", "saved.csv")


def test_a_folder_is_no_table(project: Path) -> None:
    (project / "own.csv").mkdir()
    assert "own.csv is a folder" in facemask("compare", "mobilenet_1", "own.csv", code=1)


def test_where_nothing_was_measured_it_is_said_what_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "dvc repro" in facemask("compare", "mobilenet_1", "mobilenet_4", code=1)


def test_a_table_that_is_being_written_is_no_experiment(project: Path) -> None:
    (project / f"{RECORDS}/predictions/.scratch_9.csv").touch()
    lost = facemask("compare", "scratch_9", "scratch_1", code=1)
    assert "there are: mobilenet_1, mobilenet_4, mobilenet_6_giou, scratch_1. " in lost


def test_members_that_make_no_ensemble_are_reported(project: Path) -> None:
    together = ("compare", "mobilenet_1", "mobilenet_1+mobilenet_4")
    statistics = project / f"{RECORDS}/statistics/mobilenet_1.json"
    statistics.write_text('{"count": 1}')
    assert "mobilenet_1.json holds no temperature: 'calibration'" in facemask(*together, code=1)
    statistics.unlink()
    assert "there is no mobilenet_1 in the workspace" in facemask(*together, code=1)
    lost = facemask("compare", "mobilenet_1", "mobilenet_1+mobilnet_4", code=1)
    assert "(did you mean mobilenet_4?)" in lost


def test_help_shows_the_commands_and_their_arguments() -> None:
    text = facemask("--help")
    for command in ("compare", "pool", "folds", "repro", "snapshot"):
        assert command in text
        assert facemask(command, "--help")
    text = facemask("compare", "--help")
    for word in ("NAME@WHERE", "docs/results", "95 % interval", "localizer@localizer"):
        assert word in text


def test_neither_tensorflow_nor_keras_is_loaded(here: None) -> None:
    """As a person runs it: another process, and no network's library."""
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print({'keras', 'tensorflow', 'torch'} & set(sys.modules)))\n"
        "sys.argv[0] = 'facemask'\n"
        "import facemask.__main__\n"
    )
    arguments = ["compare", "mobilenet_5@kaggle", "mobilenet_6@kaggle"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == facemask(*arguments) + "set()\n"


def test_the_installed_command_and_packages_are_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    module, _, name = project["project"]["scripts"]["facemask"].partition(":")
    assert getattr(importlib.import_module(module), name) is app
    found = setuptools.find_packages(ROOT, **project["tool"]["setuptools"]["packages"]["find"])
    folders = {file.parent.relative_to(ROOT) for file in (ROOT / "facemask").rglob("*.py")}
    assert set(found) == {".".join(folder.parts) for folder in folders}


def test_pooled_folds_are_printed_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pd.read_csv(KAGGLE / "predictions/mobilenet_1.csv")
    images = table["image"].unique()
    for name, part in (("one", images[:50]), ("two", images[50:])):
        folder = tmp_path / "docs/results" / name / "records/study/predictions"
        folder.mkdir(parents=True)
        table[table["image"].isin(part)].to_csv(folder / "mobilenet_1.csv", index=False)
    monkeypatch.chdir(tmp_path)
    output = facemask("pool", "mobilenet_1", "one", "two", "--to", "pooled.json")
    kept = json.loads((tmp_path / "pooled.json").read_text())
    assert kept["samples"] == len(table)
    assert kept["majority_accuracy"] == pytest.approx((table["actual"] == "with_mask").mean())
    assert f"{100 * kept['majority_accuracy']:.2f} % of them are" in output
    whole = bootstrap.metrics_of(table)
    for name, metric in kept["metrics"].items():
        assert metric["value"] == pytest.approx(whole[name])
        cells = " ".join(f"{100 * value:.2f}" for value in metric["folds"])
        line = re.escape(f"{100 * metric['value']:.2f}") + r" .*" + re.escape(cells)
        title = name.replace("_", " ").replace("iou", "IoU")
        assert re.search(rf"^{title} +{line}$", output, re.MULTILINE)
    assert f"{len(table)} test samples of {len(images)} images" in output
    assert "tested in several folds" in facemask("pool", "mobilenet_1", "one", "one", code=1)
    assert "but only one is given" in facemask("pool", "mobilenet_1", "one", code=1)
