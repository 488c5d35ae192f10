"""The page of `facemask serve` in Chromium: every way in and out, and what leaves the browser."""

import base64
import io
import json
import re
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image
from serving import EXAMPLE, ROOT, serving

import facemask
from facemask.data.decode import read_rgb
from facemask.inference import runtime
from facemask.server.app import IN_BROWSER, PAGE

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium is installed")
in_browser = pytest.mark.skipif(not IN_BROWSER.is_file(), reason="installed without npm")
# A name of another machine, as far as the page knows.
ELSEWHERE = "mask.test"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
    f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1",
]  # fmt: skip
WAIT = 20_000  # ms, on a busy machine
expect.set_options(timeout=WAIT)
WITHOUT_FILES = (
    "from pathlib import Path\nfrom facemask.server import app\napp.IN_BROWSER = Path('missing')\n"
    "from facemask.cli import app as command\ncommand()"
)
IMAGE = read_rgb(EXAMPLE)


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("server"), "--allow-host", ELSEWHERE) as url:
        yield url


@pytest.fixture(scope="module")
def without_files(tmp_path_factory):
    """A server that was installed without npm."""
    folder = tmp_path_factory.mktemp("plain")
    with serving(folder, "--allow-host", ELSEWHERE, code=WITHOUT_FILES) as url:
        yield url


@pytest.fixture(scope="module")
def context(browser):
    """What most visits share: its cache has the page, which so starts fast."""
    with browser.new_context() as shared:
        yield shared


def heard(page, url, ready=True):
    """Open an address, and keep what the page requests and which errors it makes."""
    page.sent, page.errors = [], []
    page.on("request", lambda request: page.sent.append((request.method, request.url)))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.set_default_timeout(WAIT)
    page.goto(url)
    if ready:
        expect(page.locator("#state")).to_have_text(re.compile("^Ready"), timeout=WAIT)
    return page


def check(page):
    """Nothing failed, and nothing was requested from anywhere else."""
    assert page.errors == []
    own = re.compile(rf"(http://(127\.0\.0\.1|{ELSEWHERE}):\d+/|blob:http://|data:)")
    assert [url for _, url in page.sent if not own.match(url)] == []


@pytest.fixture
def visit(browser, context):
    """A function that opens an address."""
    pages = []

    def opened(url, ready=True, script=None, **options):
        pages.append((browser.new_context(**options) if options else context).new_page())
        if script:
            pages[-1].add_init_script(script)
        return heard(pages[-1], url, ready)

    yield opened
    for page in pages:
        page.close()
        if page.context is not context:
            page.context.close()
        check(page)


@pytest.fixture(scope="module")
def loaded(context, address):
    """A page that several tests use: most of their time would be its start."""
    return heard(context.new_page(), address)


@pytest.fixture
def page(loaded):
    """The page without images; they stay in the browser: only files of the page are requested."""
    if loaded.locator("#results").is_visible():
        loaded.locator("#least").fill(str(runtime.load().confidence))
        loaded.get_by_role("button", name="Remove all").click()
    yield loaded
    loaded.context.set_offline(False)
    check(loaded)
    assert {method for method, _ in loaded.sent} == {"GET"}
    assert any(url.endswith(".onnx") for _, url in loaded.sent)  # those of the worker are seen


