"""The process that does the work of a Dask worker, one for each run of a client.

Dask's threads would use the random numbers that a training has seeded, and a long call that holds
Python's lock would look like a lost worker; and a process of an earlier run would hold its code
and its files.
"""

import hashlib
import os
import pickle  # nosec B403
import platform
import queue
import select
import socket
import subprocess  # nosec B404
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import IO, Any, cast

from facemask.errors import InputError

SCHEDULER = "FACEMASK_SCHEDULER"  # the environment variable that names a cluster
POLL = 2.0  # seconds, in which a worker notices that nobody waits for its results any more
# What decides the bytes of results, besides the code of this project. One of each row is installed.
PACKAGES = [("numpy",), ("opencv-python-headless",), ("tensorflow", "tensorflow-cpu"), ("keras",)]

_ALONE = threading.Lock()
_processes: dict[str, "subprocess.Popen[bytes]"] = {}  # that of this worker, by its client's run


def task(function: Callable[[Any], Any], items: Sequence[Any]) -> bytes:
    """Return the work of calling a function with each of some items, for `have_done`."""
    import cloudpickle

    return cloudpickle.dumps((versions(), cloudpickle.dumps((function, items))))


def result(reply: bytes) -> Any:  # noqa: ANN401 - what the function returned
    """Return what a worker's process returned, or raise what it raised."""
    value, error = pickle.loads(reply)  # noqa: S301 # nosec B301
    if error is not None:
        raise error
    return value


@cache
def versions() -> dict[str, str]:
    """Return what results depend on here: versions, and a digest of this project's code."""
    found = {"Python": platform.python_version()}
    for names in PACKAGES:
        for name in names:
            with suppress(metadata.PackageNotFoundError):
                found[names[0]] = metadata.version(name)
    code = hashlib.sha256()
    root = Path(__file__).parents[1]
    for path in sorted([*root.glob("facemask/**/*.py"), *root.glob("stages/*.py")]):
        code.update(path.read_bytes())
    return found | {"code": code.hexdigest()[:8]}


def have_done(token: Path, task: bytes) -> bytes:
    """Have a task done by this worker's process, and return its reply.

    Args:
        token: a file that the client keeps in the project's folder as long as it waits; its name
            begins with the client's run.
        task: of `task`.
    """
    with _ALONE:
        if not token.exists():
            error = InputError(
                f"a worker was started in {Path.cwd()}, which is not the project's folder, or is "
                "another copy of it: start all workers in the project's folder on the drive that "
                "they share"
            )
            return pickle.dumps((None, error))
        process = _process(token.name.partition("-")[0])
        replies = cast(IO[bytes], process.stdout)
        try:
            _send(task, cast(IO[bytes], process.stdin))
            while not select.select([replies], [], [], POLL)[0]:
                if not token.exists():
                    _end_process()
                    return pickle.dumps((None, InputError("nobody waits for this any more")))
            return _receive(replies)
        except (EOFError, OSError):  # killed, as by a system without memory
            os._exit(1)  # the scheduler gives its work to another worker


def _process(run: str) -> "subprocess.Popen[bytes]":
    """Return the process that does a worker's work for a client; that for another one ends."""
    if run not in _processes:
        _end_process()
        _processes[run] = _start_process()
    return _processes[run]


def _end_process() -> None:
    for process in _processes.values():
        process.kill()
        process.wait()
    _processes.clear()


def _start_process() -> "subprocess.Popen[bytes]":
    """Start a process that does a worker's work, where the worker finds its modules."""
    environment = {**os.environ, SCHEDULER: ""}
    environment["PYTHONPATH"] = os.pathsep.join(path or "." for path in sys.path)
    # Dask lets its workers give memory back at once, which slows decoding.
    environment.pop("MALLOC_TRIM_THRESHOLD_", None)
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # no notes on the processor
    return subprocess.Popen(  # nosec B603
        [sys.executable, "-m", "facemask.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )


def _send(data: bytes, to: IO[bytes]) -> None:
    to.write(len(data).to_bytes(8) + data)
    to.flush()


def _receive(source: IO[bytes]) -> bytes:
    length = source.read(8)
    data = source.read(int.from_bytes(length))
    if len(length) < 8 or len(data) < int.from_bytes(length):
        raise EOFError
    return data


def _work() -> None:
    """Do tasks that arrive on stdin."""
    import cloudpickle

    tasks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=[tasks], daemon=True).start()
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a function prints is no reply
    while True:
        task = tasks.get()
        try:
            theirs, work = pickle.loads(task)  # noqa: S301 # nosec B301
            _refuse_others(theirs)
            function, items = pickle.loads(work)  # noqa: S301 # nosec B301
            reply = cloudpickle.dumps(([function(item) for item in items], None))
        except Exception as error:
            if not isinstance(error, InputError):
                error.add_note(traceback.format_exc())  # which does not travel otherwise
            reply = cloudpickle.dumps((None, error))
        _send(reply, replies)


def _refuse_others(theirs: dict[str, str]) -> None:
    """Refuse the work of a client whose results would have other bytes."""
    ours = versions()
    for name in theirs:
        if ours.get(name) != theirs[name]:
            raise InputError(
                f"a worker on {socket.gethostname()} has {name} {ours.get(name)}, and this process "
                f"{theirs[name]}: install the same on all machines; if it is the code that was "
                "changed during the run, run the same command again"
            )


def _listen(tasks: "queue.SimpleQueue[bytes]") -> None:
    """Receive tasks; end this process, whatever it is at, as soon as the worker has ended."""
    while True:
        try:
            tasks.put(_receive(sys.stdin.buffer))
        except EOFError:
            os._exit(1)


if __name__ == "__main__":
    _work()
