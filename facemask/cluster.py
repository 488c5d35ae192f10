"""Work on many items: here or, if FACEMASK_SCHEDULER says so, in the processes of a Dask cluster.

    FACEMASK_SCHEDULER=local:4 dvc repro            four processes of this machine
    FACEMASK_SCHEDULER=tcp://HOST:8786 dvc repro    the workers of a scheduler

Workers share the project's folder. It is an environment variable, not a parameter: results have
the same bytes wherever they are made, so that DVC has nothing to run again.

A worker has the work done by a process of its own, one for each run of a client. Dask's threads
would use the random numbers that a training has seeded, and a long call that holds Python's lock
would look like a lost worker; and a process of an earlier run would hold its code and its files.
"""

import atexit
import builtins
import glob
import itertools
import logging
import os
import pickle  # nosec B403
import queue
import select
import socket
import subprocess  # nosec B404
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

from tqdm import tqdm

from facemask.errors import InputError

if TYPE_CHECKING:
    from distributed import Client

SCHEDULER = "FACEMASK_SCHEDULER"
PARENT = "FACEMASK_PARENT"  # of a stage that ends with another process: that one's number
# Of all items, a worker is given this share at once, but not more than so many: if it is killed,
# another does these again.
SHARE, AT_ONCE = 1 / 16, 64
TIMEOUT = "10s"  # until a scheduler replies
KILLS = 100  # of workers, one after the other with the same items, before these are given up
# A worker that sees a client's file in it shares the project's folder. When the file goes, nobody
# waits for its results any more.
TOKENS = Path(".resume/cluster")
POLL = 2.0  # seconds, in which its absence is noticed
RUN = uuid.uuid4().hex  # this process, as a client

_ALONE = threading.Lock()
_count = itertools.count()
_processes: dict[str, "subprocess.Popen[bytes]"] = {}  # that of this worker, by its client's RUN

Item = TypeVar("Item")
Result = TypeVar("Result")


def map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    title: str,
    unit: str,
    workers: int = 1,
) -> Iterator[Result]:
    """Yield what a function returns for each item, in the order of items, under a progress bar.

    Args:
        function: of a module, or a `partial` of one, as other processes import it. A file that it
            writes is that of its item alone, and written whole: an item may be worked on twice.
        items: what it is called with; as all that it returns, they can be pickled.
        title: of the progress bar; of none if it is empty.
        unit: of the progress bar.
        workers: threads of this process; 1 is the calling one. A cluster has a number of its own,
            and each of its processes works on one item at a time. A single item needs none.

    Raises:
        InputError: FACEMASK_SCHEDULER is not valid, the scheduler cannot be reached or was lost, or
            a worker does not share the project's folder.
    """
    chosen = os.environ.get(SCHEDULER, "").strip()
    with tqdm(total=len(items), desc=title, unit=unit, disable=not title or len(items) < 2) as bar:
        # A single item needs no cluster; but Dask's threads disturb a training here, once it runs.
        if chosen and (len(items) > 1 or _client.cache_info().currsize):
            results = _in_cluster(chosen, function, items)
        elif workers == 1:
            results = builtins.map(function, items)
        else:
            results = _in_threads(function, items, workers)
        for result in results:
            bar.update()
            yield result


def _in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[Result]:
    with ThreadPoolExecutor(workers) as pool:
        try:
            yield from pool.map(function, items)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _in_cluster(
    chosen: str, function: Callable[[Item], Result], items: Sequence[Item]
) -> Iterator[Result]:
    import cloudpickle
    from distributed.client import FutureCancelledError
    from distributed.comm.core import CommClosedError
    from distributed.scheduler import KilledWorker

    client = _client(chosen)
    workers = len(client.nthreads())
    if not workers:
        tqdm.write(f"{chosen} has no workers yet: python -m dask worker {chosen} --nthreads 1")
    count = min(AT_ONCE, max(1, int(SHARE * len(items) / max(1, workers))))
    parts = [items[start : start + count] for start in range(0, len(items), count)]
    with _token() as token:
        work = partial(_have_done, token)
        # Pure tasks would not run again: the files that they write may be gone since.
        tasks = [cloudpickle.dumps((function, part)) for part in parts]
        futures = client.map(work, tasks, pure=False)
        try:
            for future in futures:
                try:
                    reply = future.result()
                except KilledWorker as error:
                    raise InputError(
                        f"{SCHEDULER}: {error.allowed_failures + 1} workers ended with the same "
                        "items. If they had too little memory, start fewer on a machine; if their "
                        "machines are often taken back, start the scheduler with "
                        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=100"
                    ) from None
                except (CommClosedError, FutureCancelledError, TimeoutError):
                    _client.cache_clear()
                    with suppress(TimeoutError):
                        client.close(timeout=1)
                    raise InputError(
                        f"{SCHEDULER}: the scheduler at {chosen} was lost. Start it and its "
                        "workers again, then run the same command again: it goes on from here"
                    ) from None
                yield from _result(reply)
                future.release()
        finally:
            if client.status == "running":
                client.cancel(futures)


