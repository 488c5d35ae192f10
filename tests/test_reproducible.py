"""The whole pipeline from nothing, twice: once undisturbed, once killed again and again.

What both make is compared byte by byte. DVC and the stages are real, the dataset is drawn.
"""

import io
import json
import os
import random
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
from test_stages import ENVIRONMENT, checkout, dvc, run

EXPERIMENTS = ["mobilenet_5"]
# Of every stage; of those that start in a moment more.
KILLS = {"embed": 2, "tune": 3, "train": 4, "evaluate": 1, "report": 1, None: 4}
# What a run measures of the machine rather than makes.
CLOCK = {"seconds", "train_seconds"}


def small(workers):
    def change(params):
        params["workers"] = workers
        params["datasets"]["sample"]["source"] = "drawn:16"
        params["backbones"] = {"mobilenet_v2": params["backbones"]["mobilenet_v2"]}
        for dataset in params["datasets"].values():
            dataset["remarks"] = {}
        params["experiments"] = {name: params["experiments"][name] for name in EXPERIMENTS}
        params["experiments"]["mobilenet_5"] |= {"epochs": 3, "seeds": 2}
        params |= {"localizers": {}, "ensembles": {}}
        params["ablation"]["rows"] = {}
        params["searches"] = {"mobilenet": params["searches"]["mobilenet"] | {"max_epochs": 2}}
        params["searches"]["mobilenet"]["space"] |= {"units": [8, 16, 32]}

    return change


def project(folder, workers):
    folder = checkout(folder, small(workers))
    run(folder, "git", "init", "-q")
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "-qm", "before")
    return folder


