"""What several tests start from: random scenes, a tiny dataset, a small project that has run."""

import fcntl
import gc
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import settings

# The same examples everywhere, however slow the machine.
settings.register_profile("here", deadline=None, derandomize=True)
settings.load_profile("here")

ROOT = Path(__file__).parent.parent

# Files that take long, the longest first. One makes the small project, for which others wait.
LONG = ["test_reproducible", "test_classifier", "test_loop", "test_runs", "test_beyond"]
LONG += ["test_detector_stages", "test_stages", "test_checkpoint", "test_real_data"]
LONG += ["test_hyperband", "test_corpus", "test_export", "test_changed_source", "test_remote"]
LONG += ["test_cluster", "test_localizer_training", "test_page", "test_wheel"]


def pytest_collection_modifyitems(items):
    """The long ones first: no process is left with one when the others have nothing to do."""
    rank = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONG)))


def pytest_collection_finish():
    """Keras collects garbage at each new network: a quarter of a second, were it to look at all."""
    gc.collect()
    gc.freeze()


FILE = (
    "<annotation><filename>{name}</filename>"
    "<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    "{objects}</annotation>"
)
OBJECT = (
    "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax>"
    "</bndbox></object>"
)


@pytest.fixture(scope="session")
def draw_scene():
    """A function (seed, width, height) → uint8 RGB image of soft blots; no two seeds alike."""

    def draw(seed, width=96, height=64):
        blots = np.random.default_rng(seed).integers(0, 256, (9, 11, 3), np.uint8)
        return cv2.resize(blots, (width, height), interpolation=cv2.INTER_CUBIC)

    return draw


@pytest.fixture(scope="session")
def voc_text():
    """A function (name, width, height, objects) → Pascal-VOC XML; an object is (class, *box)."""

    def text(name, width, height, objects):
        items = "".join(OBJECT.format(*item) for item in objects)
        return FILE.format(name=name, width=width, height=height, objects=items)

    return text


@pytest.fixture
def voc(tmp_path, draw_scene, voc_text):
    """A folder with images/ and annotations/ of three images of 96 x 64 px, two faces each."""
    folder = tmp_path / "own"
    for kind in ("images", "annotations"):
        (folder / kind).mkdir(parents=True)
    for seed, name in enumerate(("a", "b", "c")):
        image = draw_scene(seed)
        cv2.imwrite(str(folder / "images" / f"{name}.png"), image[..., ::-1])
        objects = [("with_mask", 10 + seed, 8, 30, 31), ("without_mask", 60, 20, 85, 50 + seed)]
        xml = voc_text(f"{name}.png", 96, 64, objects)
        (folder / "annotations" / f"{name}.xml").write_text(xml)
    return folder


def without_graphs():
    """A toy's few steps take less time than it takes to trace them."""
    import tensorflow as tf  # not for the tests of stages that do without it

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


eager = pytest.fixture(without_graphs)


@pytest.fixture
def many_steps(monkeypatch):
    """As a long training has it: Keras runs several batches at once, and the last of them fewer."""
    from facemask.training import loop

    monkeypatch.setattr(loop, "SHORT", 0)
    monkeypatch.setattr(loop, "STEPS_PER_CALL", 2)


# A project: a working copy with parameters of its own, run by DVC as a user runs it.

STUDY = "params.yaml"
LOSSES = "pipelines/losses/params.yaml"
LOCALIZER = "pipelines/localizer/params.yaml"
DETECTOR = "pipelines/detector/params.yaml"
DETECTOR_ABLATION = "pipelines/detector_ablation/params.yaml"
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "GIT_AUTHOR_NAME": "test",
    "GIT_AUTHOR_EMAIL": "test@example.org",
    "GIT_COMMITTER_NAME": "test",
    "GIT_COMMITTER_EMAIL": "test@example.org",
}


def run(folder, *command, code=0):
    """Run a command in a folder; return what it said, on both ways."""
    done = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def dvc(folder, *arguments, code=0):
    return run(folder, sys.executable, "-m", "dvc", *arguments, code=code)


def ran(output):
    """The stages that DVC says it runs, but for the one that it runs each time."""
    stages = [line.split("'")[1] for line in output.splitlines() if line.startswith("Running")]
    return [stage for stage in stages if stage != "source"]


