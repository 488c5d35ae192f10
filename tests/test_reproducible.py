"""What kills, full disks and two runs at once leave behind; the whole study from nothing once more.

What is made after a kill is compared byte by byte with what was made undisturbed.
"""

import fcntl
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ENVIRONMENT, SMALL, STUDY, checkout, dvc, new_project, ran, run

from facemask.cluster import SCHEDULER

# A kill between two steps of DVC can leave an empty folder in its run cache; every later run of
# that stage then ends with these words.
EMPTY = "join() argument must be str, bytes, or os.PathLike object, not 'NoneType'"
MEND = ("find", ".dvc/cache/runs", "-type", "d", "-empty", "-delete")
# Of these, seconds until which they are killed.
SLOW_TO_BEGIN = {"fetch": 4, "embed": 6, "tune": 14, "train": 6, "train_tuned": 6}
# What a run measures of the machine rather than makes.
CLOCK = {"seconds", "train_seconds"}


class Repro:
    """A `dvc repro` in the background, in a group of its own; notes when each stage began."""

    def __init__(self, folder, *targets):
        self.began = {}
        self.lines = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro", *targets],
            cwd=folder, env=ENVIRONMENT | {"PYTHONUNBUFFERED": "1"}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line)
            if line.startswith("Running stage"):
                self.began[line.split("'")[1]] = time.monotonic()

    @property
    def over(self):
        return self.process.poll() is not None

    @property
    def log(self):
        return "".join(self.lines)

    def wait(self):
        self.process.wait()
        self.reader.join()
        return self.process.returncode

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        return self.wait()


def mended(folder, log):
    """Do as a user would about what a kill has left of DVC's own; return whether it was that."""
    if EMPTY in log:
        run(folder, *MEND)
    elif "'./dvc.lock' is invalid" in log or "'./dvc.lock' validation failed" in log:
        (folder / "dvc.lock").unlink()  # torn: the run cache knows what was made
    else:
        return False
    return True


def finish(folder, *targets):
    """Repro to its end, whatever a kill before it has left; returns what it said."""
    repro = Repro(folder, *targets)
    while repro.wait() and mended(folder, repro.log):
        repro = Repro(folder, *targets)
    assert repro.process.returncode == 0, repro.log
    return repro.log


def forget(folder, *stages):
    """Let DVC not know that these stages have run: it runs them again."""
    file = folder / "dvc.lock"
    lock = yaml.safe_load(file.read_text())
    for stage in stages:
        del lock["stages"][stage]
    file.write_text(yaml.safe_dump(lock, sort_keys=False))
    shutil.rmtree(folder / ".dvc/cache/runs", ignore_errors=True)


def kill_at(folder, stage, moment):
    """Kill a stage as soon as files of a pattern are there, and still there after the kill."""
    for _ in range(9):
        forget(folder, stage)
        repro = Repro(folder, "--single-item", stage)
        while not repro.over:
            if stage in repro.began and any(folder.glob(moment)):
                if repro.kill() == -signal.SIGKILL and any(folder.glob(moment)):
                    return
                break
            time.sleep(0.001)
        # The kill came too late. What there is now is not what a kill leaves: once more.
        finish(folder, "--single-item", stage)
    pytest.fail(f"{moment} was never seen")


def without_clock(path):
    """The bytes of a file, those of seconds taken out; None for what tells them in a text."""
    if path.name == "REPORT.md" or path.stem in CLOCK:
        return None
    if path.suffix == ".json":
        return json.dumps(prune(json.loads(path.read_text()))).encode()
    if path.suffix == ".csv":
        table = pd.read_csv(path, dtype=str)
        return table.drop(columns=[*CLOCK & set(table)]).to_csv().encode()
    return path.read_bytes()


def prune(value):
    if isinstance(value, dict):
        return {key: prune(inner) for key, inner in value.items() if key not in CLOCK}
    return [prune(inner) for inner in value] if isinstance(value, list) else value


def made(folder, *places):
    """Every file that the stages made, of some places or all."""
    return {
        path.relative_to(folder): without_clock(path)
        for place in places or ("data", "models", "metrics", "report")
        for path in sorted((folder / place).rglob("*"))
        if path.is_file() and path.name != ".gitignore"
    }


def differing(one, other):
    """The files that are not in both, or not the same."""
    return [str(path) for path in {**one, **other} if one.get(path, 1) != other.get(path, 2)]


def test_a_killed_writer_leaves_nothing_half(project, copy):
    kill_at(copy, "pack", "data/crops/*/.0*.npy")
    log = finish(copy, "--single-item", "pack")
    assert ran(log) == ["pack"]
    found = made(copy, "data/crops")
    assert differing(found, made(project, "data/crops")) == []
    assert {path.suffix for path in found} >= {".npy", ".csv"}


