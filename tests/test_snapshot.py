"""Snapshots: what is kept of a run, and what is said of the code it was made with."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_cli import KAGGLE, facemask, keep, rows, run

from facemask.errors import InputError
from facemask.reporting import snapshot

ROOT = Path(__file__).parents[1]
# What a run makes, and what it is made with.
MADE = {
    "report/REPORT.md": "# Results",
    "report/plots/leaderboard.png": "pixels",
    "report/records/study/statistics/scratch_1.json": "{}",
    "metrics/scratch_1.json": "{}",
    "metrics/data.json": "{}",
    "dvc.lock": "schema: '2.0'",
    "pipelines/losses/dvc.lock": "schema: '2.0'",
}
PARAMS = ["params.yaml", "pipelines/losses/params.yaml", "pipelines/localizer/params.yaml"]
CODE = ["facemask/one.py", "facemask/two.py", "stages/three.py", "docs/guide.md"]
PIPELINES = ["dvc.yaml", "pipelines/losses/dvc.yaml"]


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small repository with a run in its workspace, all of it committed."""
    folder = tmp_path_factory.mktemp("project")
    for name in PARAMS:
        write(folder, name, (ROOT / name).read_text())
    for name, text in [*MADE.items(), *dict.fromkeys([*CODE, *PIPELINES], "stages: {}\n").items()]:
        write(folder, name, text)
    run(folder, "git", "init", "-q")
    run(folder, sys.executable, "-m", "dvc", "init", "-q")
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "-qm", "measured")
    return folder


@pytest.fixture
def project(committed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(committed, tmp_path / "project"))


def taken(project: Path, name: str = "mine") -> tuple[Path, dict]:
    folder = snapshot.take(project, project / "docs/results", name)
    assert folder == project / "docs/results" / name
    return folder, json.loads((folder / "snapshot.json").read_text())


def test_all_that_belongs_to_a_run_is_kept(project: Path) -> None:
    write(project, "report/.scratch_1.json", "half written")
    write(project, "models/scratch_1/model.keras", "large")
    folder, _ = taken(project)
    kept = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    # Nothing of the localizers, which have not run.
    expected = {name.removeprefix("report/"): name for name in [*MADE, *PARAMS[:2]]}
    assert kept == {*expected, "snapshot.json"}
    for name, source in expected.items():
        assert (folder / name).read_bytes() == (project / source).read_bytes()


def test_records_of_experiments_that_are_not_of_the_run_stay_out(project: Path) -> None:
    """As of the commit before, when params.yaml has fewer experiments now."""
    for name in ("metrics/other.json", "report/records/study/predictions/other.csv"):
        write(project, name, "of another run")
    folder, _ = taken(project)
    assert list(folder.rglob("other.*")) == []
    assert (folder / "metrics/scratch_1.json").exists()


def test_commit_data_split_and_versions_are_named(project: Path) -> None:
    text = (project / "params.yaml").read_text()
    text = text.replace("\ndataset: sample", "\ndataset: kaggle", 1)
    write(project, "params.yaml", text.replace("\nsplit: random", "\nsplit: grouped_3", 1))
    _, about = taken(project)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=project, capture_output=True, text=True, check=True
    )
    assert about["commit"] == head.stdout.strip()
    assert (about["dataset"], about["split"]) == ("kaggle", "grouped_3")
    assert about["packages"]["numpy"] == np.__version__


def test_what_the_run_makes_itself_is_no_change(project: Path) -> None:
    for name in [*MADE, "docs/guide.md"]:
        write(project, name, f"{MADE.get(name, '')}\n\n")
    write(project, "metrics/scratch_2.json", "{}")
    run(project, "git", "add", "metrics")
    _, about = taken(project)
    assert about["changed"] == []


def test_code_and_parameters_that_are_not_as_committed_are_named(project: Path) -> None:
    """Edited, staged or not, new, deleted or moved: whatever the commit does not hold."""
    write(project, "facemask/one.py", "edited = True")
    (project / "stages/three.py").unlink()
    run(project, "git", "mv", "facemask/two.py", "facemask/moved.py")
    write(project, "facemask/new.py", "new = True")
    edited = (project / "pipelines/losses/params.yaml").read_text() + "# a word\n"
    write(project, "pipelines/losses/params.yaml", edited)
    run(project, "git", "add", "facemask/new.py", "pipelines")
    write(project, "metrics/scratch_1.json", "made anew")
    _, about = taken(project)
    assert about["changed"] == [
        "facemask/moved.py",
        "facemask/new.py",
        "facemask/one.py",
        "facemask/two.py",
        "pipelines/losses/params.yaml",
        "stages/three.py",
    ]


