"""Stages side by side on a cluster, and the folds of a split."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from cluster_toys import cluster_in, killing
from conftest import SMALL, STUDY, dvc, new_project, run

from facemask import cli, cluster, runs
from facemask.errors import InputError

# Ends once two of the stages that call it have begun; alone it would give up after a minute.
MEET = """
touch $1.begun
for _ in $(seq 600); do
  [ $(ls *.begun | wc -l) -lt 2 ] || exit 0
  sleep 0.1
done
exit 1
"""
# Four stages that wait for one, and one that waits for them; each notes when it ran.
STAGES = """
stages:
  first:
    cmd: date +%s.%N > first.txt
    outs: [first.txt]
  middle:
    foreach: [a, b, c, d]
    do:
      cmd: date +%s.%N > ${item}.txt && sleep 0.1 && date +%s.%N >> ${item}.txt
      deps: [first.txt]
      outs: ["${item}.txt"]
  last:
    cmd: cat a.txt b.txt c.txt d.txt > last.txt
    deps: [a.txt, b.txt, c.txt, d.txt]
    outs: [last.txt]
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A cluster in a folder with a DVC repository."""
    folder = tmp_path_factory.mktemp("pipeline")
    run(folder, "git", "init", "-q")
    dvc(folder, "init", "-q")
    with cluster_in(folder) as started:
        yield started


@pytest.fixture
def pipeline(running, monkeypatch):
    """A pipeline of which nothing has run, in the folder one is in."""
    monkeypatch.delenv(cluster.SCHEDULER, raising=False)
    monkeypatch.chdir(running.folder)
    for path in (*Path().glob("*.txt"), *Path().glob("*.begun"), Path("dvc.lock")):
        path.unlink(missing_ok=True)
    for folder in (".dvc/cache", runs.LOGS):
        shutil.rmtree(folder, ignore_errors=True)
    Path("dvc.yaml").write_text(STAGES)
    return running.folder


@pytest.fixture
def workers(running, pipeline, monkeypatch):
    monkeypatch.setenv(cluster.SCHEDULER, running.address)


def times(name):
    return [float(line) for line in Path(f"{name}.txt").read_text().split()]


def test_without_a_cluster_stages_run_one_after_the_other(pipeline):
    runs.repro("dvc.yaml")
    a, b = sorted([times("a"), times("b")])
    assert a[1] <= b[0]
    assert len(times("last")) == 8
    assert "up to date" in dvc(pipeline, "status")


def test_on_a_cluster_those_run_side_by_side_that_wait_for_no_other(pipeline, workers):
    Path("meet.sh").write_text(MEET)
    Path("dvc.yaml").write_text(STAGES.replace("sleep 0.1", "sh meet.sh ${item}"))
    runs.repro("dvc.yaml")
    spans = sorted(times(name) for name in "abcd")
    assert times("first")[0] < spans[0][0]
    assert len(times("last")) == 8
    assert "up to date" in dvc(pipeline, "status")
    # What is up to date is not run again.
    Path("c.txt").unlink()
    shutil.rmtree(".dvc/cache")
    before = times("a")
    runs.repro("middle@c")
    assert times("a") == before
    assert times("c")[0] > max(end for _, end in spans)


def test_a_stage_that_fails_is_named_with_what_it_said(pipeline, workers):
    text = STAGES.replace("date +%s.%N > ${item}.txt &&", "echo ${item} is wrong >&2 && false &&")
    Path("dvc.yaml").write_text(text)
    with pytest.raises(InputError, match=r"--single-item middle@[abcd] .*failed;") as caught:
        runs.repro("last")
    assert "is wrong" in str(caught.value)
    log = re.search(r"(\S+/middle@[abcd]\.log) ends", str(caught.value))[1]
    assert "is wrong" in Path(log).read_text()


def test_dvc_waits_for_one_that_was_killed_and_is_about_to_end(pipeline):
    def start():
        environment = {**os.environ, cluster.PARENT: str(os.getpid())}
        command = [sys.executable, "-m", "facemask.runs", "repro", "slow"]
        return subprocess.Popen(command, env=environment)

    waits = "touch slow.begun; until test -f go.txt; do sleep 0.1; done; exit 1"
    cmd = f"test -f go.txt || {{ {waits}; }}; touch slow.txt"
    Path("dvc.yaml").write_text(yaml.dump({"stages": {"slow": {"cmd": cmd, "outs": ["slow.txt"]}}}))
    killed = start()
    while not Path("slow.begun").exists():
        time.sleep(0.1)
    killed.kill()
    # Its number is there until it is waited for.
    Path("go.txt").touch()
    second = start()
    with suppress(subprocess.TimeoutExpired):
        second.wait(timeout=4)
    killed.wait()
    assert second.wait() == 0
    assert Path("slow.txt").exists()


def test_what_is_no_target_is_reported(pipeline, workers):
    with pytest.raises(InputError, match="nothing"):
        runs.repro("nothing")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The small study with two folds, in which nothing has run."""

    def two_folds(params):
        SMALL[STUDY](params)
        params["datasets"]["sample"]["source"] = "synthetic:32"
        params["splits"] = {"random": params["splits"]["random"]}
        for fold in (0, 1):
            params["splits"][f"grouped_{fold}"] = {
                **params["splits"]["random"], "kind": "grouped", "test": 0.5, "fold": fold
            }  # fmt: skip

    folder = tmp_path / "project"
    folder.mkdir()
    new_project(folder, SMALL | {STUDY: two_folds})
    monkeypatch.chdir(folder)
    monkeypatch.delenv(cluster.SCHEDULER, raising=False)
    return folder


