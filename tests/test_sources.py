"""Fetching: the same bytes from every kind of source, and nothing of the user's is touched."""

import base64
import hashlib
import json
import os
import shutil
import stat
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import kagglehub
import numpy as np
import pytest

from facemask.data import sources
from facemask.errors import InputError


def contents(folder):
    """Every file of a folder by its relative name, as bytes."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


def state(folder):
    """What must not change: names, kinds, bytes and times of everything below a folder."""
    return {
        path.relative_to(folder).as_posix(): (
            os.lstat(path).st_mode,
            os.lstat(path).st_mtime_ns,
            path.read_bytes() if path.is_file() else None,
        )
        for path in sorted(folder.rglob("*"))
    }


def zipped(path, members):
    """Write a zip from names (or ZipInfo) and bytes, deflated."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def refused(source, folder):
    with pytest.raises(InputError) as caught:
        sources.fetch(str(source), folder)
    return str(caught.value)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "data" / "raw"


@pytest.mark.parametrize("layout", ["", "one/two/", "Face Mask Détection/"])
@pytest.mark.parametrize("form", ["folder", "zip"])
def test_folders_nested_folders_and_zips_give_identical_bytes(voc, tmp_path, target, form, layout):
    nested = tmp_path / "source" / layout
    shutil.copytree(voc, nested, dirs_exist_ok=True)
    (nested / "README.md").write_text("not wanted")
    source = tmp_path / "source"
    if form == "zip":
        source = shutil.make_archive(str(tmp_path / "own"), "zip", source)
    sources.fetch(str(source), target)
    assert contents(target) == contents(voc)
    names = [path.name for path in sources.image_paths(target)]
    assert names == ["a.png", "b.png", "c.png"]


def test_images_and_annotations_may_lie_side_by_side(voc, tmp_path, target):
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in voc.rglob("*.*"):
        shutil.copyfile(path, flat / path.name)
    (flat / "c.png").rename(flat / "c.PNG")
    (flat / "c.xml").rename(flat / "c.XML")
    sources.fetch(str(flat), target)
    assert set(contents(target)) == {
        *("images/a.png", "images/b.png", "images/c.PNG"),
        *("annotations/a.xml", "annotations/b.xml", "annotations/c.XML"),
    }


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_the_user_s_files_are_not_touched(voc, tmp_path, target, form):
    source = voc
    if form == "zip":
        source = shutil.make_archive(str(tmp_path / "own"), "zip", voc)
    before = state(tmp_path)
    sources.fetch(str(source), target)
    after = {
        name: what for name, what in state(tmp_path).items() if name.partition("/")[0] != "data"
    }
    assert after == before
    # What was fetched is a copy: writing to it changes nothing of the user's either.
    for path in target.rglob("*.*"):
        path.chmod(0o600)
        path.write_bytes(b"changed")
    after = {
        name: what for name, what in state(tmp_path).items() if name.partition("/")[0] != "data"
    }
    assert after == before


def test_links_in_a_folder_become_files_of_their_own(voc, tmp_path, target):
    elsewhere = tmp_path / "elsewhere.png"
    (voc / "images" / "a.png").rename(elsewhere)
    (voc / "images" / "a.png").symlink_to(elsewhere)
    sources.fetch(str(voc), target)
    fetched = target / "images" / "a.png"
    assert not fetched.is_symlink()
    assert fetched.read_bytes() == elsewhere.read_bytes()


