"""The dvc.yaml files: every stage names what it is made from, and the study is short."""

from pathlib import Path

import pytest
import yaml
from code_imports import NEUTRAL, ROOT, imports, reached, source_of, templates

OTHERS = sorted(ROOT.glob("pipelines/*/dvc.yaml"))
FILES = ["dvc.yaml", *(path.relative_to(ROOT).as_posix() for path in OTHERS)]


def stages():
    for file in FILES:
        for name, stage in yaml.safe_load((ROOT / file).read_text())["stages"].items():
            yield file, name, stage.get("do", stage)


STAGES = {f"{Path(file).parent.name or 'study'}:{name}": stage for file, name, stage in stages()}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_names_all_code_that_it_runs(name):
    stage = STAGES[name]
    module = stage["cmd"].split()[2]
    named = [ROOT / dep for dep in stage["deps"] if dep.startswith(("facemask", "stages"))]
    assert all(path.exists() for path in named)
    ran = reached(source_of(module))
    ran |= templates(ran)
    assert all(path.exists() for path in ran)
    shared = {ROOT / "stages/common.py", ROOT / "stages/keras_import.py"}
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


@pytest.mark.parametrize("name", [name for name in STAGES if name.endswith(":resolve")])
def test_resolve_names_the_code_that_reads_parameters(name):
    """What it writes hangs on defaults, bases and caps, which are filled in there."""
    messages = {ROOT / f"facemask/{name}.py" for name in ("errors", "param_errors")}
    outside = {ROOT / f"facemask/{name}.py" for name in ("__init__", "io", "cluster", "worker")}
    read = {
        path
        for path in reached(ROOT / "stages/resolve.py", without=messages)
        if path.is_relative_to(ROOT / "facemask") and path not in messages | outside
    }
    named = [ROOT / dep for dep in STAGES[name]["deps"]]
    assert ROOT / "facemask/config/files.py" in read
    assert [path for path in read if not any(path.is_relative_to(each) for each in named)] == []


def test_what_predicts_with_a_localizer_can_load_one():
    """Keras finds a layer of this project's only once its module is imported."""
    layers = ROOT / "facemask/models/localizer.py"
    assert layers in imports(ROOT / "facemask/inference/localizer.py")


def test_imports_are_found_where_they_are():
    path = ROOT / "stages/split.py"
    assert ROOT / "facemask/data/splits.py" in imports(path)
    assert ROOT / "facemask/columns.py" not in imports(path)
    assert ROOT / "facemask/evaluation/significance.py" in reached(ROOT / "stages/evaluate.py")
    # A package is its __init__.py.
    assert ROOT / "facemask/config/__init__.py" in imports(ROOT / "facemask/params.py")
    assert ROOT / "facemask/config/localizer.py" in imports(ROOT / "facemask/config/__init__.py")
    # And a page with its template.
    page = reached(ROOT / "stages/parse.py")
    assert templates(page) == {ROOT / "facemask/reporting/templates/validation.md.j2"}
