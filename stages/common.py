"""What all stages share: where files lie, and how errors of the user are reported."""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from facemask.cluster import PARENT, end_with
from facemask.errors import REMEDIES, InputError
from facemask.io import file_lock

# Of the run in the workspace, relative to the repository's root.
DATA, MODELS, METRICS, REPORT = Path("data"), Path("models"), Path("metrics"), Path("report")
RAW = DATA / "raw"
DETECTIONS = DATA / "detections"
EXPORTED = MODELS / "exported"
RECORDS = REPORT / "records"  # what reports and comparisons are made of, one folder per pipeline
# What lets a stopped run go on; DVC deletes a stage's outputs before it runs.
STATE = Path(".resume")


def config_file(pipeline: str, name: str) -> Path:
    """Return where the resolve stage writes what a training is made with."""
    return DATA / "configs" / pipeline / f"{name}.json"


def detector_folder(root: Path, pipeline: str, name: str) -> Path:
    """Return where in MODELS or DETECTIONS a detector lies, or a variant of its ablation."""
    return root / name if pipeline == "detector" else root / pipeline / name


def repeat_folders(folder: Path, repeats: int) -> list[Path]:
    """Return where the model of each repeat lies: the first in the experiment's own folder."""
    return [folder, *(folder / f"repeat_{number}" for number in range(1, repeats))]


def trained_folders(folder: Path) -> list[Path]:
    """Return the folders of `repeat_folders` that are there."""
    return repeat_folders(folder, 1 + len(list(folder.glob("repeat_*"))))


def workers(wanted: int | None) -> int:
    """Return how many threads decode images: as many as wanted, or one per processor."""
    return wanted or os.cpu_count() or 1


def run_stage(stage: Callable[..., None]) -> None:
    """Run a stage with the command line's arguments; report what a user can correct in one message.

    One process at a time: a stage that a killed DVC left running would write the same files. One
    that a cluster's worker runs (`facemask.runs`) ends when that is killed, as another begins it.
    """
    name = Path(sys.argv[0]).stem
    if parent := os.environ.get(PARENT):
        threading.Thread(target=end_with, args=[int(parent)], daemon=True).start()
    try:
        with file_lock(STATE / "locks" / "@".join([name, *sys.argv[1:]]).replace("/", "_")):
            stage(*sys.argv[1:])
    except InputError as error:
        sys.exit(f"\nThe {name} stage stopped: {error}\n")
    except OSError as error:
        if error.errno not in REMEDIES:
            raise
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(
            f"\nThe {name} stage stopped: {where}{os.strerror(error.errno)}. "
            f"{REMEDIES[error.errno]}\nThen run the same command again: it goes on from here.\n"
        )
