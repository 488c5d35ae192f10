"""The package as a user installs it: a wheel in an empty environment, without what trains."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
import zipfile

import pytest
from conftest import ROOT

pytestmark = pytest.mark.slow

pytest.importorskip("uv", reason="uv is not installed: pip install uv")
UV = (sys.executable, "-m", "uv")
# A clone on Python's path would pass for the installed package.
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


def run(*command, **options):
    return subprocess.run(
        command, check=True, capture_output=True, text=True, env=ENVIRONMENT, **options
    ).stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from what git holds, and what a build fetched here before."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in run("git", "ls-files", "-z", cwd=ROOT).strip("\0").split("\0"):
        if not name.startswith("docs/results") and (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, source / name)
    fetched = ROOT / "facemask/server/page/ort"
    if fetched.exists():
        shutil.copytree(fetched, source / fetched.relative_to(ROOT))
    run(*UV, "build", "--wheel", "--out-dir", target, source)
    (file,) = target.glob("*.whl")
    return file


def test_a_wheel_holds_model_card_page_and_templates(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tracked = run("git", "ls-files", "facemask", cwd=ROOT).split()
    assert {name for name in tracked if (ROOT / name).exists()} <= names
    if (ROOT / "facemask/server/page/ort").exists():  # npm was there
        assert any(name.endswith(".wasm") for name in names)
    assert any(name.endswith("LICENSE") for name in names)
    assert not any(name.startswith(("tests", "stages", "benchmarks")) for name in names)


def test_it_predicts_in_an_empty_environment(wheel, tmp_path):
    run(*UV, "venv", "--python", sys.executable, tmp_path / "venv")
    folder = tmp_path / "venv/bin"
    run(*UV, "pip", "install", "--python", folder / "python", wheel)
    listed = run(*UV, "pip", "list", "--python", folder / "python", "--format=json")
    installed = {each["name"] for each in json.loads(listed)}
    assert not installed & {"tensorflow", "tensorflow-cpu", "keras", "dvc", "pandas"}
    shutil.copyfile(ROOT / "docs/example.jpg", tmp_path / "example.jpg")
    command = (folder / "facemask", "predict", "example.jpg", "--json", "--multi-scale")
    found = json.loads(run(*command, cwd=tmp_path))
    assert len(found["faces"]) >= 3
    assert (tmp_path / "runs/predict/1/example.jpg").exists()
    shown = subprocess.run(
        [folder / "facemask", "compare", "a", "b"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 1
    assert "facemask[train]" in shown.stderr
    assert "Traceback" not in shown.stderr
    command = [folder / "facemask", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as server:
        try:
            address = next(word for word in server.stdout.readline().split() if "://" in word)
            with urllib.request.urlopen(f"{address}/health", timeout=30) as reply:
                assert reply.status == 200
        finally:
            server.terminate()