# The train stage with a state after each epoch: by itself it writes one every 30 seconds.
EVERY_EPOCH = """
import runpy, sys
from stages import keras_import  # as the stage begins
from facemask.training import checkpoint
checkpoint.SECONDS = 0
runpy.run_module("stages.train", run_name="__main__", alter_sys=True)
"""


def killed_training(folder, *arguments):
    """Kill a training as soon as there is a state; return the state."""
    for _ in range(9):
        process = subprocess.Popen(
            [sys.executable, "-c", EVERY_EPOCH, *arguments], cwd=folder, env=ENVIRONMENT,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while process.poll() is None:
            if any((folder / ".resume/train").glob("*/*/*/state.npz")):
                process.kill()
                break
            time.sleep(0.001)
        # Unless the kill came too late: a training that ends deletes its state.
        states = [*(folder / ".resume/train").glob("*/*/*/state.npz")]
        if process.wait() == -signal.SIGKILL and states:
            (state,) = states
            return state
    pytest.fail("no state was ever seen")


def test_a_killed_training_goes_on_and_makes_what_it_would_have_made(project, copy):
    state = killed_training(copy, "study", "mobilenet_1")
    assert state.parents[1] == copy / ".resume/train/mobilenet_1/42"
    with np.load(state) as arrays:
        trained = len(json.loads(arrays["about"].item())["logs"])
    assert 1 <= trained <= 3
    forget(copy, "train@mobilenet_1")
    log = finish(copy, "--single-item", "train@mobilenet_1")
    epochs = [line.split()[1] for line in log.splitlines() if line.startswith("Epoch ")]
    assert epochs == [f"{epoch}/3" for epoch in range(trained + 1, 4)]
    found = made(copy, "models/mobilenet_1")
    assert differing(found, made(project, "models/mobilenet_1")) == []
    assert {path.suffix for path in found} >= {".keras", ".csv", ".json", ".tsv"}
    assert not state.parent.exists()


# Of a search, tests/test_hyperband.py has the kill.


def killed_between_two_steps(folder):
    """A stage that ran and of which DVC knows nothing: its folder in the run cache is empty.

    DVC makes the folder, then a file in it, and writes its lock file after.
    """
    entries = [*(folder / ".dvc/cache/runs").glob("*/*/*")]
    (entry,) = (path for path in entries if "cmd: python -m stages.crop\n" in path.read_text())
    file = folder / "dvc.lock"
    lock = yaml.safe_load(file.read_text())
    del lock["stages"]["crop"]
    file.write_text(yaml.safe_dump(lock, sort_keys=False))
    entry.unlink()
    return entry.parent, ["--single-item", "crop"]


@pytest.mark.parametrize("remedy", ["--no-run-cache", "find"])
def test_an_empty_folder_in_the_run_cache_can_be_mended(project, copy, remedy):
    empty, stage = killed_between_two_steps(copy)
    assert EMPTY in dvc(copy, "repro", *stage, code=255)
    assert list(empty.iterdir()) == []  # so the next one ends like that as well
    if remedy == "find":
        run(copy, *MEND)
        assert not empty.exists()
        assert ran(dvc(copy, "repro", *stage)) == ["crop"]
    else:
        assert ran(dvc(copy, "repro", remedy, *stage)) == ["crop"]
    lock, before = (yaml.safe_load((at / "dvc.lock").read_text()) for at in (copy, project))
    assert lock == before


def test_the_kills_here_mend_what_they_leave(copy):
    """The empty folder, and a lock file that is torn."""
    _, stage = killed_between_two_steps(copy)
    assert ran(finish(copy, *stage)) == ["crop"]
    (copy / "dvc.lock").write_text("schema: '2")
    assert ran(finish(copy, *stage)) == []  # the run cache has it
    assert "crop" in yaml.safe_load((copy / "dvc.lock").read_text())["stages"]


def test_a_model_holds_no_date(project):
    files = [*(project / "models").rglob("*.keras")]
    assert len(files) == 3
    for path in files:
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
            assert "date_saved" not in json.loads(archive.read("metadata.json"))


def test_two_repros_at_once_do_no_harm(project, copy):
    forget(copy, "pack")
    both = [Repro(copy, "--single-item", "pack") for _ in range(2)]
    codes = [repro.wait() for repro in both]
    assert 0 in codes
    for repro, code in zip(both, codes, strict=True):
        if code:
            assert "busy" in repro.log or "Unable to acquire lock" in repro.log, repro.log
            assert "Traceback" not in repro.log
    dvc(copy, "repro", "--single-item", "pack")
    assert differing(made(copy, "data"), made(project, "data")) == []


def test_a_stage_that_a_killed_dvc_left_at_work_is_not_disturbed(copy):
    forget(copy, "resolve")
    before = made(copy, "data/configs")
    lock = copy / ".resume/locks/resolve@study"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        message = dvc(copy, "repro", "--single-item", "resolve", code=255)
    assert "another process is running this stage" in message
    assert "Traceback" not in message
    dvc(copy, "repro", "--single-item", "resolve")
    assert made(copy, "data/configs") == before


def in_a_small_place(folder, options, *command):
    """Run a command with data/ on a file system of its own; skips where that is not allowed."""
    data = folder / "data"
    data.mkdir()
    script = f'mount -t tmpfs -o {options} tmpfs {data} && exec "$@"'
    allowed = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f"mount -t tmpfs tmpfs {data}"],
        capture_output=True, check=False,
    )  # fmt: skip
    if allowed.returncode:
        pytest.skip("no mounts in a name space of one's own here")
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *command],
        cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [("size=1m", ["No space left on device", "Make room"]), ("ro", ["Read-only file system"])],
)
def test_a_place_that_cannot_be_written_is_reported(tmp_path, options, message):
    folder = checkout(tmp_path, SMALL)
    done = in_a_small_place(folder, options, sys.executable, "-m", "stages.fetch")
    assert done.returncode == 1
    for words in (*message, "fetch stage stopped"):
        assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_pack_on_a_full_disk_leaves_no_array(project, tmp_path):
    folder = checkout(tmp_path, SMALL)
    whole = project / "data"
    script = (
        f"cp -r {whole}/raw {whole}/*samples.csv data && {sys.executable} -m stages.pack; code=$?; "
        "ls -a data/crops/*; exit $code"
    )
    used = sum(path.stat().st_size for path in (whole / "raw").rglob("*") if path.is_file())
    done = in_a_small_place(folder, f"size={used + 1_000_000}", "sh", "-c", script)
    assert done.returncode == 1, done.stdout
    assert "pack stage stopped" in done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert ".npy" not in done.stdout


