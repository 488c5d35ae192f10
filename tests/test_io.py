"""Files that are there whole or not at all."""

import errno
import fcntl
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest

from facemask import io
from facemask.errors import InputError


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "new/table.csv"
    with io.atomic_write(path) as part:
        part.write_text("half")
        assert part.suffix == ".csv"
        assert not path.exists()
        part.write_text("whole")
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_what_goes_wrong_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("before")
    with pytest.raises(ZeroDivisionError), io.atomic_write(path) as part:
        part.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_kill_left_is_taken_over(tmp_path):
    path = tmp_path / "table.csv"
    with io.atomic_write(path) as part:
        part.write_text("left behind, and longer")
        left = part.read_bytes()
    part.write_bytes(left)
    io.write_text("whole", path)
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_several_writers_of_one_file_wait_for_each_other(tmp_path):
    path, texts = tmp_path / "table.csv", [letter * 100_000 for letter in "abcd"]
    seen = set()

    def write(text):
        for _ in range(10):
            with io.atomic_write(path) as part, part.open("w") as file:
                for start in range(0, len(text), 1000):
                    file.write(text[start : start + 1000])
                    file.flush()
            seen.add(path.read_text())

    with ThreadPoolExecutor(len(texts)) as pool:
        for _ in pool.map(write, texts):
            pass
    assert seen <= {*texts}
    assert list(tmp_path.iterdir()) == [path]


def test_files_are_written_on_a_drive_without_locks(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    io.write_text("whole", tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text() == "whole"
    # But a stage needs its lock.
    with pytest.raises(OSError, match="not supported"), io.file_lock(tmp_path / "lock"):
        pass


def test_a_lock_is_held_by_one_and_free_again(tmp_path):
    lock = tmp_path / "locks/a"
    with io.file_lock(lock):
        with pytest.raises(InputError, match="another process"), io.file_lock(lock):
            pass
        with io.file_lock(tmp_path / "locks/b"):
            pass
    with io.file_lock(lock):
        pass


def test_tables_and_mappings_come_back(tmp_path):
    table = pd.DataFrame({"a": [1, 2], "b": [0.1, 1e-9], "é": ["x", "ü"]})
    io.write_csv(table, tmp_path / "x/t.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "x/t.csv"), table)
    value = {"ä": [1, 2.5, None], "b": {"c": "é"}}
    io.write_json(value, tmp_path / "y/v.json")
    assert io.read_json(tmp_path / "y/v.json") == value


def test_who_reads_the_old_file_reads_it_to_its_end(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("before")
    with path.open() as reader:
        io.write_text("afterwards", path)
        assert reader.read() == "before"
    assert path.read_text() == "afterwards"
