"""Files that are complete or absent, whenever the process that writes them ends."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from facemask.errors import InputError

if TYPE_CHECKING:  # what lists a source at each `dvc repro` does not wait for them
    import numpy as np
    import pandas as pd

# What drives without locks say, as some network drives are.
NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK}


def user_path(text: str) -> Path:
    """Return a path as the user means it: ~ is the home, the rest is relative to the project.

    DVC runs queued experiments in copies of the project, where a relative path leads nowhere.
    """
    path = Path(text).expanduser()
    here = Path.cwd()
    for folder in here.parents:
        if folder.parts[-3:] == (".dvc", "tmp", "exps"):
            return folder.parents[2] / path
    return path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it gets that name if nothing went wrong.

    The folder is made. A kill leaves the other path behind, which the next writer takes over. Of
    two processes that write one file, the second waits for the first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}")  # the suffix stays: some writers go by it
    # On Windows, only predict and serve run, each writing files of its own.
    with file_lock(part, wait=True) if os.name == "posix" else nullcontext():
        try:
            yield part
            part.replace(path)
        except BaseException as error:
            part.unlink(missing_ok=True)
            if isinstance(error, OSError):
                error.filename = error.filename or str(path)
            raise


@contextmanager
def file_lock(lock: Path, wait: bool = False) -> Iterator[None]:
    """Make a file, unless it is there, and hold its lock.

    The kernel takes the lock back from a process that is killed. On a drive that has no locks, who
    would wait for one goes on without.

    Raises:
        InputError: another process holds it, for which it is not to wait.
    """
    import fcntl

    lock.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with lock.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"another process is running this stage (lock file {lock}): wait until it has "
                    "finished, or stop it"
                ) from None
            except OSError as error:
                if not wait or error.errno not in NO_LOCKS:
                    raise
            if _has_name(file, lock):  # the process before may have renamed or deleted it
                yield
                return


def _has_name(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def new_array(path: Path, dtype: "np.dtype | type", shape: tuple[int, ...]) -> "np.memmap":
    """Make a .npy file and map it; its place on the disk is taken at once.

    Raises:
        OSError: the disk is too small, which later would end the process without a word.
    """
    from numpy.lib.format import open_memmap

    array = open_memmap(path, "w+", dtype, shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def write_text(text: str, path: Path) -> None:
    """Write text as UTF-8, making the folder."""
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")


def write_csv(table: "pd.DataFrame", path: Path) -> None:
    """Write a table without its index, making the folder."""
    with atomic_write(path) as part:
        table.to_csv(part, index=False)


def write_json(value: dict[str, Any], path: Path) -> None:
    """Write a mapping as readable JSON, making the folder."""
    write_text(json.dumps(value, indent=2) + "\n", path)


def read_json(path: Path) -> dict[str, Any]:
    """Return the contents of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))
