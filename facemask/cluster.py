"""Work on many items: here or, if FACEMASK_SCHEDULER says so, in the processes of a Dask cluster.

    FACEMASK_SCHEDULER=local:4 dvc repro            four processes of this machine
    FACEMASK_SCHEDULER=tcp://HOST:8786 dvc repro    the workers of a scheduler

Workers share the project's folder. It is an environment variable, not a parameter: results have
the same bytes wherever they are made, so that DVC has nothing to run again.

`facemask.worker` is what a worker of Dask does.
"""

import atexit
import builtins
import itertools
import logging
import os
import sys
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tqdm import tqdm

from facemask import worker
from facemask.errors import InputError
from facemask.io import file_lock
from facemask.worker import SCHEDULER as SCHEDULER  # also of those who set it

if TYPE_CHECKING:
    from distributed import Client

PARENT = "FACEMASK_PARENT"  # of a stage that ends with another process: that one's number
# Of all items, a worker is given this share at once, but not more than so many.
SHARE, AT_ONCE = 1 / 16, 64
TIMEOUT = "10s"  # until a scheduler replies
KILLS = 5  # of local workers, one after the other with the same items, before these are given up
# A worker that sees a client's file in it shares the project's folder. When the file goes, nobody
# waits for its results any more.
TOKENS = Path(".resume/cluster")
RUN = uuid.uuid4().hex  # this process, as a client

_count = itertools.count()

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
    done: dict[int, list[Result]] = {}
    place = 0
    with closing(_replies(chosen, function, items)) as replies:
        for number, reply in replies:
            # An error ends the work at once, whatever place its item has.
            done[number] = worker.result(reply)
            while place in done:
                yield from done.pop(place)
                place += 1


def _replies(
    chosen: str, function: Callable[[Item], Result], items: Sequence[Item]
) -> Generator[tuple[int, bytes], None, None]:
    """Yield replies of workers, as they come, and the number of the part of items that each is to.

    A worker is given a part at once; if it is killed, another does that again.
    """
    from distributed import as_completed

    with _token() as token, _scheduler(chosen) as client:
        workers = len(client.nthreads())
        if not workers:
            tqdm.write(f"{chosen} has no workers yet: python -m dask worker {chosen} --nthreads 1")
        count = min(AT_ONCE, max(1, int(SHARE * len(items) / max(1, workers))))
        tasks = [
            worker.task(function, items[start : start + count])
            for start in range(0, len(items), count)
        ]
        # Pure tasks would not run again: the files that they write may be gone since.
        futures = client.map(partial(worker.have_done, token), tasks, pure=False)
        numbers = {future.key: number for number, future in enumerate(futures)}
        try:
            for future in as_completed(futures, loop=client.loop):
                yield numbers[future.key], future.result()
                future.release()
        finally:
            if client.status == "running":
                client.cancel(futures)


@contextmanager
def _scheduler(chosen: str) -> Iterator["Client"]:
    """Connect to a cluster; what is wrong with it is raised in the words of this project."""
    from distributed.client import FutureCancelledError
    from distributed.scheduler import KilledWorker

    client = _client(chosen)
    try:
        yield client
    except KilledWorker as error:
        raise InputError(
            f"{SCHEDULER}: {error.allowed_failures + 1} workers ended with the same items. If they "
            "had too little memory, start fewer on a machine; if their machines are often taken "
            "back, start the scheduler with DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=100"
        ) from None
    except (FutureCancelledError, OSError):  # Dask's own are of many kinds
        _client.cache_clear()
        with suppress(TimeoutError):
            client.close(timeout=1)
        raise InputError(
            f"{SCHEDULER}: the scheduler at {chosen} was lost. Start it and its workers again, "
            "then run the same command again: trainings go on from their last state"
        ) from None


@contextmanager
def _token() -> Iterator[Path]:
    """Make a file in the project's folder and lock it; those that killed clients left go."""
    TOKENS.mkdir(parents=True, exist_ok=True)
    for left in TOKENS.iterdir():
        with suppress(InputError), file_lock(left):
            left.unlink()
    token = TOKENS / f"{RUN}-{next(_count)}"
    with file_lock(token):
        try:
            yield token
        finally:
            token.unlink(missing_ok=True)


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
        _hide_main()
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


def _hide_main() -> None:
    """Keep multiprocessing from importing a stage, and TensorFlow with it, in each worker.

    What a worker works on runs in a process of its own.
    """
    main: Any = sys.modules["__main__"]
    main.__spec__ = None
    if hasattr(main, "__file__"):
        del main.__file__


def end_with(process: int) -> None:
    """Wait until a process has ended, and end this one then."""
    while is_running(process):
        time.sleep(0.2)
    os._exit(1)


def is_running(process: int) -> bool:
    """Return whether there is a process of this number, be it only one that was not waited for."""
    try:
        os.kill(process, 0)  # is it there?
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
