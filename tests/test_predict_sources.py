"""What the sources of predict stand for: items in order, and what is skipped."""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from facemask.errors import InputError
from facemask.predict.sources import Item, find


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with files of many kinds; their contents do not matter here."""
    names = ["in/b.PNG", "in/a.jpg", "in/deep/er/c.webp", "in/.hidden.jpg", "in/.git/d.jpg"]
    names += ["in/e.txt", "in/f.mov", "in/g.heic", "in/h.cr2", "in/runs/1/predictions.jsonl"]
    names += ["in/runs/1/a.jpg", "other/z.jpg", "0/i.jpg", "st[a]r.jpg", "5"]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "in/link").symlink_to(tmp_path / "other")
    (tmp_path / "in/linked.jpg").symlink_to(tmp_path / "other/z.jpg")
    (tmp_path / "way").symlink_to(tmp_path / "other")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def paths(*sources):
    return [item.source for item in find(sources).items]


def test_a_folder_stands_for_its_images_in_order():
    assert paths("in") == ["in/a.jpg", "in/b.PNG", "in/deep/er/c.webp", "in/linked.jpg"]


def test_what_a_folder_holds_besides_is_said():
    notes = "\n".join(find(["in"]).notes)
    assert "in/link is a link to a folder" in notes
    assert "in/runs/1 holds predictions of an earlier run" in notes
    assert "in: files skipped: 1 HEIC, 1 raw, 1 video; name videos one by one" in notes
    assert "hidden" not in notes


def test_a_run_that_is_named_itself_is_taken():
    assert paths("in/runs/1") == ["in/runs/1/a.jpg"]


def test_a_link_that_is_named_itself_is_followed():
    assert paths("way") == ["way/z.jpg"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("in/*.jpg", ["in/a.jpg", "in/linked.jpg"]),
        (
            "*/*.[jm][po][gv]",
            ["0/i.jpg", "in/a.jpg", "in/f.mov", "in/linked.jpg", "other/z.jpg", "way/z.jpg"],
        ),
        ("in/**/*.webp", ["in/deep/er/c.webp"]),
        ("in/**/*.jpg", ["in/a.jpg", "in/link/z.jpg", "in/linked.jpg"]),
        ("in/runs/1/**/*.jpg", ["in/runs/1/a.jpg"]),
        ("oth*", ["other/z.jpg"]),
        ("st[a]r.jpg", ["st[a]r.jpg"]),  # a file's own name comes first
    ],
)
def test_a_glob_stands_for_what_it_matches(pattern, found):
    assert paths(pattern) == found


def test_an_absolute_glob_matches_too(here):
    assert paths(f"{here}/other/*") == [f"{here}/other/z.jpg"]


def test_pipes_are_skipped(here):
    os.mkfifo(here / "other/live.jpg")
    for source in ("other", "other/*"):
        found = find([source])
        assert [item.source for item in found.items] == ["other/z.jpg"]
        assert found.notes == ["other/live.jpg is a pipe or a device and is skipped"]


def test_sources_keep_their_order_and_may_come_twice():
    assert paths("other", "in/b.PNG", "other/z.jpg") == ["other/z.jpg", "in/b.PNG", "other/z.jpg"]


def test_a_number_is_a_webcam_and_a_path_is_none():
    assert find(["0"]).items == [Item("webcam", "0")]
    assert find(["5"]).items[0].name == "webcam_5"
    assert find(["./5"]).items == [Item("image", "5")]
    assert paths("./0") == ["0/i.jpg"]


def test_kinds_go_by_the_suffix_but_for_addresses():
    kinds = [item.kind for item in find(["in/f.mov", "in/e.txt", "https://a.org/b"], True).items]
    assert kinds == ["video", "image", "address"]


def test_a_link_in_a_circle_is_reported():
    with pytest.raises(InputError, match="circle: Too many levels"):
        find(["circle"])


@contextmanager
def nobody():
    """As a user who may read what all may; nothing changes for a user who is not root."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_an_unreadable_folder_is_reported():
    folder = Path(tempfile.mkdtemp())
    (folder / "deep").mkdir(mode=0)
    folder.chmod(0o755)
    try:
        with nobody(), pytest.raises(InputError, match=r"deep: Permission denied; change its"):
            find([str(folder)])
        with nobody(), pytest.raises(InputError, match="Permission denied; give a path"):
            find([str(folder / "deep/a.jpg")])
    finally:
        shutil.rmtree(folder)