def test_a_broken_link_is_reported_by_name(voc, tmp_path, target):
    (voc / "images" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert "gone.png" in refused(voc, target)


def symbolic_link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def test_no_name_in_a_zip_leads_out_of_the_folder(voc, tmp_path, target):
    precious = tmp_path / "precious.png"
    precious.write_bytes(b"the user's")
    members = {f"x/{name}": data for name, data in contents(voc).items()}
    members |= {
        "../../evil1.png": b"1",
        "images/../../../../evil2.png": b"2",
        str(tmp_path / "evil3.png"): b"3",
        "//evil4.png": b"4",
        "..\\..\\evil5.png": b"5",
        "../../evil6.xml": b"6",
        "../images.png/../../evil7.png": b"7",
    }
    archive = zipped(tmp_path / "evil.zip", members)
    before = state(tmp_path)
    sources.fetch(str(archive), target)
    after = state(tmp_path)
    assert {name: after[name] for name in before} == before
    for name in after.keys() - before.keys() - {"data", "data/raw"}:
        assert name.startswith("data/raw/")
        # Two folders of plain files and nothing else: no deeper, no higher.
        assert name.count("/") == (3 if "." in name else 2)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_links_in_a_zip_are_left_out(voc, tmp_path, target):
    precious = tmp_path / "precious.png"
    precious.write_bytes(b"the user's")
    archive = tmp_path / "links.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(symbolic_link("images"), str(tmp_path))
        file.writestr(symbolic_link("images/link.png"), str(precious))
        file.writestr(symbolic_link("images/a.png"), str(precious))
        for name, data in contents(voc).items():
            file.writestr(name, data)
    sources.fetch(str(archive), target)
    assert contents(target) == contents(voc)
    assert not any(path.is_symlink() for path in target.rglob("*"))
    assert precious.read_bytes() == b"the user's"


def test_what_macos_adds_to_a_zip_is_left_out(voc, tmp_path, target):
    members = contents(voc)
    extra = {f"__MACOSX/{name}": b"resource fork" for name in members}
    extra |= {f"__MACOSX/{kind}/._a.{kind[:3]}": b"resource fork" for kind in ("png", "xml")}
    sources.fetch(str(zipped(tmp_path / "mac.zip", members | extra)), target)
    assert contents(target) == members


def truncated(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def wrong_bytes(path):
    """Spoil the middle of a packed file, where only its checksum tells."""
    data = bytearray(path.read_bytes())
    start = data.index(b"PK\x01\x02") // 2
    data[start : start + 40] = bytes(40)
    path.write_bytes(data)


def wrong_stream(path):
    """Make the first packed file no deflate stream at all (block type 3 does not exist)."""
    data = bytearray(path.read_bytes())
    data[30 + int.from_bytes(data[26:28], "little")] = 0xFF
    path.write_bytes(data)


def encrypted(path):
    """Set the flag that asks for a password, in both headers of every file."""
    data = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = data.find(mark)
        while start >= 0:
            data[start + place] |= 1
            start = data.find(mark, start + 4)
    path.write_bytes(data)


def unknown_packing(path):
    """Say that the files are packed by a method that does not exist."""
    data = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        start = data.find(mark)
        while start >= 0:
            data[start + place] = 77
            start = data.find(mark, start + 4)
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage", [truncated, wrong_bytes, wrong_stream, encrypted, unknown_packing]
)
def test_a_damaged_zip_is_reported_and_kept(voc, tmp_path, target, damage):
    archive = zipped(tmp_path / "own.zip", contents(voc))
    damage(archive)
    before = archive.read_bytes()
    message = refused(archive, target)
    assert str(archive) in message
    assert "zip" in message
    assert archive.read_bytes() == before


def test_a_missing_path_or_another_file_is_reported_with_the_key(tmp_path, target):
    (tmp_path / "notes.txt").write_text("no dataset")
    for source in (tmp_path / "nowhere", tmp_path / "notes.txt"):
        message = refused(source, target)
        assert str(source) in message
        assert "datasets.<name>.source" in message
    assert not target.exists()


@pytest.mark.parametrize("form", ["folder", "zip"])
@pytest.mark.parametrize("missing", ["images", "annotations"])
def test_half_a_dataset_is_reported(voc, tmp_path, target, missing, form):
    shutil.rmtree(voc / missing)
    source = voc
    if form == "zip":
        source = shutil.make_archive(str(tmp_path / "own"), "zip", voc)
    message = refused(source, target)
    assert f"no {missing} found" in message
    assert str(source) in message


def test_an_empty_folder_is_reported(tmp_path, target):
    (tmp_path / "empty").mkdir()
    assert "empty" in refused(tmp_path / "empty", target)


def test_a_download_that_fails_names_the_remedy(target, monkeypatch):
    def no_network(handle, *_arguments, **_options):
        raise ConnectionError(f"no way to {handle}")

    monkeypatch.setattr(kagglehub, "dataset_download", no_network)
    message = refused("kaggle:somebody/some-images", target)
    assert "https://www.kaggle.com/datasets/somebody/some-images" in message
    assert "-S datasets." in message
    assert "no way to" in message
    assert not target.exists()


def test_a_download_is_copied_and_kagglehub_s_cache_not_touched(voc, target, monkeypatch):
    requested = []

    def cached(handle, *_arguments, **_options):
        requested.append(handle)
        return str(voc)

    monkeypatch.setattr(kagglehub, "dataset_download", cached)
    before = state(voc)
    sources.fetch("kaggle:somebody/some-images", target)
    assert requested == ["somebody/some-images"]
    assert contents(target) == contents(voc)
    assert state(voc) == before


def test_drawn_images_are_counted_and_annotated(target):
    sources.fetch("synthetic:2", target)
    assert len(sources.image_paths(target)) == 2
    stems = {path.stem for path in sources.image_paths(target)}
    assert {path.stem for path in (target / "annotations").iterdir()} == stems


@pytest.mark.parametrize("count", ["", "0", "-1", "2.5", "many"])
def test_a_wrong_number_of_drawn_images_is_reported(target, count):
    message = refused(f"drawn:{count}", target)
    assert repr(f"drawn:{count}") in message
    assert not target.exists()


@pytest.mark.parametrize("inside", ["", "mine", "..", "../.."])
def test_a_source_within_or_around_its_copies_is_refused(target, inside):
    with pytest.raises(InputError, match="overwritten"):
        sources.check_apart(str(target / inside), target)


@pytest.mark.parametrize("source", ["synthetic:4", "kaggle:a/b", "elsewhere", "data/raw2"])
def test_other_sources_are_apart_from_their_copies(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    sources.check_apart(source, tmp_path / "data/raw")


def test_each_copy_is_told_its_original(voc, tmp_path, target):
    (voc / "images").rename(voc / "faces")
    origins, issues = sources.fetch(str(voc), target)
    assert issues == []
    assert origins.keys() == contents(target).keys()
    assert origins["images/a.png"] == "faces/a.png"
    for copy, original in origins.items():
        assert (target / copy).read_bytes() == (voc / original).read_bytes()


# Names of other systems.


def test_a_zip_made_on_windows_is_read(voc, tmp_path, target):
    """With backslashes and a drive, and an empty folder."""
    members = {f"C:\\faces\\{name.replace('/', chr(92))}": d for name, d in contents(voc).items()}
    archive = zipped(tmp_path / "own.zip", {"C:\\faces\\empty\\": b"", **members})
    origins, _ = sources.fetch(str(archive), target)
    assert contents(target) == contents(voc)
    assert origins["images/a.png"] == "faces/images/a.png"


@pytest.mark.parametrize("flagged", [True, False])
def test_names_in_a_zip_are_utf8_with_or_without_the_flag(voc, tmp_path, target, flagged):
    members = {name.replace("/a.", "/\u00e9\u9762."): data for name, data in contents(voc).items()}
    archive = zipped(tmp_path / "own.zip", members)
    if not flagged:
        data = bytearray(archive.read_bytes())
        for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            start = data.find(mark)
            while start >= 0:
                data[start + place + 1] &= ~0x08
                start = data.find(mark, start + 4)
        archive.write_bytes(data)
    sources.fetch(str(archive), target)
    assert contents(target) == members


def test_names_in_a_folder_may_be_no_utf8(voc, target):
    for kind, suffix in (("images", b"png"), ("annotations", b"xml")):
        latin_1 = os.fsdecode(b"caf\xe9." + suffix)
        (voc / kind / f"a.{suffix.decode()}").rename(voc / kind / latin_1)
    origins, _ = sources.fetch(str(voc), target)
    assert {"images/caf\u00e9.png", "annotations/caf\u00e9.xml"} < origins.keys()
    assert json.dumps(origins).encode()
    assert {path.name for path in sources.image_paths(target)} > {"caf\u00e9.png"}


@pytest.mark.parametrize("name", ["a,b", 'a"b', "a\nb", " a", "#a", "a'b", "a%20b", "a=b", "-a"])
def test_unusual_names_are_read(voc, target, name):
    for kind, suffix in (("images", "png"), ("annotations", "xml")):
        (voc / kind / f"a.{suffix}").rename(voc / kind / f"{name}.{suffix}")
    sources.fetch(str(voc), target)
    expected = name.replace("\n", "_")
    assert (target / f"images/{expected}.png").exists()
    assert (target / f"annotations/{expected}.xml").exists()


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".7z", ".rar", ".TAR"])
def test_other_archives_are_named(tmp_path, target, suffix):
    path = tmp_path / f"own{suffix}"
    path.write_bytes(b"archive")
    assert "unpack it" in refused(path, target)


