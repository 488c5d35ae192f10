"""The rooms of the code: imports go downwards, the command line starts fast, modules stay short."""

import ast
import subprocess
import sys

import pytest
from code_imports import ROOT, imports, reached

# From the lowest; what stands in one line may import one another.
LAYERS = [
    ("__init__", "errors", "io", "worker", "cluster", "shards"),
    ("config", "columns", "params", "param_errors", "resolve"),
    ("data",),
    ("evaluation",),
    ("models",),
    ("training",),
    ("inference",),
    ("predict",),
    ("reporting",),
    ("server",),
    ("records", "printed", "runs", "cli", "__main__"),
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
MODULES = sorted((ROOT / "facemask").rglob("*.py"))
SOURCES = [*MODULES, *sorted((ROOT / "stages").glob("*.py"))]
LINES, BODY = 350, 50


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def rank(path):
    """Where a module of the library stands among the layers."""
    return RANK[path.relative_to(ROOT / "facemask").parts[0].removesuffix(".py")]


def test_every_module_has_its_place():
    assert {rank(path) for path in MODULES} == set(range(len(LAYERS)))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_nothing_above_it(path):
    above = {name_of(other) for other in imports(path) if other.parts[-2] == "stages"}
    inside = imports(path) - {ROOT / name for name in above}
    assert above | {name_of(other) for other in inside if rank(other) > rank(path)} == set()


def test_no_imports_go_in_circles():
    """A module that is reached from what it imports, itself."""
    circles = {
        name_of(path)
        for path in SOURCES
        if any(path in reached(other, without=()) for other in imports(path) - {path})
    }
    assert circles == set()


@pytest.mark.parametrize(
    "path", sorted((ROOT / "facemask/reporting").glob("*.py")), ids=lambda path: path.stem
)
def test_reporting_needs_neither_training_nor_inference(path):
    rooms = {other.parent.name for other in reached(path)}
    assert not rooms & {"training", "inference"}


def test_the_command_line_helps_without_tensorflow():
    code = (
        "import sys\n"
        "from facemask.cli import app\n"
        "try:\n"
        "    app(['--help'])\n"
        "finally:\n"
        "    print('loaded:', sorted({'tensorflow', 'keras', 'torch'} & {*sys.modules}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "Usage" in done.stdout
    assert done.stdout.splitlines()[-1] == "loaded: []"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_modules_and_functions_stay_short(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LINES
    long = {
        node.name: body(node)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and body(node) > BODY
    }
    assert long == {}


def body(node):
    """The lines of a function but for its docstring."""
    lines = node.end_lineno - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node, clean=False) is not None:
        lines -= first.end_lineno - first.lineno + 1
    return lines


def test_lines_are_counted_without_the_docstring():
    code = 'def one(\n    a,\n):\n    """Say.\n\n    More.\n    """\n    return a\n'
    (node,) = ast.parse(code).body
    assert body(node) == 4
