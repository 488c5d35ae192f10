"""Keep a run of the workspace: report, metrics, predictions, parameters, lock files, commit."""

import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from facemask.config import Config
from facemask.errors import InputError, nearest
from facemask.evaluation.detection_metrics import MULTI_SCALE
from facemask.io import write_json
from facemask.params import read
from facemask.reporting.run import experiment_names, versions

STUDY_LOCK, LOCKS = Path("dvc.lock"), "pipelines/*/dvc.lock"
# Folders of a file per experiment.
BY_EXPERIMENT = (
    *("metrics", "history", "predictions", "statistics", "faces", "detections", "curves"),
    "exported",
)


def take(root: Path, results: Path, name: str, pipeline: str | None = None) -> Path:
    """Copy what a run has made and was made with into a new folder.

    Args:
        root: the repository's.
        results: the folder of all snapshots.
        name: of the new one, in which the report's files come to lie, beside metrics/,
            params.yaml, dvc.lock, those of the pipelines and snapshot.json, which names the commit.
        pipeline: of which alone the run is kept, as detector; None: the study and every pipeline
            that was run.

    Raises:
        InputError: the folder is there, its name is no plain word, there is no such pipeline or no
            run to keep, or parts of it were made with other parameters or code.
    """
    folder = results / name
    if not re.fullmatch(r"\w[\w-]*", name):
        raise InputError(f"{name!r} is no name for a snapshot: give letters, digits, _ or -")
    if folder.exists():
        raise InputError(f"{folder} is there already: give another name, or git rm -r {folder}")
    locks = _locks(root, pipeline)
    made = [Path("report"), Path("metrics"), *locks]
    if not all((root / each).exists() for each in made):
        command = f"dvc repro pipelines/{pipeline}/dvc.yaml" if pipeline else "dvc repro"
        raise InputError(f"there is no run to keep: {command} makes one")
    config, commit = read(root), _commit(root)
    _check_up_to_date(root, locks)
    left_out = _others(config, pipeline)
    shutil.copytree(root / "report", folder, ignore=left_out)
    shutil.copytree(root / "metrics", folder / "metrics", ignore=left_out)
    for lock in dict.fromkeys([STUDY_LOCK, *locks]):
        for path in (lock, lock.with_name("params.yaml")):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / path, folder / path)
    whole_images = pipeline in ("detector", "detector_ablation")
    split = config.images.split if whole_images and config.images else config.split
    about = {**commit, "dataset": config.dataset, "split": split, "packages": versions()}
    write_json(about, folder / "snapshot.json")
    return folder


def _locks(root: Path, pipeline: str | None) -> list[Path]:
    """The lock files of what is kept, from the root."""
    if pipeline is None:
        return [STUDY_LOCK, *sorted(path.relative_to(root) for path in root.glob(LOCKS))]
    known = {path.parent.name for path in root.glob("pipelines/*/dvc.yaml")}
    if pipeline not in known:
        raise InputError(
            f"there is no pipeline {pipeline!r}{nearest(pipeline, known)}; there are: "
            f"{', '.join(sorted(known))}"
        )
    return [Path(f"pipelines/{pipeline}/dvc.lock")]


def _others(config: Config, pipeline: str | None) -> Callable[[str, list[str]], set[str]]:
    """Return what tells shutil.copytree what to leave out: files of experiments of other runs."""
    of_pipeline = {
        "study": experiment_names(config),
        "losses": config.losses,
        "localizer": [*config.localizers, *config.ensembles],
        "detector": [*config.detectors, *map(MULTI_SCALE.format, config.detectors)],
    }
    kept = [pipeline] if pipeline else list(of_pipeline)
    ours = {"data", *(name for each in kept for name in of_pipeline.get(each, ()))}
    other_folders = {*of_pipeline, "detector_ablation"} - {*kept, *ours} if pipeline else set()

    def left_out(folder: str, names: list[str]) -> set[str]:
        by_experiment = Path(folder).name in BY_EXPERIMENT
        above = pipeline is not None and Path(folder).name == "report"
        return {
            name
            for name in names
            if name.startswith(".")
            or name in other_folders
            or (by_experiment and Path(name).stem not in ours)
            # Of the report's own files none are of a further pipeline.
            or (above and name not in ("records", *kept))
        }

    return left_out


def _check_up_to_date(root: Path, locks: Sequence[Path]) -> None:
    """Check the pipelines of lock files."""
    from dvc.repo import Repo

    ran = [str(lock.with_name("dvc.yaml")) for lock in locks]
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