class Repro:
    """A `dvc repro` in the background, in a group of its own; notes when each stage began."""

    def __init__(self, folder, *targets):
        self.began = {}
        self.log = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro", *targets],
            cwd=folder, env=ENVIRONMENT | {"PYTHONUNBUFFERED": "1"}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.log.append(line)
            if line.startswith("Running stage"):
                self.began[line.split("'")[1]] = time.monotonic()

    def wait(self):
        self.process.wait()
        self.reader.join()
        return self.process.returncode

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.wait()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A project run once, and how many seconds each stage took."""
    folder = project(tmp_path_factory.mktemp("undisturbed"), 1)
    repro = Repro(folder)
    assert repro.wait() == 0, "".join(repro.log)
    times = [*repro.began.values(), time.monotonic()]
    return folder, dict(zip(repro.began, np.diff(times), strict=True))


@pytest.fixture(scope="module")
def killed(undisturbed, tmp_path_factory):
    """A project that was killed at random moments of every stage, and then left alone."""
    _, seconds = undisturbed
    folder = project(tmp_path_factory.mktemp("killed"), 3)
    chance = random.Random(0)
    kills = 0
    for stage in seconds:
        for _ in range(KILLS.get(stage.partition("@")[0], KILLS[None])):
            # Stages that go on where they were take less than the first time.
            kills += kill(folder, stage, chance.uniform(0, 0.7 * seconds[stage]))
    repro = Repro(folder)
    assert repro.wait() == 0, "".join(repro.log)
    return folder, kills


def kill(folder, stage, after):
    """Kill a repro so many seconds after a stage began; return whether it came to that."""
    repro = Repro(folder, stage)
    while stage not in repro.began and repro.process.poll() is None:
        time.sleep(0.01)
    if repro.process.poll() is not None:
        # The kill before came when all was done: once more.
        assert repro.wait() == 0, "".join(repro.log)
        repro = Repro(folder, "--force", "--single-item", stage)
        while stage not in repro.began and repro.process.poll() is None:
            time.sleep(0.01)
    time.sleep(after)
    if repro.process.poll() is None:
        repro.kill()
        return True
    assert repro.wait() == 0, "".join(repro.log)
    return False


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


def made(folder):
    """Every file that the stages made."""
    return {
        path.relative_to(folder): without_clock(path)
        for kind in ("data", "models", "metrics", "docs")
        for path in sorted((folder / kind).rglob("*"))
        if path.is_file() and path.name != ".gitignore"
    }


def test_kills_at_every_stage_change_no_byte(undisturbed, killed):
    folder, kills = killed
    assert kills >= 30
    one, other = made(undisturbed[0]), made(folder)
    assert set(one) == set(other)
    assert [path for path in one if one[path] != other[path]] == []
    assert len(one) > 40


def test_weights_and_arrays_are_among_what_is_compared(undisturbed):
    suffixes = {path.suffix for path in made(undisturbed[0])}
    assert suffixes >= {".keras", ".npy", ".csv", ".json", ".png", ".md", ".tsv"}


def test_nothing_is_left_that_a_run_went_on_from(killed):
    folder, _ = killed
    left = [path for path in (folder / ".resume").rglob("*") if path.is_file()]
    assert all(path.parent.name == "locks" for path in left)
    for suffix in ("csv", "json", "npy", "keras", "md"):
        assert list(folder.rglob(f".*.{suffix}")) == []


def test_dvc_finds_nothing_to_do_afterwards(killed):
    assert "Running stage" not in dvc(killed[0], "repro")


def test_a_model_holds_no_date(undisturbed):
    for path in (undisturbed[0] / "models").rglob("*.keras"):
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
            assert "date_saved" not in json.loads(archive.read("metadata.json"))


def test_two_repros_at_once_do_no_harm(undisturbed, tmp_path):
    folder = project(tmp_path, 2)
    both = [Repro(folder, "pack") for _ in range(2)]
    codes = [repro.wait() for repro in both]
    assert 0 in codes
    for repro, code in zip(both, codes, strict=True):
        if code:
            told = "".join(repro.log)
            assert "busy" in told or "Unable to acquire lock" in told, told
            assert "Traceback" not in told
    dvc(folder, "repro", "pack")
    expected = made(undisturbed[0])
    for path, data in made(folder).items():
        assert data == expected[path], path


def test_a_stage_that_a_killed_dvc_left_at_work_is_not_disturbed(tmp_path):
    import fcntl

    folder = project(tmp_path, 1)
    lock = folder / ".resume/locks/fetch"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        told = dvc(folder, "repro", "fetch", code=255)
    assert "another process is at work on it" in told
    assert "Traceback" not in told
    assert not (folder / "data/sample/raw").exists()
    dvc(folder, "repro", "fetch")


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
    ("options", "told"),
    [("size=1m", ["No space left on device", "Make room"]), ("ro", ["Read-only file system"])],
)
def test_a_place_that_cannot_be_written_is_told(tmp_path, options, told):
    folder = project(tmp_path, 1)
    done = in_a_small_place(folder, options, sys.executable, "-m", "stages.fetch")
    assert done.returncode == 1
    for words in (*told, "fetch stage stopped"):
        assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_pack_on_a_full_disk_leaves_no_array(undisturbed, tmp_path):
    folder = project(tmp_path, 1)
    whole = undisturbed[0] / "data"
    script = (
        f"mkdir data/sample && cp -r {whole}/sample/raw {whole}/sample/*samples.csv data/sample && "
        f"{sys.executable} -m stages.pack; code=$?; ls -a data/sample/crops/*; exit $code"
    )
    used = sum(path.stat().st_size for path in (whole / "sample/raw").rglob("*") if path.is_file())
    done = in_a_small_place(folder, f"size={used + 1_000_000}", "sh", "-c", script)
    assert done.returncode == 1, done.stdout
    assert "pack stage stopped" in done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "inputs.npy" not in done.stdout


def test_params_differ_in_workers_alone(undisturbed, killed):
    one, other = (
        yaml.safe_load((folder / "params.yaml").read_text())
        for folder in (undisturbed[0], killed[0])
    )
    assert one["workers"] != other["workers"]
    assert one | {"workers": 0} == other | {"workers": 0}
