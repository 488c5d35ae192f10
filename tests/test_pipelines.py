"""The dvc.yaml files: every stage names what it is made from, and the study is short."""

import ast
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
FILES = ["dvc.yaml", "pipelines/losses/dvc.yaml", "pipelines/localizer/dvc.yaml"]
# What no byte of an output hangs on: messages, writing whole files, reading and checking
# parameters, which arrive as parameters of the stage or in the file of a training.
NEUTRAL = {ROOT / f"facemask/{name}.py" for name in ("errors", "io", "config", "params")}


def stages():
    for file in FILES:
        for name, stage in yaml.safe_load((ROOT / file).read_text())["stages"].items():
            yield file, name, stage.get("do", stage)


STAGES = {f"{Path(file).parent.name or 'study'}:{name}": stage for file, name, stage in stages()}


@cache
def imports(path):
    """The project's own modules that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [node.module]
        for name in names:
            file = ROOT / (name.replace(".", "/") + ".py")
            if file.exists() and name.partition(".")[0] in ("facemask", "stages"):
                found.add(file)
    return found


def reached(path):
    """A module and all that it imports, and so on."""
    seen, left = set(), [path]
    while left:
        module = left.pop()
        if module not in seen:
            seen.add(module)
            left.extend([] if module in NEUTRAL else imports(module))
    return seen


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_names_all_code_that_it_runs(name):
    stage = STAGES[name]
    module = stage["cmd"].split()[2]
    named = [ROOT / dep for dep in stage["deps"] if dep.startswith(("facemask", "stages"))]
    assert all(path.exists() for path in named)
    ran = reached(ROOT / (module.replace(".", "/") + ".py"))
    shared = {ROOT / "stages/common.py", ROOT / "stages/quick_keras.py"}
    needed = ran - shared - NEUTRAL
    missing = {
        str(path.relative_to(ROOT))
        for path in needed
        if not any(path == each or each in path.parents for each in named)
    }
    assert missing == set()
    # And names none that it does not.
    idle = [each for each in named if not any(p == each or each in p.parents for p in ran)]
    assert idle == []


def test_whoever_asks_a_localizer_can_load_one():
    """Keras finds a layer of this project's only once its module is imported."""
    layers = ROOT / "facemask/models/localizer.py"
    assert layers in imports(ROOT / "facemask/inference/localizer.py")


def test_imports_are_found_where_they_are():
    path = ROOT / "stages/split.py"
    assert ROOT / "facemask/data/splits.py" in imports(path)
    assert ROOT / "facemask/schema.py" not in imports(path)
    assert ROOT / "facemask/evaluation/significance.py" in reached(ROOT / "stages/evaluate.py")
