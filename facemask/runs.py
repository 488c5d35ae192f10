"""Runs of DVC's stages side by side: those that wait for nothing, and the folds of a split."""

import os
import shutil
import socket
import subprocess  # nosec B404
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePath
from typing import Any

from facemask import cluster
from facemask.config import Config
from facemask.errors import InputError, nearest
from facemask.io import file_lock, write_text
from facemask.params import read

# Where copies of the project lie, from its root; as DVC does itself, within the project's folder.
FOLDS = Path(".dvc", "tmp", "exps", "folds")
# What a run leaves that git does not ignore.
RESULTS = ("dvc.lock", "/metrics", "/report")
LOGS = Path(".resume/logs")
SHOWN = 1500  # characters of a log in a message


def repro(target: str) -> None:
    """Bring a pipeline up to date, on a cluster the stages that wait for no other side by side.

    Args:
        target: a dvc.yaml, or a stage, as of `dvc repro`.

    Raises:
        InputError: there is no such target, or a stage failed; its log is named.
    """
    if os.environ.get(cluster.SCHEDULER):
        for level in _levels(target):
            changed = _changed(level)  # as all that these wait for is there
            if len(changed) == 1:  # its items, then, run side by side
                _dvc(Path(), False, "repro", "--single-item", *changed)
                continue
            run = partial(_dvc, Path(), True, "repro", "--single-item")
            for _ in cluster.map(run, changed, "stages", "stage"):
                pass
    _dvc(Path(), False, "repro", target)


def fold_names(config: Config) -> list[str]:
    """Return the names of the grouped splits, whose test images are all images together.

    Raises:
        InputError: there are none.
    """
    names = [name for name, split in config.splits.items() if split.kind == "grouped"]
    if len(names) < 2:
        raise InputError("params.yaml: splits holds no folds: give several of kind grouped")
    return names


def folds(name: str) -> list[Path]:
    """Run an experiment in every fold, each in a copy of the project, on a cluster side by side.

    Args:
        name: of an experiment, localizer, ensemble or detector.

    Returns:
        The folders of the copies, which `records` reads. Called again, a run goes on from there.

    Raises:
        InputError: there is no such experiment, or a stage failed; its log is named.
    """
    config, target = read(), _target(name)
    copies = [FOLDS / name / split for split in fold_names(config)]
    file, key = ("params.yaml", ["split"])
    if name in config.detectors:
        file, key = ("pipelines/detector/params.yaml", ["images", "split"])
    for copy in copies:
        _copy_project(copy)
        _set(copy / file, key, copy.name)
    run = partial(_run_fold, target, bool(os.environ.get(cluster.SCHEDULER)))
    for _ in cluster.map(run, copies, f"folds of {name}", "fold"):
        pass
    return copies


def _target(name: str) -> str:
    """Return the stage that measures an experiment."""
    from dvc.repo import Repo

    with Repo() as repo:
        stages = {
            PurePath(out.def_path).stem: out.stage
            for out in repo.index.outs
            if PurePath(out.def_path).parent.name == "predictions"
        }
    if name not in stages:
        raise InputError(
            f"there is no experiment {name!r}{nearest(name, stages)}; there are: "
            f"{', '.join(sorted(stages))}"
        )
    return str(stages[name].addressing)


def _levels(target: str) -> Iterator[list[str]]:
    """Yield the stages of a target and of all before it, those together that wait for no other."""
    import networkx
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    with Repo() as repo:
        try:
            wanted = repo.stage.collect(target)
        except DvcException as error:
            raise InputError(f"{error}") from None
        graph = repo.index.graph
        needed = {*wanted}.union(*(networkx.descendants(graph, stage) for stage in wanted))
        order = networkx.topological_generations(graph.subgraph(needed).reverse())
        levels = [sorted(stage.addressing for stage in level) for level in order]
    yield from levels


def _changed(stages: list[str]) -> list[str]:
    """Return those of some stages that are not up to date."""
    from dvc.repo import Repo

    with Repo() as repo:
        changed = repo.status(targets=stages)
    return [stage for stage in stages if stage in changed]


def _run_fold(target: str, logged: bool, copy: Path) -> None:
    _dvc(copy, logged, "repro", target)


