"""Work on many items: here or, if FACEMASK_SCHEDULER says so, in the processes of a Dask cluster.

    FACEMASK_SCHEDULER=local:4 dvc repro            four processes of this machine
    FACEMASK_SCHEDULER=tcp://HOST:8786 dvc repro    the workers of a scheduler

Workers share the project's folder. It is an environment variable, not a parameter: results have
the same bytes wherever they are made, so that DVC has nothing to run again.
"""

import atexit
import builtins
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, TypeVar

from tqdm import tqdm

from facemask.errors import InputError

if TYPE_CHECKING:
    from distributed import Client

SCHEDULER = "FACEMASK_SCHEDULER"
# Of all items, a worker is given this share at once, but not more than so many: if it is killed,
# another does these again.
SHARE, AT_ONCE = 1 / 16, 64
TIMEOUT = "10s"  # until a scheduler replies
KILLS = 100  # of workers, one after the other with the same items, before these are given up
TOKENS = Path(".resume/cluster")  # a worker that sees a file in it shares the project's folder

_ALONE = threading.Lock()

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
        InputError: FACEMASK_SCHEDULER is none, or the scheduler cannot be reached or was lost, or a
            worker does not share the project's folder.
    """
    chosen = os.environ.get(SCHEDULER, "").strip()
    with tqdm(total=len(items), desc=title, unit=unit, disable=not title or len(items) < 2) as bar:
        if chosen and len(items) > 1:
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
    from distributed.client import FutureCancelledError
    from distributed.comm.core import CommClosedError
    from distributed.scheduler import KilledWorker

    client = _client(chosen)
    workers = len(client.nthreads())
    if not workers:
        tqdm.write(f"{chosen} has no workers yet: python -m dask worker {chosen} --nthreads 1")
    count = min(AT_ONCE, max(1, int(SHARE * len(items) / max(1, workers))))
    parts = [items[start : start + count] for start in range(0, len(items), count)]
    TOKENS.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=TOKENS) as token:
        task = partial(_each, TOKENS / Path(token.name).name, function)
        # Pure tasks would not run again: the files that they write may be gone since.
        futures = client.map(task, parts, pure=False)
        try:
            for future in futures:
                yield from future.result()
                future.release()
        except KilledWorker as error:
            raise InputError(
                f"{SCHEDULER}: {error.allowed_failures + 1} workers ended with the same items. "
                "Perhaps they had too little memory: start fewer of them on a machine"
            ) from None
        except (CommClosedError, FutureCancelledError, TimeoutError):
            _client.cache_clear()
            with suppress(TimeoutError):
                client.close(timeout=1)
            raise InputError(
                f"{SCHEDULER}: the scheduler at {chosen} was lost. Start it and its workers again, "
                "then run the same command again: it goes on from here"
            ) from None
        finally:
            if client.status == "running":
                client.cancel(futures)


def _each(token: Path, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Call a function on some of the items, in a worker."""
    if not token.exists():
        raise InputError(
            f"{SCHEDULER}: a worker runs in {Path.cwd()}, which is not the project's folder, or "
            "another copy of it: start workers in a folder that all share"
        )
    with _ALONE:  # Keras has one state a process
        return [function(item) for item in items]


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
            dashboard_address=":0",  # any free port
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
