"""The listing of a source changes exactly if its files do."""

import os

import pytest

from facemask.data import listing


@pytest.fixture
def source(tmp_path):
    (tmp_path / "own/images").mkdir(parents=True)
    (tmp_path / "own/images/a.png").write_bytes(b"image")
    (tmp_path / "own/a.xml").write_bytes(b"<annotation/>")
    return tmp_path / "own"


def test_files_are_listed_with_size_and_time(source):
    found = listing.files(str(source))
    assert [(name, size) for name, size, _ in found] == [("a.xml", 13), ("images/a.png", 5)]
    assert found[1][2] == (source / "images/a.png").stat().st_mtime_ns


def add(source):
    (source / "b.png").write_bytes(b"image")


def touch(source):
    os.utime(source / "a.xml", ns=(1, 1))


def remove(source):
    (source / "a.xml").unlink()


def rename(source):
    (source / "a.xml").rename(source / "b.xml")


@pytest.mark.parametrize("change", [add, touch, remove, rename])
def test_a_change_shows(source, change):
    before = listing.files(str(source))
    assert listing.files(str(source)) == before
    change(source)
    assert listing.files(str(source)) != before


def test_what_a_file_manager_leaves_does_not_show(source):
    before = listing.files(str(source))
    (source / ".DS_Store").write_bytes(b"x")
    (source / ".cache").mkdir()
    (source / ".cache/x.png").write_bytes(b"x")
    assert listing.files(str(source)) == before


def test_a_link_to_nothing_is_listed(source):
    (source / "gone.png").symlink_to(source / "nowhere")
    assert ("gone.png", 0, 0) in listing.files(str(source))


def test_other_sources(source, tmp_path):
    archive = tmp_path / "own.zip"
    archive.write_bytes(b"PK")
    assert listing.files(str(archive)) == [("own.zip", 2, archive.stat().st_mtime_ns)]
    assert listing.files("synthetic:64") == [("synthetic:64", 0, 0)]
    assert listing.files("kaggle:a/b") == [("kaggle:a/b", 0, 0)]
    assert listing.files(str(tmp_path / "gone")) is None