def test_a_file_that_is_edited_after_it_was_staged_is_named_once(project: Path) -> None:
    write(project, "facemask/one.py", "edited = 1")
    run(project, "git", "add", "facemask")
    write(project, "facemask/one.py", "edited = 2")
    _, about = taken(project)
    assert about["changed"] == ["facemask/one.py"]


@pytest.mark.parametrize("file", PIPELINES)
def test_what_is_not_all_of_one_run_is_refused(project: Path, file: str) -> None:
    stage = "{cmd: cp ../../source copy, deps: [../../source], outs: [copy]}"
    stage = stage if "/" in file else stage.replace("../../", "")
    write(project, file, f"stages: {{copying: {stage}}}\n")
    write(project, "source", "one")
    run(project, sys.executable, "-m", "dvc", "repro", "-q", file)
    taken(project, "first")
    write(project, "source", "other")
    with pytest.raises(InputError, match=r"not up to date: .*copying.*dvc repro"):
        taken(project, "second")
    assert not (project / "docs/results/second").exists()


@pytest.mark.parametrize("name", ["", ".hidden", "two words", "../up", "a/b", "-x"])
def test_a_name_that_is_no_folder_s_is_refused(project: Path, name: str) -> None:
    before = sorted(project.rglob("*"))
    with pytest.raises(InputError, match="is no name for a snapshot"):
        taken(project, name)
    assert sorted(project.rglob("*")) == before


def test_a_snapshot_is_not_written_over(project: Path) -> None:
    folder, about = taken(project)
    write(project, "facemask/one.py", "edited = True")
    with pytest.raises(InputError, match="is there already"):
        taken(project)
    assert json.loads((folder / "snapshot.json").read_text()) == about


@pytest.mark.parametrize("lost", ["report", "metrics", "dvc.lock"])
def test_where_there_is_no_run_nothing_is_kept(project: Path, lost: str) -> None:
    (project / lost).rename(project / "elsewhere")
    with pytest.raises(InputError, match="no run to keep"):
        taken(project)
    assert not (project / "docs/results").exists()


def test_wrong_parameters_leave_nothing_half_kept(project: Path) -> None:
    write(project, "params.yaml", "seed: first")
    with pytest.raises(InputError, match="seed: "):
        taken(project)
    assert not (project / "docs/results").exists()


def test_a_snapshot_is_what_experiments_are_compared_with(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = project / "report/records/study"
    shutil.rmtree(records)
    keep(KAGGLE, records, ["mobilenet_4"], 30)
    keep(KAGGLE, project / "other", ["mobilenet_1"], 30)
    monkeypatch.chdir(project)
    assert facemask("snapshot", "before").startswith("docs/results/before: ")
    then = rows(facemask("compare", "other/predictions/mobilenet_1.csv", "mobilenet_4"))
    shutil.copy("other/predictions/mobilenet_1.csv", records / "predictions/mobilenet_4.csv")
    assert rows(facemask("compare", "mobilenet_4", "mobilenet_4@before")) == then
    assert "is there already" in facemask("snapshot", "before", code=1)


def test_one_pipeline_alone_is_kept(project: Path) -> None:
    for name in ("statistics/detector.json", "faces/detector.csv", "faces/other.csv"):
        write(project, f"report/records/detector/{name}", "1")
    write(project, "report/detector/detector/README.md", "page")
    write(project, "metrics/detector.json", "{}")
    for name in ("dvc.yaml", "dvc.lock", "params.yaml"):
        text = {"dvc.yaml": "stages: {}", "dvc.lock": "schema: '2.0'"}.get(name)
        own = ROOT / "pipelines/detector" / name
        write(project, f"pipelines/detector/{name}", text or own.read_text())
    folder = snapshot.take(project, project / "docs/results", "fold", "detector")
    kept = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert kept == {
        "snapshot.json",
        "dvc.lock",
        "params.yaml",
        "pipelines/detector/dvc.lock",
        "pipelines/detector/params.yaml",
        "metrics/data.json",
        "metrics/detector.json",
        "detector/detector/README.md",
        "records/detector/statistics/detector.json",
        "records/detector/faces/detector.csv",
    }
    assert json.loads((folder / "snapshot.json").read_text())["split"] == "grouped_0"


@pytest.mark.parametrize(("pipeline", "message"), [("losse", "mean 'losses'"), ("losses", "repro")])
def test_a_pipeline_that_is_not_there_or_has_not_run_is_refused(
    project: Path, pipeline: str, message: str
) -> None:
    (project / "pipelines/losses/dvc.lock").unlink()
    with pytest.raises(InputError, match=message):
        snapshot.take(project, project / "docs/results", "mine", pipeline)
