"""Work in threads before and after a loop, with bounded memory."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import TypeVar

T = TypeVar("T")

# Of one side of the loop: so many results, and so many pixels (120 MB) unless a single image has
# more. With that in the loop, three huge images are held at most.
HELD = 2
PIXELS = 40_000_000


def ahead(
    jobs: Iterable[tuple[int, Callable[[], T]]], stop: Event, workers: int = 2
) -> Generator[T, None, None]:
    """Yield the results of jobs in their order, while the next ones are being worked on.

    Args:
        jobs: pixels of the result, and what makes it; taken one by one as there is room.
        stop: set at the end, for work that waits on something.
        workers: threads.

    Raises:
        What a job raises.
    """
    waiting: deque[tuple[int, Future[T]]] = deque()
    left = iter(jobs)
    upcoming = next(left, None)
    pool = ThreadPoolExecutor(workers)
    try:
        while upcoming or waiting:
            while upcoming and _has_room([each[0] for each in waiting], upcoming[0]):
                waiting.append((upcoming[0], pool.submit(upcoming[1])))
                upcoming = next(left, None)
            yield waiting.popleft()[1].result()
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _has_room(held: list[int], pixels: int) -> bool:
    return not held or (len(held) < HELD and sum(held) + pixels <= PIXELS)


@contextmanager
def behind() -> Iterator[Callable[[int, Callable[[], object]], None]]:
    """Yield a function that lets a job be done later, in order, and waits while many are left.

    It takes the pixels that the job holds, and the job. At the end all jobs are waited for, also
    after an interruption: what was begun becomes whole.

    Raises:
        What a job raises; at the next call or at the end.
    """
    waiting: deque[tuple[int, Future[object]]] = deque()

    def later(pixels: int, work: Callable[[], object]) -> None:
        while waiting and (
            waiting[0][1].done() or not _has_room([each[0] for each in waiting], pixels)
        ):
            waiting.popleft()[1].result()
        waiting.append((pixels, pool.submit(work)))

    with ThreadPoolExecutor(1) as pool:
        yield later
        while waiting:
            waiting.popleft()[1].result()