def test_a_link_to_a_folder_is_said(voc, tmp_path, target):
    (tmp_path / "more").mkdir()
    (voc / "more").symlink_to(tmp_path / "more")
    _, issues = sources.fetch(str(voc), target)
    assert [(each.file, each.severity) for each in issues] == [("more/", "skipped")]


def test_a_file_that_is_not_wanted_need_not_be_readable(voc, tmp_path, target):
    (voc / "gone.json").symlink_to(tmp_path / "nowhere")
    _, issues = sources.fetch(str(voc), target)
    assert [issue.severity for issue in issues] == ["skipped"]
    (voc / "gone.xml").symlink_to(tmp_path / "nowhere")
    assert "gone.xml" in refused(voc, tmp_path / "again")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_is_reported(voc, target):
    (voc / "images").chmod(0)
    message = refused(voc, target)
    (voc / "images").chmod(0o700)
    assert "images" in message
    assert "permissions" in message


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_names_that_are_equal_as_text_are_refused(voc, tmp_path, target, form):
    for name in ("a\nb.png", "a_b.png"):
        shutil.copyfile(voc / "images/a.png", voc / "images" / name)
    source = voc if form == "folder" else zipped(tmp_path / "own.zip", contents(voc))
    assert "a_b.png" in refused(source, target)


