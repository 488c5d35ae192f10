"""Keep a run of the workspace: report, metrics, predictions, parameters, lock files, commit."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from facemask.config import Config
from facemask.errors import InputError
from facemask.io import write_json
from facemask.params import read
from facemask.reporting.run import experiment_names, versions

# Folders of a file per experiment.
BY_EXPERIMENT = ("metrics", "history", "predictions", "statistics", "faces", "detections")


def take(root: Path, results: Path, name: str) -> Path:
    """Copy what a run has made and was made with into a new folder.

    Args:
        root: the repository's.
        results: the folder of all snapshots.
        name: of the new one, in which the report's files come to lie, beside metrics/,
            params.yaml, dvc.lock, those of the pipelines and snapshot.json, which names the commit.

    Raises:
        InputError: the folder is there, its name is no plain word, there is no run to keep, or
            parts of it were made with other parameters or code.
    """
    folder = results / name
    if not re.fullmatch(r"\w[\w-]*", name):
        raise InputError(f"{name!r} is no name for a snapshot: give letters, digits, _ or -")
    if folder.exists():
        raise InputError(f"{folder} is there already: give another name, or git rm -r {folder}")
    if not all((root / made).exists() for made in ("report", "metrics", "dvc.lock")):
        raise InputError("there is no run to keep: dvc repro makes one")
    config, commit = read(root), _commit(root)
    _check_up_to_date(root)
    shutil.copytree(root / "report", folder, ignore=_others(config))
    shutil.copytree(root / "metrics", folder / "metrics", ignore=_others(config))
    for lock in [root / "dvc.lock", *root.glob("pipelines/*/dvc.lock")]:
        for path in (lock, lock.with_name("params.yaml")):
            target = folder / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    about = {
        **commit,
        "dataset": config.dataset,
        "split": config.split,
        "packages": versions(),
    }
    write_json(about, folder / "snapshot.json")
    return folder


def _others(config: Config) -> Callable[[str, list[str]], set[str]]:
    """Return what tells shutil.copytree what to leave out: files of experiments of other runs."""
    ours = {
        "data",
        *experiment_names(config),
        *config.losses,
        *config.localizers,
        *config.ensembles,
        *config.detectors,
    }

    def left_out(folder: str, names: list[str]) -> set[str]:
        by_experiment = Path(folder).name in BY_EXPERIMENT
        return {
            name
            for name in names
            if name.startswith(".") or (by_experiment and Path(name).stem not in ours)
        }

    return left_out


def _check_up_to_date(root: Path) -> None:
    """Check the study, and each further pipeline that was run."""
    from dvc.repo import Repo

    locks = sorted(path.relative_to(root) for path in root.glob("pipelines/*/dvc.lock"))
    ran = ["dvc.yaml", *(str(lock.with_name("dvc.yaml")) for lock in locks)]
    with Repo(str(root)) as repo:
        changed = sorted(repo.status(targets=[str((root / file).resolve()) for file in ran]))
    if changed:
        raise InputError(
            f"what lies here is not all of one run; not up to date: {', '.join(changed[:5])}"
            f"{' …' if len(changed) > 5 else ''}. First run dvc repro {' '.join(ran)}, or remove "
            "the dvc.lock of a pipeline that is not meant, and what it made"
        )


def _commit(root: Path) -> dict[str, Any]:
    """The commit that is checked out, and which code and parameters differ from it."""
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        # The run's own files differ whenever it was not committed yet.
        made = ("metrics/", "report/", "dvc.lock", "docs/")
        staged, unstaged, _ = repo.scm.status(untracked_files="no")
        changed = {*unstaged, *(path for paths in staged.values() for path in paths)}
        ours = [
            path for path in changed if not path.endswith("dvc.lock") and not path.startswith(made)
        ]
        return {"commit": repo.scm.get_rev(), "changed": sorted(ours)}
