"""The command line: its figures against the library's, and what it says of wrong inputs."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from facemask.cli import app
from facemask.evaluation import significance

ROOT = Path(__file__).parents[1]
KAGGLE = ROOT / "metrics/kaggle"
NAMES = ["mobilenet_1", "mobilenet_4", "scratch_1"]
ROW = re.compile(
    r"(?P<figure>[A-Za-z0-9 ]+?)  +(?P<first>\S+) +(?P<second>\S+) +(?P<difference>\S+)"
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
    """What a command says: on stdout if it is to succeed, on stderr if it is to fail."""
    result = CliRunner(env=ENVIRONMENT).invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    assert bool(result.stderr) == bool(code)
    assert bool(result.stdout) != bool(code)
    return result.stderr if code else result.stdout


def rows(output: str) -> dict[str, dict[str, str]]:
    """The printed table: figure → cells."""
    found = [match.groupdict() for match in map(ROW.fullmatch, output.splitlines()) if match]
    return {row.pop("figure").lower().replace(" ", "_"): row for row in found}


def reverse(path: Path) -> None:
    """Turn every answer of an experiment around."""
    table = pd.read_csv(path)
    table["predicted"] = table["predicted"].map(
        {"with_mask": "without_mask", "without_mask": "with_mask"}
    )
    table.to_csv(path, index=False)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working copy with parameters and three experiments' predictions of the sample."""
    predictions = tmp_path / "metrics/sample/predictions"
    predictions.mkdir(parents=True)
    for name in NAMES:
        shutil.copy(ROOT / f"metrics/sample/predictions/{name}.csv", predictions)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "names", [("mobilenet_5", "mobilenet_6"), ("scratch_7", "mobilenet_3"), ("scratch_1",) * 2]
)
def test_the_table_is_that_of_the_library(names: tuple[str, str]) -> None:
    output = facemask("compare", *names, "--metrics", KAGGLE)
    tables = [pd.read_csv(KAGGLE / f"predictions/{name}.csv") for name in names]
    expected = significance.compare(*tables).set_index("figure")
    printed = rows(output)
    assert list(printed) == significance.FIGURES
    for figure, row in expected.iterrows():
        cells = printed[figure]
        for name in ("first", "second", "difference", "low", "high"):
            assert float(cells[name]) == pytest.approx(100 * row[name], abs=0.005001)
        shown = "<0.001" if row["p"] < 0.001 else f"{row['p']:.3f}"
        assert cells["p"] == shown
        assert (cells["mark"] == "*") == (row["low"] * row["high"] > 0)
    measured = json.loads((KAGGLE / f"{names[1]}.json").read_text())["test"]
    for figure in significance.FIGURES:
        assert float(printed[figure]["second"]) == pytest.approx(100 * measured[figure], abs=0.0051)
    told = " ".join(output.split())
    assert f"A: {names[0]} B: {names[1]} " in told
    assert "424 test samples of 323 photographs." in told
    assert f"{100 * measured['majority_accuracy']:.2f} % of these samples are with_mask" in told
    assert max(map(len, output.splitlines())) <= 80


def test_some_rows_are_marked_and_some_are_not() -> None:
    # Half the weight of the box, all else equal: labels alike, boxes worse.
    printed = rows(facemask("compare", "mobilenet_1", "mobilenet_3", "--metrics", KAGGLE))
    assert printed["mean_iou"]["mark"] == "*"
    assert printed["accuracy"]["mark"] is None


def test_metrics_are_those_of_the_parameters(project: Path) -> None:
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["dataset"] = "kaggle"
    params["split"] |= {"protocol": "grouped", "suffix": "_grouped"}
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    shutil.copytree(ROOT / "metrics/kaggle_grouped", project / "metrics/kaggle_grouped")
    output = facemask("compare", "scratch_7", "mobilenet_6")
    assert "374 test samples" in output
    assert "85.83 % of these samples are with_mask" in " ".join(output.split())