def test_a_colon_is_no_drive(voc, tmp_path, target):
    members = {name.replace("/a.", "/a:1."): data for name, data in contents(voc).items()}
    sources.fetch(str(zipped(tmp_path / "own.zip", members)), target)
    assert contents(target) == members


def test_a_zip_is_known_by_its_content(voc, tmp_path, target):
    sources.fetch(str(zipped(tmp_path / "own.data", contents(voc))), target)
    assert contents(target) == contents(voc)


def test_a_zip_without_a_dataset_is_reported(tmp_path, target):
    empty = zipped(tmp_path / "empty.zip", {})
    assert "no images" in refused(empty, target)
    message = refused(zipped(tmp_path / "outer.zip", {"own.zip": empty.read_bytes()}), target)
    assert "1 .zip files" in message


def test_a_relative_source_is_found_from_a_queue(voc, target, monkeypatch):
    """DVC runs queued experiments in folders below the project's."""
    queue = voc.parent / ".dvc" / "tmp" / "exps" / "tmp1"
    queue.mkdir(parents=True)
    monkeypatch.chdir(queue)
    sources.fetch(voc.name, target)
    assert contents(target) == contents(voc)


def test_home_is_expanded(voc, target, monkeypatch):
    monkeypatch.setenv("HOME", str(voc.parent))
    sources.fetch(f"~/{voc.name}", target)
    assert contents(target) == contents(voc)


def test_a_source_without_annotations_is_told_what_it_is(voc, target):
    for path in (voc / "annotations").iterdir():
        path.with_suffix(".txt").write_text("0 0.5 0.5 0.1 0.2\n")
        path.unlink()
    message = refused(voc, target)
    assert "no annotations found" in message
    assert "YOLO" in message
    assert "as_pascal_voc" in message


