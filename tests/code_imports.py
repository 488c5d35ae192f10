"""Which modules of the project a module imports, read from its source."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
# What no byte of an output hangs on: messages, reading and writing files, reading and checking
# parameters, which arrive as parameters of the stage or in the file of a training, and in which
# process work is done.
NAMES = ("errors", "io", "params", "cluster", "worker", "shards")
NEUTRAL = {ROOT / f"facemask/{name}.py" for name in NAMES}
NEUTRAL |= {*(ROOT / "facemask/config").glob("*.py")}
# Nor on what the package offers its users, which no stage runs.
NEUTRAL |= {ROOT / "facemask/__init__.py"}
# Nor on packages that hold nothing but what they say of themselves.
NEUTRAL |= {
    path
    for path in ROOT.glob("facemask/**/__init__.py")
    if [type(node) for node in ast.parse(path.read_text()).body] == [ast.Expr]
}


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
            if name.partition(".")[0] in ("facemask", "stages") and (file := source_of(name)):
                found.add(file)
    return found


def source_of(name):
    """The file of a module or a package; None of what is neither, such as a function."""
    path = ROOT / name.replace(".", "/")
    files = path.with_suffix(".py"), path / "__init__.py"
    return next((file for file in files if file.exists()), None)


def reached(path, without=NEUTRAL):
    """A module and all that it imports, and so on, but not what those of `without` import."""
    seen, left = set(), [path]
    while left:
        module = left.pop()
        if module not in seen:
            seen.add(module)
            left.extend([] if module in without else imports(module))
    return seen


def templates(modules):
    """The templates of pages that modules name: render("name", …)."""
    return {
        ROOT / f"facemask/reporting/templates/{node.args[0].value}.md.j2"
        for module in modules
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", None) == "render"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