def test_a_file_needs_no_folder_and_no_parameters(project: Path) -> None:
    (project / "params.yaml").unlink()
    one, other = (f"metrics/sample/predictions/{name}.csv" for name in NAMES[:2])
    found = rows(facemask("compare", one, project / other))
    assert found == rows(facemask("compare", *NAMES[:2], "--metrics", "metrics/sample"))
    assert len(found) == len(significance.FIGURES)


@pytest.fixture
def repository(project: Path) -> Path:
    """The working copy in git, with another answer in the DVC experiment `turned`."""
    dvc = (sys.executable, "-m", "dvc")
    run(project, "git", "init", "-q")
    run(project, *dvc, "init", "-q")
    run(project, "git", "add", ".")
    run(project, "git", "commit", "-qm", "measured")
    reverse(project / "metrics/sample/predictions/mobilenet_4.csv")
    run(project, *dvc, "exp", "save", "-q", "-n", "turned")
    run(project, "git", "checkout", "-q", ".")
    return project


def test_experiments_of_other_revisions(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reverse(repository / "metrics/sample/predictions/mobilenet_1.csv")
    for name, revision in (("mobilenet_1", "HEAD"), ("mobilenet_4", "turned")):
        cells = rows(facemask("compare", f"{name}@{revision}", name))["accuracy"]
        assert float(cells["first"]) + float(cells["second"]) == pytest.approx(100, abs=0.011)
        assert float(cells["difference"]) != 0
    # The revisions of a file are found from a folder below, and by its whole path.
    (repository / "below").mkdir()
    monkeypatch.chdir(repository / "below")
    for folder in ("../metrics/sample", repository / "metrics/sample"):
        again = facemask("compare", "mobilenet_4@turned", "mobilenet_4", "--metrics", folder)
        assert rows(again)["accuracy"] == cells
    # What a revision does not hold, or DVC does not know.
    lost = facemask("compare", "mobilenet_5@turned", "mobilenet_4", "--metrics", folder, code=1)
    assert "metrics/sample/predictions at turned (did you mean mobilenet_4?)" in lost
    lost = facemask("compare", "mobilenet_4@tunred", "mobilenet_4", "--metrics", folder, code=1)
    assert "unknown Git revision 'tunred'" in lost
    assert "dvc exp list" in lost


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["mobilenet_1", "mobilnet_4"], "(did you mean mobilenet_4?); there are: mobilenet_1, mo"),
        (["zzz", "mobilenet_1"], "metrics/sample/predictions; there are: mobilenet_1, mobilenet_4"),
        (["mobilenet_1", "mobilenet_4", "--metrics", "metrics"], "no mobilenet_1.csv in metrics/p"),
        (["mobilenet_1", "nowhere/own.csv"], "no own.csv in nowhere, nor any other CSV file"),
        (["mobilenet_1@HEAD", "mobilenet_1"], "is not a git repository"),
        (["mobilenet_1", KAGGLE / "predictions/scratch_1.csv"], "31 in the first, 424 in the sec"),
        (["mobilenet_1", "bare.csv"], "bare.csv is not a table of predictions: No columns"),
        (["mobilenet_1", "other.csv"], "other.csv is not a table of predictions: no face, flip, a"),
        (
            ["mobilenet_1", "photograph.csv"],
            "photograph.csv is not a table of predictions: 'utf-8'",
        ),
    ],
)
def test_wrong_inputs_end_in_one_message(project: Path, arguments: list[str], told: str) -> None:
    (project / "bare.csv").touch()
    (project / "other.csv").write_text("image,iou\na.png,0.5\n")
    (project / "photograph.csv").write_bytes(b"\x89PNG\r\n\xff\xfe")
    message = facemask("compare", *arguments, code=1)
    assert message.startswith("facemask: ")
    assert told in message
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "no params.yaml here: go to the repository's root, or give --metrics FOLDER"),
        ("a: [", "params.yaml is not YAML"),
        ("a: 1", "params.yaml is not valid"),
    ],
)
def test_wrong_parameters_end_in_one_message(project: Path, text: str | None, told: str) -> None:
    (project / "params.yaml").unlink()
    if text:
        (project / "params.yaml").write_text(text)
    assert told in facemask("compare", "mobilenet_1", "mobilenet_4", code=1)


