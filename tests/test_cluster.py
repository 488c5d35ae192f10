"""Work on many items: the same here, in threads, and in a cluster whose workers are killed."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import pandas as pd
import pytest
from cluster_toys import (
    TESTS,
    append,
    cluster_in,
    endless,
    first_waits_for_ever,
    killing,
    refuse,
    slowly,
    square,
)

from facemask import cluster, worker
from facemask.data import arrays, images
from facemask.errors import InputError
from facemask.shards import Shards


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with cluster_in(tmp_path_factory.mktemp("cluster")) as started:
        yield started


@pytest.fixture
def here(monkeypatch, tmp_path):
    """Without a scheduler, in an empty folder."""
    monkeypatch.delenv(cluster.SCHEDULER, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def elsewhere(running, monkeypatch):
    """Where the workers of a cluster are, which is used."""
    monkeypatch.setenv(cluster.SCHEDULER, running.address)
    monkeypatch.chdir(running.folder)
    return running


def mapped(function, items, workers=1):
    return list(cluster.map(function, items, "test", "item", workers))


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 40])
def test_results_come_in_the_order_of_items(here, workers, count):
    assert mapped(square, range(count), workers) == [number**2 for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, 2, 200])
def test_so_they_do_from_a_cluster(elsewhere, count):
    assert mapped(square, range(count)) == [number**2 for number in range(count)]


def test_the_work_is_shared(elsewhere):
    pids = {pid for _, pid in mapped(slowly, range(20))}
    assert len(pids) == 2


def test_what_is_asked_for_again_is_done_again(elsewhere):
    folder = elsewhere.folder / "again"
    folder.mkdir()
    for _ in range(2):
        mapped(partial(append, folder), range(3))
    assert {path.read_text() for path in folder.iterdir()} == {"0\n0\n", "1\n1\n", "2\n2\n"}


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_of_an_item_is_that_of_all(here, workers):
    with pytest.raises(InputError, match="number 3 is wrong: give another"):
        mapped(refuse, range(10), workers)


def test_so_it_is_in_a_cluster_which_works_on(elsewhere):
    with pytest.raises(InputError, match="number 3 is wrong: give another"):
        mapped(refuse, range(10))
    assert mapped(square, range(3)) == [0, 1, 4]


def test_after_an_error_no_further_item_is_begun(here, tmp_path):
    begun = []

    def one(number):
        begun.append(number)
        if number == 2:
            raise InputError("wrong")
        threading.Event().wait(0.02)

    with pytest.raises(InputError):
        mapped(one, range(100), 2)
    assert len(begun) < 50


@pytest.mark.parametrize("chosen", ["local:0", "local:", "local:two", "4", "foo://host:1"])
def test_what_is_no_scheduler_is_refused(here, monkeypatch, chosen):
    monkeypatch.setenv(cluster.SCHEDULER, chosen)
    with pytest.raises(InputError, match=f"FACEMASK_SCHEDULER is '{chosen}': give the address"):
        mapped(square, range(3))


def test_a_scheduler_that_does_not_reply_is_named(here, monkeypatch):
    monkeypatch.setenv(cluster.SCHEDULER, "tcp://127.0.0.1:9")
    monkeypatch.setattr(cluster, "TIMEOUT", "1s")
    with pytest.raises(InputError, match=r"no scheduler replies at tcp://127\.0\.0\.1:9"):
        mapped(square, range(3))


def test_a_worker_of_another_folder_is_refused(elsewhere, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="which is not the project's folder"):
        mapped(square, range(3))


def test_processes_of_this_machine_do_the_same(here, monkeypatch):
    monkeypatch.setenv(cluster.SCHEDULER, "local:2")
    assert mapped(square, range(50)) == [number**2 for number in range(50)]


def test_a_worker_has_work_done_by_another_process(here):
    """As the scheduler has a worker call it."""

    def done(function, items):
        return worker.result(worker.have_done(token, worker.task(function, items)))

    with cluster._token() as token:
        assert done(square, [1, 2]) == [1, 4]
        assert {pid for _, pid in done(slowly, [0, 1])} == {
            each.pid for each in worker._processes.values()
        }
        with pytest.raises(InputError, match="number 3"):
            done(refuse, [3])
        with pytest.raises(TypeError) as caught:
            done(square, [None])
        assert "Traceback" in caught.value.__notes__[0]
        assert done(square, [3]) == [9]
    with pytest.raises(InputError, match="which is not the project's folder"):
        done(square, [3])
    worker._end_process()


def test_each_run_of_a_client_has_a_process_of_its_own(here):
    """Another one holds no code and no files of the one before."""

    def pid():
        with cluster._token() as token:
            reply = worker.have_done(token, worker.task(slowly, [0]))
        return worker.result(reply)[0][1]

    first = pid()
    assert pid() == first
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "RUN", "another")
        second = pid()
    assert second != first
    assert not cluster.is_running(first)
    worker._end_process()


def test_work_that_nobody_waits_for_ends(here, monkeypatch):
    monkeypatch.setattr(worker, "POLL", 0.05)
    with cluster._token() as token, ThreadPoolExecutor(1) as pool:
        working = pool.submit(worker.have_done, token, worker.task(endless, [0]))
        while not Path("endless.txt").exists():
            time.sleep(0.05)
        token.unlink()
        with pytest.raises(InputError, match="nobody waits"):
            worker.result(working.result())
    assert not cluster.is_running(int(Path("endless.txt").read_text()))


def test_the_process_of_a_killed_worker_ends_at_once(here):
    code = (
        "from cluster_toys import endless; from facemask import cluster, worker\n"
        "with cluster._token() as token:\n"
        "    worker.have_done(token, worker.task(endless, [0]))"
    )
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    began = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths})
    while not Path("endless.txt").exists() or not Path("endless.txt").read_text():
        time.sleep(0.05)
    began.kill()
    began.wait()
    while cluster.is_running(int(Path("endless.txt").read_text())):
        time.sleep(0.05)


def test_what_killed_clients_left_goes(here):
    with cluster._token() as token:
        left = token.with_name("killed-0")
        left.touch()
        with cluster._token() as other:  # of another thread or process
            assert {*token.parent.iterdir()} == {token, other}
    assert [*token.parent.iterdir()] == []


def test_a_worker_with_other_packages_is_refused(here, monkeypatch):
    task = worker.task(square, [1])
    monkeypatch.setitem(worker.versions(), "keras", "2.0")
    with cluster._token() as token:
        reply = worker.have_done(token, worker.task(square, [1]))
        with pytest.raises(InputError, match=r"has keras 3\S+, and this process 2\.0: install"):
            worker.result(reply)
        assert worker.result(worker.have_done(token, task)) == [1]
    worker._end_process()


def test_an_error_ends_the_work_before_items_that_take_longer(elsewhere):
    with pytest.raises(InputError, match="number 3 is wrong"):
        mapped(first_waits_for_ever, range(6))
    assert mapped(square, range(3)) == [0, 1, 4]


@pytest.fixture
def scenes(draw_scene, tmp_path):
    """Images in a folder, and one sample of each and a flip."""
    folder = tmp_path / "images"
    folder.mkdir()
    for seed in range(24):
        cv2.imwrite(str(folder / f"{seed:02d}.png"), draw_scene(seed, 90 + seed, 60)[..., ::-1])
    rows = [(f"{n:02d}.png", 5, 3, 60 + n, 50, flip) for flip in (0, 1) for n in range(24)]
    table = pd.DataFrame(rows, columns=["image", "x0", "y0", "x1", "y1", "flip"])
    table.insert(0, "sample", table.index)
    return folder, table


def made(folder):
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def prepare(scenes, to, workers=1):
    """What the first stages make of images: an inventory and packed crops."""
    folder, table = scenes
    to.mkdir()
    listed, issues = images.inventory(sorted(folder.iterdir()), workers, to / "thumbnails.npy")
    arrays.pack(table, table[:0], folder, {32: to / "32"}, to / "native", 40, workers)
    listed.to_csv(to / "images.csv")
    assert issues == []
    return made(to)


def test_the_same_bytes_wherever_work_is_done(scenes, tmp_path, running, monkeypatch):
    monkeypatch.delenv(cluster.SCHEDULER, raising=False)
    monkeypatch.setattr(arrays, "IMAGES", 5)
    expected = prepare(scenes, tmp_path / "one")
    assert prepare(scenes, tmp_path / "threads", 3) == expected
    monkeypatch.setenv(cluster.SCHEDULER, running.address)
    monkeypatch.chdir(running.folder)
    assert prepare(scenes, tmp_path / "cluster") == expected
    assert len(Shards(tmp_path / "cluster/32")) == 48
    assert len(list(tmp_path.glob("cluster/32/0*.npy"))) == 5


@pytest.mark.slow
def test_ten_kills_of_workers_change_nothing(elsewhere):
    folder = elsewhere.folder / "killed"
    folder.mkdir()
    with killing(elsewhere, 10, 0.7) as kills:
        # As long as there are kills to come.
        while len(kills) < 10:
            assert mapped(partial(append, folder), range(40)) == list(range(40))
    assert len(kills) == 10
    for number in range(40):
        assert {*(folder / f"{number}.txt").read_text().splitlines()} == {str(number)}


@pytest.mark.slow
def test_a_killed_scheduler_is_reported_and_another_one_finishes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lost").mkdir()
    with cluster_in(tmp_path) as first:
        monkeypatch.setenv(cluster.SCHEDULER, first.address)

        def kill_when_begun():
            while not [*Path("lost").iterdir()]:
                time.sleep(0.05)
            first.processes[0].kill()

        threading.Thread(target=kill_when_begun).start()
        with pytest.raises(InputError, match=r"the scheduler at .* was lost\. Start it"):
            mapped(partial(append, tmp_path / "lost"), range(400))
    assert 0 < len(list(Path("lost").iterdir())) < 400
    with cluster_in(tmp_path) as second:
        monkeypatch.setenv(cluster.SCHEDULER, second.address)
        assert mapped(square, range(9)) == [number**2 for number in range(9)]
        # One that is killed when nobody waits is reported by what comes next.
        second.processes[0].kill()
        second.processes[0].wait()
        with pytest.raises(InputError, match=r"was lost|no scheduler replies"):
            mapped(square, range(9))
