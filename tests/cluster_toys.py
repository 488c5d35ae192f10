"""Functions that tests of the cluster run in its workers, and a cluster to run them in."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from distributed import Client, SpecCluster

from facemask import cluster as clusters
from facemask.errors import InputError

TESTS = Path(__file__).parent


def square(number):
    return number * number


def slowly(number):
    time.sleep(0.05)
    return number, os.getpid()


def refuse(number):
    if number == 3:
        raise InputError("number 3 is wrong: give another")
    return number


def endless(number):
    """Say which process this is, and go on."""
    Path("endless.txt").write_text(str(os.getpid()))
    while True:
        time.sleep(0.05)


def first_waits_for_ever(number):
    while number == 0:
        time.sleep(0.05)
    return refuse(number)


def append(folder, number):
    """Each item has a file of its own; how often it was written is how long it is."""
    time.sleep(0.1)
    with (folder / f"{number}.txt").open("a") as file:
        file.write(f"{number}\n")
    return number


class Cluster:
    """A scheduler and two workers, each a process, in a folder."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []
        paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
        # As many kills as `facemask.cluster` allows where it starts a scheduler.
        kills = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "100"}
        self.environment = {**os.environ, "PYTHONPATH": paths, **kills}
        file = folder / "scheduler.json"
        file.unlink(missing_ok=True)
        self.start("scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
        for _ in range(2):
            self.start("worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-dashboard")
        self.client = Client(scheduler_file=str(file), set_as_default=False, timeout="30s")
        self.client.wait_for_workers(2, timeout=60)
        self.address = self.client.scheduler.address

    def start(self, *arguments):
        command = [sys.executable, "-m", "dask", *arguments]
        how = {"cwd": self.folder, "env": self.environment}
        with (self.folder / "dask.log").open("a") as log:
            self.processes.append(subprocess.Popen(command, **how, stdout=log, stderr=log))

    def kill_a_worker(self, number):
        """Kill the process of a worker; its nanny starts another."""
        with suppress(OSError, ValueError):  # one that is about to start has no process yet
            pids = sorted(self.client.run(os.getpid, on_error="ignore").values())
            if pids:
                os.kill(pids[number % len(pids)], signal.SIGKILL)
                return True
        return False

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()
        with suppress(Exception):
            self.client.close(0)


@contextmanager
def cluster_in(folder):
    cluster = Cluster(folder)
    try:
        yield cluster
    finally:
        close_clients()
        cluster.stop()


def close_clients():
    """Leave no thread of Dask behind: they would disturb the trainings of other tests."""
    clusters._client.cache_clear()
    for each in [*Client._instances, *SpecCluster._instances]:
        with suppress(Exception):
            each.close(timeout=5)


@contextmanager
def killing(cluster, kills, seconds):
    """Kill a worker every few seconds meanwhile; yield the list of kills."""
    done, over = [], threading.Event()

    def kill():
        while len(done) < kills and not over.wait(seconds):
            if cluster.kill_a_worker(len(done)):
                done.append(time.time())

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield done
    finally:
        over.set()
        thread.join()
