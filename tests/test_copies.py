"""Copies take the place of older ones whole, and nothing that is the user's is lost."""

import hashlib

import pandas as pd
import pytest

from facemask.data import copies
from facemask.errors import InputError

TABLE = pd.DataFrame({"image": ["a.png"], "sha256": [hashlib.sha256(b"image").hexdigest()]})
ORIGINS = {"images/a.png": "faces/a.png", "annotations/a.xml": "faces/a.xml"}


def fill(folder, image=b"image"):
    for name, data in (("images/a.png", image), ("annotations/a.xml", b"<annotation/>")):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(data)
    copies.record(folder, ORIGINS, TABLE)


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


@pytest.fixture
def raw(tmp_path):
    with copies.replacing(tmp_path / "raw") as folder:
        fill(folder)
    return tmp_path / "raw"


def test_the_record_names_each_copy_its_original_and_its_hash(raw):
    record = pd.read_csv(raw / "files.csv").set_index("file")
    assert record["source"].to_dict() == ORIGINS
    for name in ORIGINS:
        assert record["sha256"][name] == hashlib.sha256((raw / name).read_bytes()).hexdigest()


def test_new_copies_take_the_place_of_old_ones(raw):
    (raw / "images/a.png").chmod(0o400)
    with copies.replacing(raw) as folder:
        assert list(folder.iterdir()) == []
        (folder / "images").mkdir()
        (folder / "images/b.png").write_bytes(b"other")
    assert contents(raw) == {"images/b.png": b"other"}
    assert list(raw.parent.iterdir()) == [raw]


@pytest.mark.parametrize("error", [InputError("no source"), OSError(28, "disk full"), SystemExit()])
def test_an_error_changes_nothing(raw, error):
    before = contents(raw)
    with pytest.raises(type(error)), copies.replacing(raw) as folder:
        fill(folder, b"half")
        raise error
    assert contents(raw) == before
    assert list(raw.parent.iterdir()) == [raw]


def added(raw):
    (raw / "images/mine.jpg").write_bytes(b"by hand")


def corrected(raw):
    (raw / "annotations/a.xml").write_text("<annotation>by hand</annotation>")


def without_record(raw):
    (raw / "files.csv").unlink()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (added, "images/mine.jpg"),
        (corrected, "annotations/a.xml"),
        (without_record, "images/a.png"),
    ],
)
def test_files_put_or_changed_there_by_hand_are_named_and_kept(raw, change, named):
    change(raw)
    before = contents(raw)
    with pytest.raises(InputError, match=named), copies.replacing(raw):
        pytest.fail("it goes on")
    assert contents(raw) == before
    # What the message says to do helps.
    raw.rename(raw.parent / "elsewhere")
    with copies.replacing(raw) as folder:
        fill(folder)


def test_what_a_killed_process_left_is_taken_away(raw):
    for left in (".raw_new", ".raw_old"):
        (raw.parent / left / "images").mkdir(parents=True)
        (raw.parent / left / "images/x.png").write_bytes(b"half")
    with copies.replacing(raw) as folder:
        fill(folder)
    assert list(raw.parent.iterdir()) == [raw]


def test_old_copies_that_a_killed_process_moved_away_come_back(raw):
    before = contents(raw)
    raw.rename(raw.parent / ".raw_old")
    with pytest.raises(InputError), copies.replacing(raw):
        raise InputError("no source")
    assert contents(raw) == before
