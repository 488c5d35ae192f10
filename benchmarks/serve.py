"""How many images a second does `facemask serve` answer, how fast, and with how much memory?

python -m benchmarks.serve IMAGES: 8 clients send images one after the other, each of them twice,
beside `facemask predict` of the same images; then 20,000 requests for 160 px, which take a fraction
of the time, for the memory. 15 minutes.
"""

import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import httpx
import numpy as np
import psutil

from benchmarks.common import report
from benchmarks.predict import FACEMASK, SMALL, run

CLIENTS = 8
MANY = 20_000  # requests


def main() -> None:
    """Measure."""
    files = sorted(Path(sys.argv[1]).iterdir())
    begun = time.perf_counter()
    run([*FACEMASK, sys.argv[1]])
    folder = len(files) / (time.perf_counter() - begun)
    requests = 2 * len(files)
    seconds, whole, _ = load(files, requests)
    row = {
        "clients": CLIENTS,
        "requests": requests,
        "images/s": requests / whole,
        "ratio to a folder": requests / whole / folder,
        "median, ms": 1000 * float(np.median(seconds)),
        "p99, ms": 1000 * float(np.quantile(seconds, 0.99)),
    }
    _, _, used = load(files, MANY, f"?size={SMALL}")
    first, rest = used[: len(used) // 10], used[len(used) // 10 :]
    memory = {"requests": MANY, "size": SMALL, "first_tenth_mb": max(first), "rest_mb": max(rest)}
    report("serve", [row], "IMAGES", memory=memory)


def load(
    files: list[Path], requests: int, query: str = ""
) -> tuple[list[float], float, list[float]]:
    """Return the seconds of each request and of all, and the server's megabytes over time."""
    bodies = [file.read_bytes() for file in files]
    left: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    for number in range(requests):
        left.put(bodies[number % len(bodies)])
    seconds: list[float] = []
    used: list[float] = []

    def client(address: str) -> None:
        with httpx.Client(base_url=address, timeout=60) as http:
            while True:
                try:
                    body = left.get_nowait()
                except queue.Empty:
                    return
                begun = time.perf_counter()
                http.post(f"/predict{query}", content=body).raise_for_status()
                seconds.append(time.perf_counter() - begun)

    with serving() as (address, process):
        threads = [threading.Thread(target=client, args=[address]) for _ in range(CLIENTS)]
        begun = time.perf_counter()
        for thread in threads:
            thread.start()
        watched = psutil.Process(process)
        while any(thread.is_alive() for thread in threads):
            used.append(watched.memory_info().rss / 1e6)
            time.sleep(0.5)
        whole = time.perf_counter() - begun
    if len(seconds) < requests:
        raise RuntimeError(f"only {len(seconds)} of {requests} requests were answered")
    return seconds, whole, used


@contextmanager
def serving() -> Iterator[tuple[str, int]]:
    """Run the server on a free port; yield its address and the number of its process."""
    command = [sys.executable, "-m", "facemask", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            found = re.search(r"http://\S+", cast(IO[str], server.stdout).readline())
            if not found:
                raise RuntimeError("the server does not start")
            yield found[0], server.pid
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
