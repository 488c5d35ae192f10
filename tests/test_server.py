"""`facemask serve`: what it answers, and that wrong and hostile requests end in a short reason."""

import asyncio
import hashlib
import io
import json
import socket
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from PIL import Image
from serving import EXAMPLE, ROOT, serving

import facemask
from facemask.cli import app as command
from facemask.data.decode import read_rgb
from facemask.inference import runtime
from facemask.server import app as routes
from facemask.server.guard import HEADERS, Guard, Limits

DATA = EXAMPLE.read_bytes()
MOST = 300_000  # bytes, of the server under test
SECONDS = 1.5


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    options = ["--max-megabytes", str(MOST / 1e6), "--max-megapixels", "1"]
    options += ["--timeout", str(SECONDS), "--allow-host", "proxy.example"]
    with serving(tmp_path_factory.mktemp("server"), *options) as url:
        yield url


@pytest.fixture(scope="module")
def client(address):
    with httpx.Client(base_url=address, timeout=30, trust_env=False) as opened:
        yield opened


def check(response, status, *words):
    """A refusal: its status, its reason as JSON, no traceback, the security headers."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert [*body] == ["error"]
    assert all(word in body["error"] for word in words), body["error"]
    assert not {"Traceback", 'File "', ".py"} & {*body["error"].split()}
    assert len(body["error"]) < 400
    check_headers(response)


def check_headers(response):
    for name, value in HEADERS.items():
        assert response.headers[name] == value
    assert "server" not in response.headers


def png(width, height, data=b""):
    """A PNG that declares these sides."""

    def chunk(kind, content):
        crc = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + crc

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def asgi(guard, requests):
    """Responses of an application in this process to requests sent at once."""

    async def run():
        transport = httpx.ASGITransport(guard, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            sent = (client.request(*where, **request) for *where, request in requests)
            return await asyncio.gather(*sent)

    return asyncio.run(run())


def form(data=DATA, name="example.jpg", field="file"):
    return {"files": {field: (name, data)}}


# What it answers


@pytest.mark.parametrize("query", [{}, {"conf": 0.5}, {"size": 320}, {"tiles": 300, "conf": 0.2}])
def test_predictions_are_those_of_the_library(client, query):
    response = client.post("/predict", params=query, **form())
    assert response.status_code == 200
    found = facemask.detect(read_rgb(EXAMPLE), **query)
    faces = runtime.as_records(found, runtime.class_names())
    got = response.json()
    assert got == {"image": "example.jpg", "width": 400, "height": 267, "faces": faces}
    assert len(faces) >= 3 or "size" in query or "conf" in query
    check_headers(response)
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "kind", ["image/jpeg", "application/octet-stream", "application/x-www-form-urlencoded", None]
)
def test_bytes_alone_are_an_image_too(client, kind):
    headers = {"content-type": kind} if kind else {}
    response = client.post("/predict", content=DATA, headers=headers)
    expected = client.post("/predict", **form()).json()
    assert response.json() == {**expected, "image": ""}


def test_an_image_is_turned_by_its_orientation(client):
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    Image.fromarray(np.rot90(read_rgb(EXAMPLE))).save(stream, "png", exif=exif)
    turned = client.post("/predict", content=stream.getvalue()).json()
    assert (turned["width"], turned["height"]) == (400, 267)
    plain = client.post("/predict", **form()).json()
    assert len(turned["faces"]) == len(plain["faces"])


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Temp\\a b.jpg", "a b.jpg"),
        ("ü.jpg", "ü.jpg"),
        ("/", ""),
    ],
)
def test_of_a_path_the_name_is_kept_alone(client, given, name):
    response = client.post("/predict", **form(name=given))
    assert response.status_code == 200
    assert response.json()["image"] == name


def test_health_says_what_answers(client):
    about = client.get("/health").json()
    model = about["model"]
    assert about["ready"] is True
    assert model["classes"] == [*runtime.class_names()]
    assert about["limits"] == {"bytes": MOST, "pixels": 1_000_000}
    response = client.get(model["file"])
    assert response.content == runtime.SHIPPED.read_bytes()
    assert "immutable" in response.headers["cache-control"]


def test_the_pages_are_served_from_here_alone(client):
    for path in ("/", "/docs", "/page/page.js", "/page/worker.js", "/page/page.css"):
        response = client.get(path)
        assert response.status_code == 200
        check_headers(response)
        assert "https://" not in response.text
    assert "javascript" in client.get("/page/page.js").headers["content-type"]
    described = client.get("/openapi.json").json()
    assert {*described["paths"]} == {"/predict", "/health"}
    body = described["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert {*body} == {"multipart/form-data", "image/*"}


# Wrong inputs

PREDICT = ("POST", "/predict")
QUERIES = [
    ("conf=nan", "conf"), ("conf=inf", "conf"), ("conf=-0.1", "conf is -0.1"),
    ("conf=2", "from 0 to 1"), ("conf=", "conf"), ("conf=high", "'high'"), ("size=0", "size is 0"),
    ("size=-5", "size"), ("size=1e3", "size"), ("size=4096", "2048 px"),
    ("size=99999999999999999999", "size"), ("tiles=1", "tiles is 1"), ("tiles=32", "larger"),
    ("Size=5", "did you mean 'size'"), ("conf=0.5&x=1", "'x'"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "word"), QUERIES)
def test_a_wrong_query_is_refused(client, query, word):
    check(client.post(f"/predict?{query}", **form()), 422, word)


WRONG = {
    "text as an image": (415, form(b"no image", "a.jpg"), "not a readable image"),
    "text": (415, {"content": b"hello", "headers": {"content-type": "text/plain"}}, "text/plain"),
    "JSON": (415, {"json": {"image": "x"}}, "application/json"),
    "bad JSON": (
        415, {"content": b"{", "headers": {"content-type": "application/json"}}, "application/json"
    ),
    "truncated": (415, form(DATA[: len(DATA) // 2]), "not a readable image"),
    "half a PNG": (415, form(png(300, 200, b"\0" * 99)), "not a readable image"),
    "a bomb by its declared size": (413, form(png(60_000, 60_000)), "60000 x 60000"),
    "pixels above the limit": (413, form(png(1001, 1000)), "1,000,000"),
    "no sides": (415, form(png(0, 0)), "not a readable image"),
    "HEIC": (415, form(b"\0\0\0\x18ftypheic" + b"\0" * 50), "HEIC"),
    "SVG": (415, form(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "not a readable"),
    "zeros": (415, form(b"\0" * 1000), "not a readable"),
    "nothing": (422, {}, "empty"),
    "empty bytes": (422, {"content": b""}, "empty"),
    "an empty file": (422, form(b""), "empty"),
    "another field": (422, form(field="picture"), "'file', but: picture"),
    "two files": (400, {"files": [("file", ("a", DATA)), ("file", ("b", DATA))]}, "one file"),
    "a field besides": (400, {**form(), "data": {"conf": "1"}}, "one file"),
    "no boundary": (
        400, {"content": DATA, "headers": {"content-type": "multipart/form-data"}}, "boundary"
    ),
    "another boundary": (
        400, {"content": DATA, "headers": {"content-type": "multipart/form-data; boundary=x"}}, ""
    ),
    "a form cut off": (
        422,
        {
            "content": b"--x\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\nab",
            "headers": {"content-type": "multipart/form-data; boundary=x"},
        },
        "no complete file",
    ),
    "a page of another site": (
        403, {"content": DATA, "headers": {"origin": "https://evil.example"}}, "other sites"
    ),
    "an opaque origin": (403, {"content": DATA, "headers": {"origin": "null"}}, "other sites"),
    "too many bytes": (413, {"content": b"\xff" * (MOST + 1)}, "300,000 bytes"),
    "too many, in chunks": (413, {"content": iter([b"\xff" * 9999] * 99)}, "300,000 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_request_ends_in_a_reason(client, name):
    status, request, word = WRONG[name]
    check(client.post("/predict", **request), status, word)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404), ("POST", "/nothing", 404), ("GET", "/page/../app.py", 404),
        ("GET", "/page/%2e%2e/app.py", 404), ("GET", "/page/", 404), ("GET", "/model/x.onnx", 404),
        ("GET", "/predict", 405), ("PUT", "/predict", 405), ("DELETE", "/", 405),
        ("POST", "/health", 405), ("TRACE", "/predict", 405),
    ],
)  # fmt: skip
def test_an_unknown_address_or_method(client, method, path, status):
    check(client.request(method, path), status, "/docs")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("LOCALHOST:1", 200), ("a.localhost", 200), ("[::1]:80", 200),
        ("proxy.example", 200), ("evil.example", 421), ("127.0.0.1.evil.example", 421),
        ("192.0.2.1", 421), ("", 421), ("localhost@evil.example", 421),
    ],
)  # fmt: skip
def test_only_known_names_reach_it(client, host, status):
    response = client.get("/health", headers={"host": host})
    if status == 200:
        assert response.status_code == status
    else:
        check(response, status, "--allow-host")


def test_any_address_of_all_networks_but_no_other_name():
    guard = routes.build(Limits(), ["0.0.0.0"])
    for host, status in (("192.0.2.1:8000", 200), ("[2001:db8::1]", 200), ("evil.example", 421)):
        (response,) = asgi(guard, [("GET", "/health", {"headers": {"host": host}})])
        assert response.status_code == status


def test_an_own_page_may_send(client, address):
    response = client.post("/predict", content=DATA, headers={"origin": address})
    assert response.status_code == 200


# Time and requests at once


def raw(address, *parts, pause=0.0, wait=10):
    """Send parts over a socket, one after another; return the whole answer."""
    url = httpx.URL(address)
    with socket.create_connection((url.host, url.port), timeout=wait) as opened:
        for part in parts:
            opened.sendall(part)
            time.sleep(pause)
        return b"".join(iter(lambda: opened.recv(65536), b""))


HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ([], 408),
        ([b"GET / HT"], 408),
        ([b"GET / HTTP/1.1\r\n", b"X: 1\r\n", b"Y: 2\r\n"], 408),
        ([HEAD + b"Content-Length: 1000\r\n\r\n", b"abc", b"def"], 408),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n"], 408),
        ([b"nonsense\r\n\r\n"], 400),
        ([b"GET / HTTP/1.1\r\n\r\n"], 400),
        ([b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000], 400),
        ([HEAD + b"Content-Length: -1\r\n\r\n"], 400),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"], 400),
        ([HEAD + b"Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n"], 413),
    ],
)
def test_what_is_slow_or_no_http_is_cut_off(address, sent, status):
    start = time.monotonic()
    head, _, body = raw(address, *sent, pause=0.1).partition(b"\r\n\r\n")
    assert time.monotonic() - start < 3 * SECONDS
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"x-content-type-options: nosniff" in head
    assert [*json.loads(body)] == ["error"]


def test_requests_beyond_the_queue_are_to_come_again():
    running, most = 0, 0

    async def slow(scope, receive, send):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.05)
        running -= 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    guard = Guard(slow, Limits(at_once=2, waiting=3))
    responses = asgi(guard, [(*PREDICT, {"content": b"x"})] * 9)
    refused = [response for response in responses if response.status_code != 200]
    assert most == 2
    assert len(refused) == 4
    for response in refused:
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0
        assert "busy" in response.json()["error"]


def test_the_bytes_held_at_once_are_limited():
    async def slow(scope, receive, send):
        await asyncio.sleep(0.05)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    guard = Guard(slow, Limits(bytes=100, at_once=2, waiting=6))
    responses = asgi(guard, [(*PREDICT, {"content": b"x" * 100})] * 12)
    assert sorted(each.status_code for each in responses) == [200] * 8 + [503] * 4
    assert sum("holds too many" in each.text for each in responses) == 4


def test_a_failure_of_the_server_is_a_short_reason(monkeypatch, caplog):
    def fail(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr(routes, "_predict", fail)
    (response,) = asgi(routes.build(), [(*PREDICT, form())])
    assert response.status_code == 500
    assert response.json() == {"error": "the server failed; its log says why"}
    check_headers(response)
    assert "secret" in caplog.text


def test_the_server_still_answers_after_all_this(client):
    assert client.post("/predict", **form()).status_code == 200


# The command


def test_another_model_is_served(tmp_path):
    model = onnx.load(runtime.SHIPPED)
    for entry in model.metadata_props:
        if entry.key == "confidence":
            entry.value = "0.8"
    onnx.save(model, tmp_path / "other.onnx")
    folder = tmp_path / "server"
    folder.mkdir()
    with serving(folder, "--model", str(tmp_path / "other.onnx")) as url:
        about = httpx.get(f"{url}/health", trust_env=False).json()["model"]
        faces = httpx.post(f"{url}/predict", **form(), trust_env=False, timeout=30).json()["faces"]
    assert about["confidence"] == 0.8
    assert about["sha256"] == hashlib.sha256((tmp_path / "other.onnx").read_bytes()).hexdigest()
    expected = facemask.detect(read_rgb(EXAMPLE), conf=0.8)
    assert 0 < len(faces) == len(expected.xyxy) < len(facemask.detect(read_rgb(EXAMPLE)).xyxy)


def test_a_wrong_address_or_model_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for options, word in (
            (["--port", port], "is taken by another program; choose another with --port"),
            (["--host", "192.0.2.1"], "is not an address of this machine"),
            (["--allow-host", "faces.example.org:8443"], "give a name alone"),
            (["--host", "no such name"], "give an address of this machine"),
            (["--model", "none.onnx"], "there is no such model"),
            (["--model", str(EXAMPLE)], "no detector of this project"),
        ):
            result = CliRunner().invoke(command, ["serve", *options])
            assert result.exit_code == 1
            assert word in result.stderr
            assert result.stderr.startswith("facemask: ")


@pytest.mark.parametrize("option", ["--max-megabytes", "--max-megapixels", "--timeout"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1", "many"])
def test_limits_are_numbers_of_a_range(option, value):
    result = CliRunner().invoke(command, ["serve", option, value])
    assert result.exit_code == 2
    assert f"Invalid value for '{option}': " in result.stderr


def test_help_does_not_load_the_server():
    code = (
        "import sys\nfrom facemask.cli import app\ntry:\n    app(['serve', '--help'])\n"
        "finally:\n    print({'fastapi', 'uvicorn', 'onnxruntime'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "set()"


def test_the_build_fetches_only_what_it_expects(tmp_path, monkeypatch):
    """A package with another checksum is not unpacked; without npm a build says so."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("build_page", ROOT / "setup.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(script, "FOLDER", tmp_path / "ort")
    assert not script.is_there()
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho evil > package.tgz\n")
    npm.chmod(0o755)
    monkeypatch.setattr(script.shutil, "which", lambda _: str(npm))
    with pytest.raises(ValueError, match="checksum"):
        script.fetch()
    monkeypatch.setattr(script.shutil, "which", lambda _: None)
    with pytest.raises(FileNotFoundError, match="npm"):
        script.fetch()
    assert not Path(tmp_path / "ort").exists()