def test_help_tells_the_commands_and_their_arguments() -> None:
    assert "Compare two experiments on the same test samples." in facemask("--help")
    told = facemask("compare", "--help")
    for word in ("NAME@REVISION", "--metrics", "params.yaml", "95 % interval"):
        assert word in told


def test_neither_tensorflow_nor_keras_is_loaded() -> None:
    """As a person runs it: another process, another folder's stdout, and no network's library."""
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print({'keras', 'tensorflow', 'torch'} & set(sys.modules)))\n"
        "sys.argv[0] = 'facemask'\n"
        "import facemask.__main__\n"
    )
    arguments = ["compare", "mobilenet_5", "mobilenet_6", "--metrics", str(KAGGLE)]
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
    folders = sorted(file.parent for file in (ROOT / "facemask").rglob("__init__.py"))
    packages = [".".join(folder.relative_to(ROOT).parts) for folder in folders]
    assert project["tool"]["setuptools"]["packages"] == packages


def test_pooled_folds_are_printed_and_kept(tmp_path: Path) -> None:
    table = pd.read_csv(KAGGLE / "predictions/mobilenet_1.csv")
    images = table["image"].unique()
    folders = [tmp_path / "kaggle_grouped", tmp_path / "kaggle_grouped_1"]
    for folder, part in zip(folders, (images[:50], images[50:]), strict=True):
        (folder / "predictions").mkdir(parents=True)
        fold = table[table["image"].isin(part)]
        fold.to_csv(folder / "predictions/mobilenet_1.csv", index=False)
    output = facemask("pool", "mobilenet_1", *folders, "--to", tmp_path / "pooled.json")
    kept = json.loads((tmp_path / "pooled.json").read_text())
    assert kept["samples"] == len(table)
    assert kept["majority_accuracy"] == pytest.approx((table["actual"] == "with_mask").mean())
    assert f"{100 * kept['majority_accuracy']:.2f} % of these samples are with_mask" in output
    for name, figure in kept["figures"].items():
        cells = " ".join(f"{100 * value:.2f}" for value in figure["folds"])
        line = re.escape(f"{100 * figure['value']:.2f}") + r" .*" + re.escape(cells)
        title = name.replace("_", " ").replace("iou", "IoU")
        assert re.search(rf"^{title} +{line}$", output, re.MULTILINE)
    assert f"{len(table)} test samples of {len(images)} photographs" in output
    told = facemask("pool", "mobilenet_1", folders[0], folders[0], code=1)
    assert "tested in several folds" in told


def test_two_that_answer_as_one_are_the_ensemble_of_the_pipeline() -> None:
    """From what is kept of its members; six digits of a box are."""
    both = "localizer+localizer_stretched"
    printed = rows(facemask("compare", "ensemble", both, "--metrics", KAGGLE))
    measured = json.loads((KAGGLE / "ensemble.json").read_text())["test"]
    assert list(printed) == significance.FIGURES
    for figure, cells in printed.items():
        assert float(cells["second"]) == pytest.approx(100 * measured[figure], abs=0.005001)
        assert abs(float(cells["difference"])) == 0


def test_who_cannot_answer_as_one_is_told(project: Path) -> None:
    together = ("compare", "mobilenet_1", "mobilenet_1+mobilenet_4")
    assert "no mobilenet_1.json in metrics/sample/statistics" in facemask(*together, code=1)
    folder = project / "metrics/sample/statistics"
    folder.mkdir()
    (folder / "mobilenet_1.json").write_text('{"count": 1}')
    assert "mobilenet_1.json tells no temperature: 'calibration'" in facemask(*together, code=1)
    lost = facemask("compare", "mobilenet_1", "mobilenet_1+mobilnet_4", code=1)
    assert "(did you mean mobilenet_4?)" in lost
