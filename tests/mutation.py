"""Mutation testing: change a module in one place at a time, and see whether its tests notice.

    pip install cosmic-ray
    python tests/mutation.py boxes crops splits losses inference/localizer

Cosmic Ray makes the changes. Its own runner starts Python and loads TensorFlow for each of them;
here each is tried in a fork of a process that has all libraries loaded. No file is changed.
"""

import difflib
import importlib.util
import os
import signal
import sys
import time
from pathlib import Path

import cosmic_ray.plugins
import cv2  # noqa: F401 - what tests and modules load, so that forks need not
import hypothesis  # noqa: F401
import pytest
import sklearn.model_selection  # noqa: F401
import tensorflow  # noqa: F401
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from tqdm import tqdm

SECONDS = 60  # of a test run, after which a mutant counts as noticed: it runs in circles
# `X | None` in annotations is no behaviour.
NO_BEHAVIOUR = "core/ReplaceBinaryOperator_BitOr_"


def main(names: list[str]) -> None:
    """Print how many mutants of each module its tests notice, and those they do not."""
    for name in names:
        path = module_file(name)
        source = path.read_text()
        assert tried(name, [source]) == [False], f"the tests of {name} fail as they are"
        changed = list(mutants(source))
        noticed = tried(name, changed)
        for mutant, seen in zip(changed, noticed, strict=True):
            if not seen:
                lines = source.splitlines(), mutant.splitlines()
                print("\n".join(difflib.unified_diff(*lines, lineterm="", n=0)))
        share = sum(noticed) / len(noticed)
        print(f"{name}: {sum(noticed)} of {len(noticed)} mutants noticed, {share:.1%}", flush=True)


def module_file(name):
    """Return where in the library a module lies; of two of one name, name the package too."""
    (path,) = Path("facemask").rglob(f"{name}.py")
    return path


def test_file(name):
    """Return where its tests are: those of inference/localizer in test_localizer_inference.py."""
    package, _, module = name.rpartition("/")
    return f"tests/test_{module}{'_' if package else ''}{package}.py"


def mutants(source):
    """Yield a source, changed in each place by each operator that has something to change there."""
    tree = get_ast(source)
    for operator_name in sorted(cosmic_ray.plugins.operator_names()):
        operator_class = cosmic_ray.plugins.get_operator(operator_name)
        if operator_name.startswith(NO_BEHAVIOUR) or operator_class.arguments():
            continue
        operator = operator_class()
        places = [place for node in ast_nodes(tree) for place in operator.mutation_positions(node)]
        for occurrence in range(len(places)):
            yield mutate_code(source, operator, occurrence)


def tried(name, sources):
    """Return of each source of a module whether its tests fail, several at once."""
    noticed, running, waiting = {}, {}, list(enumerate(sources))
    with tqdm(total=len(sources), desc=name, unit="mutant") as bar:
        while waiting or running:
            while waiting and len(running) < os.cpu_count():
                number, source = waiting.pop(0)
                running[fork(name, source)] = number, time.monotonic()
            for process, (number, start) in list(running.items()):
                ended, status = os.waitpid(process, os.WNOHANG)
                if ended:
                    noticed[number] = status != 0
                    del running[process]
                    bar.update()
                elif time.monotonic() - start > SECONDS:
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.01)
    return [noticed[number] for number in range(len(sources))]


def fork(name, source):
    """Start the tests of a module on another source of it; the exit status is pytest's."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        spec = importlib.util.find_spec(".".join(module_file(name).with_suffix("").parts))
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        setattr(sys.modules[spec.parent], name.rpartition("/")[2], module)
        exec(compile(source, spec.origin, "exec"), module.__dict__)
        status = pytest.main(["-x", "-n0", "-p", "no:cacheprovider", test_file(name)])
    finally:
        os._exit(int(status))


if __name__ == "__main__":
    main(sys.argv[1:])