def file(name="example.png", image=IMAGE, **options):
    """A file to upload."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, name.rpartition(".")[2].replace("jpg", "jpeg"), **options)
    return {"name": name, "mimeType": "image/png", "buffer": stream.getvalue()}


TEXT = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no image"}


def upload(page, *files):
    page.set_input_files("#files", [*files])
    finished(page)


def finished(page):
    expect(page.locator(".card").first).to_be_visible()
    expect(page.locator(".waiting")).to_have_count(0, timeout=WAIT)


def facts(page):
    return page.locator(".card .facts").all_inner_texts()


def download(page, button):
    with page.expect_download() as started:
        button.click()
    return started.value.suggested_filename, started.value.path().read_bytes()


def counted(page):
    """The counts by class, whole."""
    return [int(text) for text in page.locator("#counts dd").all_inner_texts()]


def expected(image, conf=None):
    return runtime.as_records(facemask.detect(image, conf), runtime.class_names())


# The model in the browser


@in_browser
@pytest.mark.parametrize("large", [False, True])
def test_predictions_are_those_of_python(page, large):
    image = cv2.resize(IMAGE, (2601, 1736), interpolation=cv2.INTER_CUBIC) if large else IMAGE
    upload(page, file(image=image, compress_level=1))
    name, data = download(page, page.get_by_role("button", name="Save JSON: example.png"))
    got = json.loads(data)
    assert name == "example.json"
    height, width = image.shape[:2]
    assert (got["image"], got["width"], got["height"]) == ("example.png", width, height)
    faces = expected(image)
    assert len(got["faces"]) == len(faces) >= 3
    for face, other in zip(got["faces"], faces, strict=True):
        assert (face["name"], face["class"]) == (other["name"], other["class"])
        assert face["confidence"] == pytest.approx(other["confidence"], abs=0.01)
        assert face["box"] == pytest.approx(other["box"], abs=0.5)
    assert "Images stay on this device" in page.inner_text("#privacy")


@in_browser
def test_an_insecure_page_runs_the_model_too(visit, address):
    """Over plain HTTP from another machine there are no threads, no cache and no camera."""
    page = visit(address.replace("127.0.0.1", ELSEWHERE))
    assert page.evaluate("isSecureContext") is False
    upload(page, file())
    assert "with a mask" in facts(page)[0]
    assert {method for method, _ in page.sent} == {"GET"}
    page.get_by_role("button", name="Use the camera").click()
    expect(page.get_by_role("alert")).to_contain_text("https")


@in_browser
def test_nothing_is_needed_of_the_server_once_the_page_is_ready(page):
    page.context.set_offline(True)
    upload(page, file())
    assert facts(page)[0].startswith(f"{len(expected(IMAGE))} faces")


@in_browser
def test_several_images_and_one_that_fails(page):
    upload(page, file("a.png"), TEXT, file("b.png"))
    assert page.locator(".card h3").all_inner_texts() == ["b.png", "notes.txt", "a.png"]
    failed = page.locator(".card.failed")
    expect(failed).to_contain_text("cannot open the file as an image")
    each = len(expected(IMAGE))
    assert sum(counted(page)) == 2 * each
    expect(page.locator("#summary")).to_contain_text(f"2 images, {2 * each} faces")
    expect(page.locator("#summary")).to_contain_text("notes.txt failed")
    failed.get_by_role("button", name="Try again: notes.txt").click()
    expect(failed).to_contain_text("cannot open the file as an image")
    assert sum(counted(page)) == 2 * each
    failed.get_by_role("button", name="Remove: notes.txt").click()
    expect(page.locator(".card")).to_have_count(2)
    name, data = download(page, page.get_by_role("button", name="Save all as JSON"))
    assert name == "faces.json"
    assert [each["image"] for each in json.loads(data)] == ["b.png", "a.png"]
    page.get_by_role("button", name="Remove all").click()
    expect(page.locator("#results")).to_be_hidden()


@in_browser
def test_the_slider_changes_counts_and_boxes(page):
    upload(page, file())
    slider = page.get_by_role("slider", name="Minimum confidence")
    for key, conf in (("Home", 0.05), ("End", 0.95)):
        slider.press(key)
        faces = expected(IMAGE, conf)
        assert sum(counted(page)) == len(faces)
        expect(page.locator(".box")).to_have_count(len(faces))
        expect(page.locator(".card img")).to_have_attribute(
            "alt", re.compile(rf"{len(faces)} face")
        )
    expect(page.locator("#summary")).to_contain_text("1 image, ")


@in_browser
def test_an_annotated_image_has_its_size_and_boxes(page):
    upload(page, file())
    name, data = download(page, page.get_by_role("button", name="Save image: example.png"))
    drawn = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
    assert name == "example-faces.png"
    assert drawn.shape == IMAGE.shape
    changed = (drawn != IMAGE).any(axis=2)
    assert 0.005 < changed.mean() < 0.5
    for face in expected(IMAGE):
        box = face["box"]
        row = changed[round(box["y2"]) - 1 : round(box["y2"]) + 2]
        assert row[:, round(box["x1"]) + 2 : round(box["x2"]) - 2].any(axis=0).mean() > 0.9


@in_browser
def test_an_image_is_turned_by_its_orientation(page):
    exif = Image.Exif()
    exif[0x0112] = 6
    upload(page, file("turned.jpg", np.rot90(IMAGE), exif=exif, quality=95))
    assert re.search("400 . 267 px", facts(page)[0])
    assert int(facts(page)[0].split()[0]) >= 3


TRANSFER = """(files) => {
  const transfer = new DataTransfer();
  for (const [name, data] of files) {
    const bytes = Uint8Array.from(atob(data), (each) => each.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type: "image/png" }));
  }
  return transfer;
}"""
PASTE = "(t) => dispatchEvent(new ClipboardEvent('paste', { clipboardData: t }))"


@in_browser
def test_dropped_and_pasted_images(page):
    data = base64.b64encode(file()["buffer"]).decode()
    transfer = page.evaluate_handle(TRANSFER, [["dropped.png", data]])
    page.dispatch_event("#drop", "dragover", {"dataTransfer": transfer})
    expect(page.locator("#drop")).to_have_class("over")
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
    finished(page)
    page.evaluate(PASTE, page.evaluate_handle(TRANSFER, [["pasted.png", data]]))
    expect(page.locator(".card")).to_have_count(2)
    finished(page)
    assert page.locator(".card h3").all_inner_texts() == ["pasted.png", "dropped.png"]
    assert all("faces" in text for text in facts(page))
    page.evaluate(PASTE, page.evaluate_handle(TRANSFER, []))
    expect(page.get_by_role("alert")).to_contain_text("holds no image")


LOSE = "() => document.getElementById('video').srcObject.getVideoTracks()[0].dispatchEvent(new Event('ended'))"  # noqa: E501


@in_browser
def test_the_camera_is_watched_kept_and_lost(page):
    page.get_by_role("button", name="Use the camera").click()
    expect(page.locator("#camera-state")).to_contain_text("ms an image", timeout=WAIT)
    page.get_by_role("button", name="Keep this image").click()
    finished(page)
    assert page.locator(".card h3").inner_text().startswith("camera ")
    page.evaluate(LOSE)
    expect(page.get_by_role("alert")).to_contain_text("The camera was disconnected")
    expect(page.locator("#camera")).to_be_hidden()
    page.get_by_role("button", name="Use the camera").click()
    expect(page.get_by_role("alert")).to_be_hidden()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Use the camera")).to_be_focused()


@in_browser
def test_a_refused_camera_is_said(visit, address):
    refuse = (
        "navigator.mediaDevices.getUserMedia = "
        "() => Promise.reject(new DOMException('', 'NotAllowedError'))"
    )
    page = visit(address, script=refuse)
    page.get_by_role("button", name="Use the camera").click()
    expect(page.get_by_role("alert")).to_contain_text("does not allow the camera")


# The server instead


def test_without_the_files_the_server_on_this_machine_predicts(visit, without_files):
    page = visit(without_files)
    assert "server on this machine" in page.inner_text("#privacy")
    upload(page, file("a.png"))
    assert facts(page)[0].startswith(f"{len(expected(IMAGE))} faces")
    page.route("**/predict*", lambda route: route.abort())
    upload(page, file("b.png"))
    expect(page.locator(".failed")).to_contain_text("The server does not answer")
    page.unroute("**/predict*")
    page.get_by_role("button", name="Try again: b.png").click()
    finished(page)
    assert len({text.partition(" ·")[0] for text in facts(page)}) == 1
    upload(page, TEXT)
    expect(page.locator(".failed")).to_contain_text("The server refuses: not a readable image")


def test_images_leave_the_machine_only_with_consent(visit, without_files):
    page = visit(without_files.replace("127.0.0.1", ELSEWHERE))
    assert "after your consent" in page.inner_text("#privacy")
    page.set_input_files("#files", [file("a.png"), file("c.png"), file("d.png")])
    dialog = page.get_by_role("dialog", name="Send images to another machine?")
    expect(dialog).to_contain_text(ELSEWHERE)
    dialog.get_by_role("button", name="Do not send").click()
    # It is asked once, however many wait.
    expect(page.locator(".failed")).to_contain_text(3 * ["Not sent"])
    for name in ("c.png", "d.png"):
        page.get_by_role("button", name=f"Remove: {name}").click()
    page.get_by_role("button", name="Try again: a.png").click()
    page.keyboard.press("Escape")
    expect(page.locator(".failed")).to_contain_text("Not sent")
    assert {method for method, _ in page.sent} == {"GET"}
    page.get_by_role("button", name="Try again: a.png").click()
    dialog.get_by_role("button", name="Send to the server").click()
    finished(page)
    upload(page, file("b.png"))  # needs no further consent
    assert all("with a mask" in text for text in facts(page))
    assert [method for method, _ in page.sent].count("POST") == 2


def test_what_was_removed_is_not_sent(visit, without_files):
    page = visit(without_files)
    held = []
    page.route("**/predict*", lambda route: held.append(route))
    page.set_input_files("#files", [file("a.png"), file("b.png"), file("c.png")])
    expect(page.locator(".waiting")).to_have_count(3)
    while not held:
        page.wait_for_timeout(20)
    page.get_by_role("button", name="Remove all").click()
    page.set_input_files("#files", [file("d.png")])
    page.unroute("**/predict*")
    finished(page)
    assert [method for method, _ in page.sent].count("POST") == 2
    assert len(facts(page)) == 1


def test_without_webassembly_the_server_predicts(visit, address):
    page = visit(address, script="delete globalThis.WebAssembly")
    assert "no WebAssembly" in page.inner_text("#state")
    upload(page, file())
    assert "with a mask" in facts(page)[0]


def test_a_dead_server_is_said_and_tried_again(visit, address):
    page = visit(address, ready=False)
    page.route("**/health", lambda route: route.abort())
    page.reload()
    expect(page.get_by_role("status").first).to_contain_text("The server does not answer")
    page.unroute("**/health")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#state")).to_have_text(re.compile("^Ready"), timeout=WAIT)


# For everybody


@in_browser
def test_the_keyboard_alone_does_it_all(visit, address):
    page = visit(address)
    chosen = []
    page.on("filechooser", lambda chooser: chosen.append(chooser))
    for name in ("API", "Choose images"):
        page.keyboard.press("Tab")
        expect(page.locator(":focus")).to_have_text(name)
    page.keyboard.press("Enter")
    while not chosen:
        page.wait_for_timeout(20)
    chosen[0].set_files([file()])
    finished(page)
    before = sum(counted(page))
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        focus = page.locator(":focus")
        reached.append(focus.get_attribute("aria-label") or focus.inner_text() or "slider")
        if reached[-1] == "slider":
            page.keyboard.press("End")
            assert sum(counted(page)) < before
            page.keyboard.press("Home")
        if reached[-1].startswith("List of"):
            page.keyboard.press("Enter")
            expect(page.locator(".card li").first).to_be_visible()
    assert reached[:4] == ["Use the camera", "slider", "Save all as JSON", "Remove all"]
    assert reached[5:8] == [
        f"{verb}: example.png" for verb in ("Save image", "Save JSON", "Remove")
    ]
    page.keyboard.press("Enter")
    expect(page.locator("#results")).to_be_hidden()
    expect(page.get_by_role("button", name="Choose images")).to_be_focused()


@in_browser
def test_a_phone_shows_all_without_scrolling_sideways(visit, address):
    options = {"viewport": {"width": 320, "height": 640}, "has_touch": True, "is_mobile": True}
    page = visit(address, **options)
    upload(page, file("a_long_name_without_any_blank_that_would_not_fit_at_all.png"), TEXT)
    for path in ("", "docs"):
        if path:
            page.goto(f"{address}/{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        for button in page.get_by_role("button").all():
            assert button.bounding_box()["height"] >= 44


@in_browser
def test_everything_has_a_name(page):
    upload(page, file(), TEXT)
    tree = page.locator("body").aria_snapshot()
    roles = r"button|link|slider|img|heading|list|progressbar|region"
    named = re.findall(rf"^\s*- ({roles})\b(.*)$", tree, re.MULTILINE)
    assert len(named) > 10
    # The list of images is named by the heading before it.
    assert [role for role, rest in named if role != "list" and '"' not in rest] == []
    for name in ("Which faces wear a mask?", "Results"):
        assert f'heading "{name}"' in tree
    assert page.locator("html").get_attribute("lang") == "en"


def luminance(colour):
    digits = colour.lstrip("#")
    digits = "".join(2 * each for each in digits) if len(digits) == 3 else digits
    values = np.array([int(digits[at : at + 2], 16) for at in (0, 2, 4)]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def contrast(one, other):
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_its_ground(dark):
    style = (PAGE / "page.css").read_text()
    light, night = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#\w+);", light))
    if dark:
        colours |= dict(re.findall(r"--([\w-]+): (#\w+);", night))
    pairs = [("text", "ground"), ("text", "card"), ("soft", "card"), ("soft", "ground")]
    pairs += [("accent", "card"), ("accent", "tint"), ("accent", "ground"), ("text", "tint")]
    pairs += [("on-accent", "accent"), ("bad", "card"), ("bad", "bad-ground")]
    for one, other in pairs:
        assert contrast(colours[one], colours[other]) >= 4.5, (one, other)
    assert contrast(colours["field"], colours["card"]) >= 3
    for name in runtime.class_names():
        assert contrast(colours[name], "#fff") >= 4.5
        assert colours[name] in (PAGE / "faces.js").read_text()


def test_files_of_the_page_are_short_and_its_own():
    for path in PAGE.iterdir():
        if path.suffix in (".js", ".css", ".html"):
            lines = path.read_text().splitlines()
            assert len(lines) <= 350
            assert max(map(len, lines)) <= 120
    assert "/facemask/server/page/ort/" in (ROOT / ".gitignore").read_text()