def _dvc(root: Path, logged: bool, *arguments: str) -> None:
    """Run a command of DVC in a copy of the project; its output is shown, or goes to a log."""
    environment = {**os.environ, cluster.PARENT: str(os.getpid())}
    command = [sys.executable, "-m", "facemask.runs", "--wait-for-lock", *arguments]
    ran = f"dvc {' '.join(arguments)} in {root.absolute()}"
    if not logged:
        if _call(command, root, env=environment).returncode:
            raise InputError(f"{ran} failed, as is said above")
        return
    log = LOGS / f"{'_'.join([*root.parts[-2:], *arguments[-1].split('/')])}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as file:
        code = _call(command, root, env=environment, stdout=file, stderr=file).returncode
    if code:
        end = log.read_text(encoding="utf-8", errors="replace")[-SHOWN:]
        raise InputError(f"{ran} failed; {log} ends:\n{end}")


def _run_dvc() -> int:
    """Run DVC, and end when the process that began it ends.

    A lock lets one at a time run a stage: that of a killed worker may still be about to end.
    """
    parent, arguments = int(os.environ[cluster.PARENT]), sys.argv[1:]
    threading.Thread(target=cluster.end_with, args=[parent], daemon=True).start()
    lock = Path(".resume/locks", f"dvc@{arguments[-1]}".replace("/", "_"))
    holder = lock.with_name(f"{lock.name}.pid")
    with file_lock(lock, wait=True):
        _wait_for_end(holder)
        write_text(f"{os.getpid()} {socket.gethostname()}", holder)
        from dvc.cli import main

        return int(main(arguments))


def _wait_for_end(holder: Path) -> None:
    """Wait until the process that a file names is gone, for up to ten seconds.

    The kernel takes a lock back from a killed process a moment before its number; as long as that
    is there, DVC takes the files of its stage to be in use.
    """
    text = holder.read_text(encoding="utf-8") if holder.exists() else ""
    process, _, host = text.partition(" ")
    for _ in range(100):
        if host != socket.gethostname() or not cluster.is_running(int(process)):
            return
        time.sleep(0.1)


def _copy_project(copy: Path) -> None:
    """Make a clone of the project as it lies here, or bring one up to date; results there stay.

    It shares the cache, so that what is the same is not computed again.
    """
    copy.mkdir(parents=True, exist_ok=True)
    _git(copy, "init", "--quiet")
    # Relative, as the folder may have another path on another machine.
    _git(copy, "fetch", "--quiet", os.path.relpath(".", copy), "HEAD")
    _git(copy, "checkout", "--quiet", "--force", "--detach", "FETCH_HEAD")
    kept = [f"--exclude={each}" for each in RESULTS]
    _git(copy, "clean", "--quiet", "-d", "--force", *kept)
    changed = _git(Path(), "diff", "--name-only", "--no-renames", "-z", "HEAD")
    new = _git(Path(), "ls-files", "-z", "--others", "--exclude-standard")
    for name in filter(None, (changed + new).split("\0")):
        if Path(name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(name, copy / name)
        else:
            (copy / name).unlink(missing_ok=True)
    local = Path(".dvc/config.local")
    if local.exists():
        shutil.copyfile(local, copy / local)
    _share_cache(copy)


def _share_cache(copy: Path) -> None:
    """Let DVC keep the files of a copy where it keeps those of the project."""
    from dvc.config import Config as DvcConfig
    from dvc.repo import Repo

    with Repo() as repo:
        files = Path(repo.cache.local.path)  # in the cache, files/md5
    with DvcConfig(str(copy / ".dvc"), validate=False).edit("local") as local:
        local["cache"] = {"dir": os.path.relpath(files.parents[1])}


def _git(root: Path, *arguments: str) -> str:
    git = shutil.which("git") or "git"
    done = _call([git, *arguments], root, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        raise InputError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return str(done.stdout)


# Any: what subprocess.run takes.
def _call(command: list[str], root: Path, **how: Any) -> subprocess.CompletedProcess[str]:  # noqa: ANN401
    """Run a command of this module in a folder."""
    return subprocess.run(command, cwd=root, text=True, check=False, **how)  # noqa: S603 # nosec B603


def _set(file: Path, key: list[str], value: str) -> None:
    """Change a value of a YAML file, and nothing else of it."""
    from dvc.utils.serialize import modify_yaml

    with modify_yaml(str(file)) as values:
        for part in key[:-1]:
            values = values[part]
        values[key[-1]] = value


if __name__ == "__main__":
    sys.exit(_run_dvc())
