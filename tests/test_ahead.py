"""Work ahead of a loop and behind it: in order, few at a time, errors and ends come through."""

import threading
import time

import pytest

from facemask.predict.ahead import HELD, PIXELS, ahead, behind


def test_results_have_the_order_of_the_jobs():
    def job(number):
        time.sleep(0.01 * (number % 3))
        return number

    jobs = ((1, lambda number=number: job(number)) for number in range(20))
    assert list(ahead(jobs, threading.Event())) == list(range(20))


@pytest.mark.parametrize(("pixels", "most"), [(1, HELD), (PIXELS // 2, HELD), (PIXELS, 1)])
def test_few_results_are_held(pixels, most):
    begun = []
    jobs = ((pixels, lambda number=number: begun.append(number)) for number in range(10))
    for taken, _ in enumerate(ahead(jobs, threading.Event()), 1):
        time.sleep(0.01)
        assert len(begun) - taken < most


def test_an_image_larger_than_all_room_is_read_alone():
    assert list(ahead([(10 * PIXELS, lambda: 1), (1, lambda: 2)], threading.Event())) == [1, 2]


def test_an_error_of_a_job_comes_through_and_stops_the_others():
    stop = threading.Event()
    results = ahead([(1, lambda: 1), (1, lambda: 1 // 0), (1, lambda: 3)], stop)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert stop.is_set()


def test_leaving_the_loop_stops_what_waits():
    stop = threading.Event()
    results = ahead([(1, lambda: 1), (1, lambda: stop.wait(60))], stop)
    assert next(results) == 1
    start = time.monotonic()
    results.close()
    assert time.monotonic() - start < 5


def test_jobs_behind_are_done_in_order_and_wait_for_room():
    done = []

    def job(number):
        time.sleep(0.01)
        done.append(number)

    with behind() as later:
        for number in range(10):
            later(1, lambda number=number: job(number))
            assert number + 1 - len(done) <= HELD + 1
    assert done == list(range(10))


def test_what_was_begun_becomes_whole_after_an_interruption():
    done = []
    with pytest.raises(KeyboardInterrupt), behind() as later:
        later(1, lambda: (time.sleep(0.05), done.append(1)))
        raise KeyboardInterrupt
    assert done == [1]


def test_an_error_behind_comes_through():
    with pytest.raises(ZeroDivisionError), behind() as later:
        later(1, lambda: 1 // 0)
