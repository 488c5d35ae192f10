"""Downloads of images: from a server of this machine, which answers as it likes."""

import contextlib
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from predict_toys import EXAMPLE, predict, process

from facemask.errors import InputError
from facemask.predict.download import Limits, download, name_of

SECRET = "secret.txt"


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        getattr(self, self.path.split("/")[1].partition("?")[0].partition(".")[0])()

    def log_message(self, *_):
        pass

    def head(self, code=200, **headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def image(self):
        self.head(Content_Length=str(EXAMPLE.stat().st_size))
        self.wfile.write(EXAMPLE.read_bytes())

    def accent(self):
        self.image() if self.path == "/accent/%C3%BC%20.jpg?a=%C3%A9" else self.head(404)

    def moved(self):
        self.head(302, Location="/image.jpg")

    def circle(self):
        self.head(302, Location="/circle")

    def local(self):
        self.head(302, Location=Path(SECRET).absolute().as_uri())

    def other(self):
        self.head(302, Location="ftp://127.0.0.1/image.jpg")

    def data(self):
        self.head(302, Location="data:text/plain,hello")

    def nothing(self):
        self.head(404)

    def page(self):
        self.head()
        self.wfile.write(b"<html></html>")

    def large(self):
        self.head(Content_Length="50000001")

    def endless(self):
        self.head()
        while True:
            self.wfile.write(bytes(100_000))

    def short(self):
        self.head(Content_Length="1000")
        self.wfile.write(b"only this")

    def slow(self):
        self.head()
        for _ in range(100):
            self.wfile.write(b"a")
            self.wfile.flush()
            time.sleep(0.05)

    def silent(self):
        time.sleep(3)

    def handle(self):
        with contextlib.suppress(OSError):  # the client has gone
            super().handle()


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as running:
        running.daemon_threads = True
        running.block_on_close = False
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("no_proxy", "*")
    Path(SECRET).write_text("a secret")


@pytest.mark.parametrize("path", ["image.jpg", "moved", "accent/ü%20.jpg?a=é"])
def test_an_image_is_downloaded(server, path):
    assert download(f"{server}/{path}", threading.Event()) == EXAMPLE.read_bytes()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("local", "not allowed"), ("other", "unknown url type: ftp"), ("data", "not allowed"),
        ("circle", "infinite loop"), ("nothing", "404"), ("large", "larger than 50,000,000 bytes"),
        ("short", "not downloaded to its end"),
    ],
)  # fmt: skip
def test_what_is_no_image_here_is_refused(server, path, message):
    with pytest.raises(InputError, match=message):
        download(f"{server}/{path}", threading.Event())


def test_neither_the_size_nor_the_time_is_without_end(server):
    with pytest.raises(InputError, match="larger than 1,000,000 bytes"):
        download(f"{server}/endless", threading.Event(), Limits(size=1_000_000))
    for path in ("slow", "silent"):
        start = time.monotonic()
        with pytest.raises(InputError, match=r"longer than 0\.4 s|timed out"):
            download(f"{server}/{path}", threading.Event(), Limits(seconds=0.4))
        assert time.monotonic() - start < 2


def test_it_is_given_up_at_once(server):
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    start = time.monotonic()
    with pytest.raises(InputError):
        download(f"{server}/silent", stop)
    assert time.monotonic() - start < 1


def test_an_interruption_ends_a_download(server):
    running = process(EXAMPLE, f"{server}/silent", "--allow-download", "--no-save")
    assert running.stdout.readline()
    start = time.monotonic()
    running.send_signal(signal.SIGINT)
    _, stderr = running.communicate(timeout=30)
    assert running.returncode == 130, stderr
    assert time.monotonic() - start < 2


def test_the_command_downloads_what_it_may(server):
    image, page = f"{server}/image.jpg?id=7", f"{server}/page.jpg"
    done = predict(image, page, f"{server}/local", "--allow-download", "--json", code=1)
    (record,) = done.records
    assert record["image"] == image
    assert len(record["faces"]) >= 3
    assert f"{page}: not a readable image" in done.stderr
    assert "not allowed" in done.stderr
    names = sorted(path.name for path in Path("runs/predict/1").iterdir())
    assert names == ["image.jpg", "predictions.jsonl"]


def test_a_port_without_a_server_is_reported():
    done = predict("http://127.0.0.1:9/a.jpg", "--allow-download", "--no-save", code=1)
    assert "Connection refused" in done.stderr


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("http://a.org/b/c.jpg?d=e/f.png#g", "c.jpg"),
        ("http://a.org/b/", "b"),
        ("http://a.org", ""),
        ("http://a.org/..%2f..%2fetc%2fpasswd", "passwd"),
        ("http://a.org/..%5C..%5Cevil.jpg", "evil.jpg"),
    ],
)
def test_the_name_is_the_last_part_alone(address, name):
    assert name_of(address) == name