def edit_params(folder, change, file=STUDY):
    path = folder / file
    params = yaml.safe_load(path.read_text())
    change(params)
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def checkout(folder, changes=None):
    """A working copy of the project, its parameter files changed by `changes`: {file: function}."""
    nothing = shutil.ignore_patterns("__pycache__")
    for name in ("facemask", "stages", "reference", "pipelines", ".dvc/plots"):
        shutil.copytree(ROOT / name, folder / name, ignore=nothing)
    for name in ("dvc.yaml", STUDY, ".gitignore", ".dvc/config", ".dvc/.gitignore", ".dvcignore"):
        shutil.copyfile(ROOT / name, folder / name)
    for file, change in (changes or {}).items():
        edit_params(folder, change, file)
    return folder


def commit(folder, message):
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "-qm", message)


# What the small project consists of.
EXPERIMENTS = ["scratch_1", "mobilenet_1"]
MEASURED = [*EXPERIMENTS, "mobilenet_tuned"]
LOCALIZERS = ["localizer", "localizer_stretched"]
ENSEMBLE, VARIANT = "ensemble", "one_pass"
DETECTOR_VARIANT = "no_mosaic"
LOSS = "mobilenet_1_giou"


def small_study(params):
    """An experiment on pixels, one on a backbone, a search that starts from it."""
    params["datasets"]["sample"]["source"] = "synthetic:16"
    params["splits"]["random"]["seed"] = 2  # an image with extra crops only trains, one does not
    params["arrays"]["sizes"] = [128, 96]
    params["backbones"] = {"mobilenet_v2": {"application": "MobileNetV2", "input_size": 96}}
    params["experiments"] = {name: params["experiments"][name] for name in EXPERIMENTS}
    params["experiments"]["scratch_1"]["epochs"] = 1
    # Of several epochs, so that a kill can come between two; with a default of its own.
    params["experiments"]["mobilenet_1"] |= {"epochs": 3, "early_stopping": 9}
    search = params["searches"]["mobilenet"] | {"base": "mobilenet_1", "max_epochs": 2}
    search["space"] |= {"layers": [1, 2], "units": [8, 16]}
    params["searches"] = {"mobilenet": search}


def small_losses(params):
    entry = params["experiments"]["mobilenet_6_giou"] | {"like": "mobilenet_1"}
    params["experiments"] = {LOSS: entry}


def small_localizers(params):
    """Small, and of the backbone only the beginning, of which nothing is trained."""
    level = "block_3_expand_relu"
    small = {"epochs": 1, "feature_levels": [level], "freeze_until": level, "channels": 8}
    for name in LOCALIZERS:
        params["localizers"][name] |= small
    params["localizers"]["localizer"]["model_input"]["size"] = 64
    params["localizers"]["localizer"]["schedule"]["warmup"] = 0
    params["ablation"]["shared"] = {"repeats": 1}
    params["ablation"]["variants"] = {VARIANT: params["ablation"]["variants"][VARIANT]}


def small_detector(params):
    small = {"size": 128, "crop_view": 96, "crop_size": 64, "batch_size": 4, "epochs": 2}
    level = "block_3_expand_relu"
    small |= {"feature_levels": [level], "freeze_until": level, "channels": 8}
    params["detectors"]["detector"] |= small
    # So that it finds something after a few steps.
    params["detectors"]["detector"]["optimizer"] |= {"learning_rate": 0.03, "options": {}}
    params["images"]["max_side"] = 128


def small_detector_ablation(params):
    params["ablation"]["shared"] = {"epochs": 1, "repeats": 1, "schedule": {"warmup": 0}}
    params["ablation"]["variants"] = {DETECTOR_VARIANT: {"augment": {"mosaic": 0}}}


SMALL = {
    STUDY: small_study,
    LOSSES: small_losses,
    LOCALIZER: small_localizers,
    DETECTOR: small_detector,
    DETECTOR_ABLATION: small_detector_ablation,
}


def new_project(folder, changes):
    """A project under git in which nothing has run."""
    checkout(folder, changes)
    run(folder, "git", "init", "-q")
    commit(folder, "before")
    return folder


@contextmanager
def once(folder):
    """Let the processes of one pytest do a thing once: yields whether it is still to be done."""
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder.with_suffix(".done")
        if done.exists():
            yield False
        else:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            yield True
            done.touch()


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """The small study run once from nothing and committed; for all tests, so none changes it."""
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent
    folder = place / "project"
    with once(folder) as due:
        if due:
            new_project(folder, SMALL)
            (place / "output.txt").write_text(dvc(folder, "repro"))
            commit(folder, "after")
    return folder


@pytest.fixture
def copy(project, tmp_path):
    """The small project to do with as one likes."""
    ignored = shutil.ignore_patterns("tmp", "__pycache__")
    return shutil.copytree(project, tmp_path / "project", ignore=ignored, symlinks=True)
