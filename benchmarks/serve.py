"""How many images a second does `facemask serve` answer, how fast, and with how much memory?

python -m benchmarks.serve IMAGES [REQUESTS]: 8 clients send images one after the other, 20,000
requests in all, beside `facemask predict` of the same images, which has both processors to itself.
"""

import queue
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import psutil

from benchmarks.common import report
from benchmarks.predict import FACEMASK, run

CLIENTS = 8


def main() -> None:
    """Measure."""
    files = sorted(Path(sys.argv[1]).iterdir())
    requests = int((sys.argv[2:] or ["20000"])[0])
    begun = time.perf_counter()
    run([*FACEMASK, sys.argv[1]])
    folder = len(files) / (time.perf_counter() - begun)
    seconds, whole, used = load(files, requests)
    row = {
        "clients": CLIENTS,
        "requests": requests,
        "images/s": requests / whole,
        "ratio to a folder": requests / whole / folder,
        "median, ms": 1000 * float(np.median(seconds)),
        "p99, ms": 1000 * float(np.quantile(seconds, 0.99)),
        "MB, first tenth": max(used[: max(1, len(used) // 10)]),
        "MB, rest": max(used[len(used) // 10 :]),
    }
    report("serve", [row], "IMAGES")


def load(files: list[Path], requests: int) -> tuple[list[float], float, list[float]]:
    """Return the seconds of each request and of all, and the server's megabytes over time."""
    bodies = [file.read_bytes() for file in files]
    left: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    for number in range(requests):
        left.put(bodies[number % len(bodies)])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    seconds: list[float] = []
    used: list[float] = []

    def client() -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
            while True:
                try:
                    body = left.get_nowait()
                except queue.Empty:
                    return
                begun = time.perf_counter()
                http.post("/predict", content=body).raise_for_status()
                seconds.append(time.perf_counter() - begun)

    command = [sys.executable, "-m", "facemask", "serve", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        wait(port)
        threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
        begun = time.perf_counter()
        for thread in threads:
            thread.start()
        watched = psutil.Process(server.pid)
        while any(thread.is_alive() for thread in threads):
            used.append(watched.memory_info().rss / 1e6)
            time.sleep(0.5)
        whole = time.perf_counter() - begun
        server.terminate()
    return seconds, whole, used


def wait(port: int) -> None:
    """Wait until the server answers."""
    for _ in range(100):
        try:
            httpx.get(f"http://127.0.0.1:{port}/health").raise_for_status()
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the server does not answer")


if __name__ == "__main__":
    main()