# The whole study once more, killed again and again.


def kill(folder, stage, after):
    """Kill a repro so many seconds after a stage began; return whether it came to that."""
    repro = begun(folder, stage, stage)
    if repro is None:
        # The kill before came when all was done: once more. Not forced, for then the run cache
        # would bring the outputs back, and what the killed run went on from would stay.
        forget(folder, stage)
        repro = begun(folder, stage, "--single-item", stage)
    time.sleep(after)
    if not repro.over and repro.kill() == -signal.SIGKILL:
        return True
    if repro.wait():
        assert mended(folder, repro.log), repro.log
    return False


def begun(folder, stage, *targets):
    """A repro whose stage has begun; None if it ended well without."""
    while True:
        repro = Repro(folder, *targets)
        while stage not in repro.began and not repro.over:
            time.sleep(0.01)
        if stage in repro.began:
            return repro
        if repro.wait() == 0:
            return None
        assert mended(folder, repro.log), repro.log


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A project that was killed at random moments of every stage, and then left alone.

    Work is done by the processes of a cluster, which is killed with the stage.
    """

    def threads(params):
        SMALL[STUDY](params)
        params["workers"] = 3

    folder = tmp_path_factory.mktemp("killed") / "project"
    folder.mkdir()
    new_project(folder, SMALL | {STUDY: threads})
    stages = ["fetch", "parse", "crop", "split", "pack", "embed@mobilenet_v2", "resolve"]
    stages += ["tune@mobilenet", "train@scratch_1", "train@mobilenet_1"]
    stages += ["train_tuned@mobilenet", "evaluate@mobilenet_1", "report"]
    chance = random.Random(0)
    ENVIRONMENT[SCHEDULER] = "local:2"
    for stage in stages:
        # Networks take some four seconds to begin with, and a cluster two.
        longest = SLOW_TO_BEGIN.get(stage.partition("@")[0], 1)
        while not kill(folder, stage, chance.uniform(0, longest)):
            longest /= 2  # it was over before
    finish(folder)
    del ENVIRONMENT[SCHEDULER]
    return folder


@pytest.mark.slow
def test_nothing_is_left_that_a_run_went_on_from(killed):
    left = [path for path in (killed / ".resume").rglob("*") if path.is_file()]
    assert all(path.parent.name == "locks" for path in left)
    for suffix in ("csv", "json", "npy", "keras", "md"):
        assert list(killed.rglob(f".*.{suffix}")) == []


@pytest.mark.slow
def test_kills_at_every_stage_change_no_byte(project, killed):
    one, other = made(project), made(killed)
    assert differing(one, other) == []
    assert len(one) > 40
    suffixes = {path.suffix for path in one}
    assert suffixes >= {".keras", ".npy", ".csv", ".json", ".png", ".md", ".tsv"}


@pytest.mark.slow
def test_dvc_finds_nothing_to_do_afterwards(killed):
    assert ran(finish(killed)) == []


@pytest.mark.slow
def test_the_two_differ_in_workers_alone(project, killed):
    one, other = (yaml.safe_load((folder / STUDY).read_text()) for folder in (project, killed))
    assert one["workers"] != other["workers"]
    assert one | {"workers": 0} == other | {"workers": 0}