def test_an_experiment_that_is_not_there_is_named(project):
    with pytest.raises(InputError, match=r"no experiment 'scratch_9' \(did you mean 'scratch_1'"):
        runs.folds("scratch_9")


def test_a_copy_is_the_project_as_it_lies_here(project):
    Path("facemask/note.txt").write_text("not committed")
    Path("stages/gone.txt").write_text("not committed, and deleted before the second copy")
    Path("facemask/io.py").write_text("staged")
    run(project, "git", "add", "facemask/io.py")
    Path("reference/published_results.csv").unlink()
    copy = Path("copy")
    result = copy / "report/records/one.json"
    for text in ("changed", "changed again"):
        Path("stages/common.py").write_text(text)
        runs._copy_project(copy)
        assert (copy / "stages/common.py").read_text() == text
        Path("stages/gone.txt").unlink(missing_ok=True)
        result.parent.mkdir(parents=True, exist_ok=True)
        result.touch()  # as a run does
        runs._copy_project(copy)
    assert not (copy / "stages/gone.txt").exists()
    assert result.exists()
    assert (copy / "facemask/note.txt").read_text() == "not committed"
    assert (copy / "facemask/io.py").read_text() == "staged"
    assert not (copy / "reference/published_results.csv").exists()
    status = run(project, "git", "-C", str(copy), "status", "--short").splitlines()
    assert {line.split()[1] for line in status} == {
        "stages/common.py", "facemask/io.py", "facemask/note.txt",
        "reference/published_results.csv", "report/",
    }  # fmt: skip
    assert dvc(copy, "cache", "dir").strip() == str(project / ".dvc/cache")


def test_a_project_that_was_moved_makes_copies_still(project, tmp_path, monkeypatch):
    copy = Path("copies/one")
    runs._copy_project(copy)
    moved = project.rename(tmp_path / "moved")
    monkeypatch.chdir(moved)
    run(moved, "git", "commit", "-q", "--allow-empty", "-m", "later")
    runs._copy_project(copy)
    heads = [run(folder, "git", "rev-parse", "HEAD") for folder in (moved, moved / copy)]
    assert heads[0] == heads[1]


@pytest.mark.slow
def test_folds_are_run_and_pooled_though_workers_are_killed(project, monkeypatch, capsys):
    with cluster_in(project) as workers, killing(workers, 2, 9) as kills:
        monkeypatch.setenv(cluster.SCHEDULER, workers.address)
        done = CliRunner().invoke(cli.app, ["folds", "scratch_1", "--to", "folds.json"])
    assert done.exit_code == 0, done.output
    assert kills
    copies = [project / runs.FOLDS / f"scratch_1/grouped_{fold}" for fold in (0, 1)]
    tested = []
    for copy in copies:
        assert yaml.safe_load((copy / STUDY).read_text())["split"] == copy.name
        assert "up to date" in dvc(copy, "status", "evaluate@scratch_1")
        table = pd.read_csv(copy / "report/records/study/predictions/scratch_1.csv")
        tested.append({*table["image"]})
    assert not tested[0] & tested[1]
    pooled = json.loads(Path("folds.json").read_text())
    assert pooled["images"] == len(tested[0] | tested[1])
    assert len(pooled["metrics"]["accuracy"]["folds"]) == 2
    assert "scratch_1, 2 folds" in done.stdout + capsys.readouterr().out