@contextmanager
def _token() -> Iterator[Path]:
    """Make a file in the project's folder; those that killed clients of this machine left go."""
    TOKENS.mkdir(parents=True, exist_ok=True)
    host = socket.gethostname()
    for left in TOKENS.glob(f"{glob.escape(host)}-*-*-*"):
        if not is_running(int(left.name.rpartition("-")[2])):
            left.unlink(missing_ok=True)
    token = TOKENS / f"{host}-{next(_count)}-{RUN}-{os.getpid()}"
    token.touch()
    try:
        yield token
    finally:
        token.unlink(missing_ok=True)


def is_running(process: int) -> bool:
    """Return whether there is a process of this number, be it only one that was not waited for."""
    try:
        os.kill(process, 0)  # is it there?
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def _result(reply: bytes) -> Any:  # noqa: ANN401 - what the function returned
    """Return what a worker's process returned, or raise what it raised."""
    value, error = pickle.loads(reply)  # noqa: S301 # nosec B301
    if error is not None:
        raise error
    return value


def _have_done(token: Path, task: bytes) -> bytes:
    """Have a task done by this worker's process."""
    with _ALONE:
        if not token.exists():
            error = InputError(
                f"{SCHEDULER}: a worker was started in {Path.cwd()}, which is not the project's "
                "folder, or is another copy of it: start all workers in the project's folder on "
                "the drive that they share"
            )
            return pickle.dumps((None, error))
        process = _process(token.name.split("-")[-2])
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
        [sys.executable, "-m", "facemask.cluster"],
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
            function, items = pickle.loads(task)  # noqa: S301 # nosec B301
            reply = cloudpickle.dumps(([function(item) for item in items], None))
        except Exception as error:
            if not isinstance(error, InputError):
                error.add_note(traceback.format_exc())  # which does not travel otherwise
            reply = cloudpickle.dumps((None, error))
        _send(reply, replies)


def _listen(tasks: "queue.SimpleQueue[bytes]") -> None:
    """Receive tasks; end this process, whatever it is at, as soon as the worker has ended."""
    while True:
        try:
            tasks.put(_receive(sys.stdin.buffer))
        except EOFError:
            os._exit(1)


def end_with(process: int) -> None:
    """Wait until a process has ended, and end this one then."""
    while is_running(process):
        time.sleep(0.2)
    os._exit(1)


@cache
def _client(chosen: str) -> "Client":
    """Connect to the cluster of an address, once in a process."""
    import dask
    from distributed import Client, LocalCluster

    # What goes wrong is raised, in fewer words.
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    kind, _, count = chosen.partition(":")
    address: LocalCluster | str = chosen
    if kind == "local" and count.isdecimal() and int(count):
        dask.config.set({"distributed.scheduler.allowed-failures": KILLS})
        cluster = LocalCluster(
            n_workers=int(count),
            threads_per_worker=1,
            memory_limit=0,  # a share each would end a training that needs more
            dashboard_address="127.0.0.1:0",  # any free port
            silence_logs=logging.CRITICAL,
        )
        atexit.register(cluster.close)
        address = cluster
    elif kind not in ("tcp", "tls"):
        raise InputError(
            f"{SCHEDULER} is {chosen!r}: give the address of a scheduler (tcp://HOST:8786), or "
            "local:N for N processes of this machine, or unset it"
        )
    try:
        client = Client(address, timeout=TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{SCHEDULER}: no scheduler replies at {chosen} ({error}): start one with "
            "python -m dask scheduler, or unset it"
        ) from None
    atexit.register(client.close)
    return client


if __name__ == "__main__":
    _work()