class Kaggle(BaseHTTPRequestHandler):
    """A server that speaks as Kaggle's does and breaks off the first download in its centre."""

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(302)
        self.send_header("Location", "/archive.zip")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self):
        archive, requested = self.server.archive, self.headers.get("Range", "bytes=0-")
        start = int(requested.removeprefix("bytes=").rstrip("-"))
        self.server.requested.append(start)
        self.send_response(206 if start else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(archive) - start))
        md5 = base64.b64encode(hashlib.md5(archive).digest()).decode()
        self.send_header("x-goog-hash", f"md5={md5}")
        self.end_headers()
        sent = archive[start:]
        if self.server.faults:
            sent = self.server.faults.pop(0)(sent)
        self.wfile.write(sent)

    def log_message(self, *_):
        pass


@pytest.fixture
def kaggle(voc, tmp_path, monkeypatch):
    from kagglesdk import kaggle_env

    server = ThreadingHTTPServer(("127.0.0.1", 0), Kaggle)
    # More than the megabyte that is written at once.
    members = contents(voc) | {"README.md": np.random.default_rng(0).bytes(3_000_000)}
    server.archive = zipped(tmp_path / "own.zip", members).read_bytes()
    server.requested, server.faults = [], []
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.TEST, address)
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


HANDLE = "kaggle:somebody/images/versions/1"


def test_a_download_that_breaks_off_is_reported_and_made_again(kaggle, voc, target):
    kaggle.faults = [lambda data: data[: len(data) // 2]]
    assert "could not be downloaded" in refused(HANDLE, target)
    assert not target.exists()
    sources.fetch(HANDLE, target)
    assert contents(target) == contents(voc)
    assert len(kaggle.requested) == 2


def test_a_download_that_arrives_spoilt_is_reported_and_starts_again(kaggle, voc, target):
    kaggle.faults = [lambda data: data[:100] + b"spoilt" + data[106:]]
    assert "could not be downloaded" in refused(HANDLE, target)
    assert not target.exists()
    sources.fetch(HANDLE, target)
    assert contents(target) == contents(voc)


def test_a_download_is_requested_once(kaggle, voc, target):
    for _ in range(2):
        sources.fetch(HANDLE, target)
        assert contents(target) == contents(voc)
    assert kaggle.requested == [0]


def bomb(path, size):
    """A zip of one image's name that unpacks to `size` zeros, beside an annotation."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.xml", "<annotation/>")
        with archive.open("a.png", "w", force_zip64=True) as file:
            for _ in range(size // 1_000_000):
                file.write(bytes(1_000_000))
    return path


def test_a_zip_bomb_is_not_unpacked(tmp_path, target):
    message = refused(bomb(tmp_path / "bomb.zip", 150_000_000), target)
    assert "bomb.zip" in message
    assert "150.0 MB" in message
    assert contents(target) == {}


def test_files_that_are_compared_are_no_bombs_either(tmp_path, target):
    members = {f"{folder}/a.png": bytes(60_000_000) for folder in "xy"}
    members |= {f"{folder}/a.xml": b"<annotation/>" for folder in "xy"}
    assert "120.0 MB" in refused(zipped(tmp_path / "bomb.zip", members), target)


def test_a_zip_may_shrink_a_hundredfold_or_be_small(tmp_path, target):
    sources.fetch(str(bomb(tmp_path / "black.zip", 20_000_000)), target)
    assert len(contents(target)) == 2


def test_a_file_that_is_larger_than_its_header_says_is_reported(tmp_path, target):
    archive = bomb(tmp_path / "liar.zip", 20_000_000)
    # In the header of the directory alone, which is the one that is read.
    data = archive.read_bytes()
    assert data.count((20_000_000).to_bytes(4, "little"))
    archive.write_bytes(
        data.replace((20_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    )
    assert "liar.zip" in refused(archive, target)
    assert sum(map(len, contents(target).values())) < 1_000


def test_a_zip_larger_than_the_disk_is_not_unpacked(voc, tmp_path, target, monkeypatch):
    archive = zipped(tmp_path / "own.zip", contents(voc))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    assert "make room" in refused(archive, target)
    assert contents(target) == {}
