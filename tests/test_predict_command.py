"""`facemask predict`: what it prints and writes, and what it answers to wrong inputs."""

import fcntl
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from predict_toys import (
    EXAMPLE,
    ROOT,
    example,
    png_of,
    predict,
    process,
    refused,
    write_video,
)

import facemask
from facemask.data import annotations, images
from facemask.data.decode import read_rgb
from facemask.inference.runtime import as_records
from facemask.predict import video

CLASSES = {"with_mask": "with_mask", "without_mask": "without_mask"}
CLASSES |= {"mask_weared_incorrect": "with_mask"}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty folder to work in."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def files(folder="."):
    found = (path for path in Path(folder).rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def lossless(name="a.png"):
    cv2.imwrite(name, example()[..., ::-1])
    return Path(name)


# What is printed


def test_an_image_gives_a_line_and_a_copy():
    done = predict(EXAMPLE)
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"{EXAMPLE}: 400 x 267, ")
    assert " faces: " in line
    assert "with mask" in line
    assert "images a second; files in runs/predict/1" in done.stderr
    assert files() == ["runs/predict/1/example.jpg", "runs/predict/1/predictions.jsonl"]


def test_json_is_what_detect_returns_and_is_kept():
    done = predict(EXAMPLE, "--json", "--conf", "0.4", "--size", "512")
    found = facemask.detect(example(), conf=0.4, size=512)
    assert len(found.xyxy) >= 3
    (record,) = done.records
    assert record == {
        "image": str(EXAMPLE),
        "width": 400,
        "height": 267,
        "faces": as_records(found, facemask.class_names()),
    }
    assert Path("runs/predict/1/predictions.jsonl").read_text() == done.stdout


def test_tiles_are_predicted_on_too():
    (record,) = predict(EXAMPLE, "--json", "--tiles", "200", "--no-save").records
    found = facemask.detect(example(), tiles=200)
    assert record["faces"] == as_records(found, facemask.class_names())


def test_an_image_is_seen_at_two_sizes():
    (record,) = predict(EXAMPLE, "--json", "--multi-scale", "--no-save").records
    found, plain = facemask.detect(example(), multi_scale=True), facemask.detect(example())
    assert record["faces"] == as_records(found, facemask.class_names())
    boxes, others = (each.xyxy[np.argsort(each.xyxy[:, 0])] for each in (found, plain))
    assert 3 <= len(boxes) == len(others)
    assert 0 < np.abs(boxes - others).max() < 10


def test_lines_have_the_order_of_the_sources():
    names = ["c.png", "a.png", "d.png", "b.png"]
    for name, side in zip(names, (900, 20, 500, 30), strict=True):
        cv2.imwrite(name, np.full((side, side, 3), 90, np.uint8))
    done = predict(*names, "--json")
    assert [record["image"] for record in done.records] == names
    assert [record["width"] for record in done.records] == [900, 20, 500, 30]
    assert [record["faces"] for record in done.records] == [[]] * 4


def test_of_an_animation_the_first_frame_is_taken_and_it_is_said():
    frames = [Image.new("RGB", (60, 40), (shade, 90, 90)) for shade in (0, 200)]
    frames[0].save("a.gif", save_all=True, append_images=frames[1:])
    done = predict("a.gif")
    assert "a.gif: has further frames" in done.stderr
    assert files("runs/predict/1") == ["a.png", "predictions.jsonl"]


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA", "I;16"])
def test_images_of_all_kinds_are_read(mode):
    if mode == "I;16":
        cv2.imwrite("a.png", example()[..., 0].astype(np.uint16) << 8)
    else:
        name = "a.jpg" if mode == "CMYK" else "a.png"
        Image.fromarray(example()).convert(mode).save(name)
    (record,) = predict(*Path().glob("a.*"), "--json").records
    assert (record["width"], record["height"]) == (400, 267)
    assert len(record["faces"]) >= 2


def test_an_image_is_predicted_on_as_it_is_shown_and_no_metadata_is_copied():
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a secret place"
    Image.fromarray(np.rot90(example()).copy()).save("a.jpg", exif=exif, comment=b"a secret")
    (record,) = predict("a.jpg", "--json", "--blur").records
    assert (record["width"], record["height"]) == (400, 267)
    copy = Path("runs/predict/1/a.jpg")
    assert read_rgb(copy).shape == (267, 400, 3)
    assert b"secret" not in copy.read_bytes()
    assert not Image.open(copy).getexif()


# What is written


def near(found, shape, outside):
    """Where an image may be drawn on: within some px of a face."""
    mask = np.zeros(shape[:2], bool)
    for x0, y0, x1, y1 in found.xyxy:
        rows = slice(max(int(y0) - outside, 0), int(y1) + outside + 1)
        mask[rows, max(int(x0) - outside, 0) : int(x1) + outside + 1] = True
    return mask


def test_the_copy_differs_from_the_image_near_its_faces_alone():
    path = lossless()
    predict(path, "--conf", "0.5")
    copy = read_rgb(Path("runs/predict/1/a.png"))
    changed = (copy != example()).any(axis=2)
    found = facemask.detect(example(), conf=0.5)
    assert changed.any()
    # A label is as wide as two and a half faces, or as some small text.
    assert not (changed & ~near(found, copy.shape, 70)).any()
    for box in found.xyxy.round().astype(int):
        centre = copy[box[1] + 5 : box[3] - 5, box[0] + 5 : box[2] - 5]
        original = example()[box[1] + 5 : box[3] - 5, box[0] + 5 : box[2] - 5]
        assert (centre == original).mean() > 0.5  # the face itself stays visible


def test_a_blurred_face_has_no_details_and_the_rest_stays():
    path = lossless()
    predict(path, "--blur")
    copy, found = read_rgb(Path("runs/predict/1/a.png")), facemask.detect(example())
    assert len(found.xyxy) >= 3
    details = [
        [cv2.Laplacian(image[y0:y1, x0:x1].astype(np.float32), cv2.CV_32F).std() for image in pair]
        for pair in [(example(), copy)]
        for x0, y0, x1, y1 in found.xyxy.round().astype(int)
    ]
    for before, after in details:
        assert after < before / 5
    assert not ((copy != example()).any(axis=2) & ~near(found, copy.shape, 12)).any()


def test_faces_are_cut_out():
    path = lossless()
    (record,) = predict(path, "--crop", "--json").records
    crops = files("runs/predict/1/crops")
    assert crops == sorted(f"a_{n}.png" for n in range(1, len(record["faces"]) + 1))
    box = record["faces"][0]["box"]
    face = read_rgb(Path("runs/predict/1/crops/a_1.png"))
    x0, y0 = int(box["x1"]), int(box["y1"])
    height, width = face.shape[:2]
    assert abs(width - (box["x2"] - box["x1"])) < 2
    np.testing.assert_array_equal(face, example()[y0 : y0 + height, x0 : x0 + width])


def test_annotations_are_read_back_by_the_project():
    path = lossless()
    (record,) = predict(path, "--voc", "--json").records
    (xml,) = Path("runs/predict/1/annotations").iterdir()
    inventory, issues = images.inventory([path], 1, Path("small.npy"))
    table, validation = annotations.parse([xml], inventory, CLASSES, issues)
    assert validation["issues"] == []
    boxes = [[face["box"][key] for key in ("x1", "y1", "x2", "y2")] for face in record["faces"]]
    corners = table[["xmin", "ymin", "xmax", "ymax"]].to_numpy() + np.array([0, 0, 1, 1])
    np.testing.assert_allclose(corners, boxes, atol=0.51)
    assert table["name"].tolist() == [face["name"] for face in record["faces"]]


def test_an_image_without_faces_gets_an_annotation_too():
    cv2.imwrite("grey.png", np.full((50, 60, 3), 90, np.uint8))
    predict("grey.png", "--voc")
    paths = [Path("grey.png"), lossless("b.png")]
    inventory, issues = images.inventory(paths, 1, Path("small.npy"))
    predict("b.png", "--voc")
    xml = [Path("runs/predict/1/annotations/grey.xml"), Path("runs/predict/2/annotations/b.xml")]
    _, validation = annotations.parse(xml, inventory, CLASSES, issues)
    assert [issue["message"] for issue in validation["issues"]] == ["no face is annotated"]


def test_every_run_has_a_new_folder_and_nothing_is_overwritten():
    Path("runs/predict/7").mkdir(parents=True)
    Path("runs/predict/7/example.jpg").write_text("mine")
    Path("runs/predict/notes").mkdir()
    for _ in range(2):
        predict(EXAMPLE)
    assert Path("runs/predict/7/example.jpg").read_text() == "mine"
    assert (
        files("runs/predict/8") == files("runs/predict/9") == ["example.jpg", "predictions.jsonl"]
    )


def test_a_folder_may_be_chosen():
    predict(EXAMPLE, "--to", "out/mine")
    assert files() == ["out/mine/example.jpg", "out/mine/predictions.jsonl"]
    predict(EXAMPLE, "--to", "out/mine")
    assert files("out/mine/1") == ["example.jpg", "predictions.jsonl"]


def test_without_files_none_is_written():
    predict(EXAMPLE, "--no-save")
    assert files() == []


def test_images_of_one_name_get_copies_of_two():
    for name in ("x/a.png", "y/A.png", "y/a_2.png"):
        Path(name).parent.mkdir(exist_ok=True)
        lossless(name)
    shutil.copy("x/a.png", "x/a.jpg")  # its suffix lies
    predict("x/a.png", "x/a.jpg", "y", "--conf", "1")
    assert files("runs/predict/1") == [
        "A_3.png", "a.png", "a_2.png", "a_2_2.png", "predictions.jsonl",
    ]  # fmt: skip


def test_a_file_name_leads_nowhere_and_breaks_no_line():
    names = ["x\\..\\..\\evil.png", "a\nb.png", "c\x1b[31m.png", "-rf.png", "x" * 240 + ".png"]
    Path("images").mkdir()
    for name in names:
        lossless("plain.png").rename(Path("images") / name)
    lossless("plain.png").rename(os.fsdecode(b"images/\xff.png"))
    done = predict("images", "--crop", "--conf", "0.5")
    assert len(done.stdout.splitlines()) == len(names) + 1
    assert "\x1b" not in done.stdout
    outside = [name for name in files() if not name.startswith(("runs/predict/1/", "images/"))]
    assert outside == []
    for name in files("runs/predict/1"):
        assert name.isprintable()
        assert "\\" not in name
    lines = Path("runs/predict/1/predictions.jsonl").read_text("ascii").splitlines()
    assert len([json.loads(line) for line in lines]) == len(names) + 1


def test_an_earlier_run_inside_a_folder_is_passed_over():
    lossless()
    predict(".")
    done = predict(".")
    assert done.stdout.count("\n") == 1
    assert "runs/predict/1 holds predictions of an earlier run" in done.stderr


# Wrong inputs that are refused before work starts


def wrong_sources():
    Path("empty").mkdir()
    Path("texts").mkdir()
    Path("texts/a.txt").write_text("a")
    Path("texts/b.heic").write_text("b")
    Path("taken").write_text("a file")
    Path("bad.onnx").write_bytes(b"no model")
    Path("bad.keras").write_bytes(b"no model")
    Path("net").mkdir()
    Path("x").mkdir()
    for name in ("one.png", "x/one.jpg", "x/ONE.bmp"):
        cv2.imwrite(name, np.zeros((9, 9, 3), np.uint8))
    os.mkfifo("pipe.jpg")
    write_video("clip.mp4", [np.zeros((32, 32, 3), np.uint8)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.jpg"], "there is no missing.jpg"),
        (["on.png"], "did you mean 'one.png'?"),
        (["one.png/a.jpg"], "there is no one.png/a.jpg"),
        (["x" * 300], "File name too long"),
        ([""], "a SOURCE is empty"),
        (["empty"], "empty holds no images"),
        (["texts"], "files skipped: 1 HEIC; convert"),
        (["*.nothing"], "nothing matches *.nothing"),
        (["texts/*.txt"], "texts/*.txt matches no images"),
        (["pipe.jpg"], "pipe.jpg is neither a file nor a folder"),
        (["63"], "webcam 63 cannot be opened"),
        (["1e3"], "there is no 1e3"),
        (["0", "one.png"], "give its number alone"),
        (["http://localhost/a.jpg"], "add --allow-download"),
        (["file:///etc/passwd", "--allow-download"], "file: is not read"),
        (["rtsp://localhost/a", "--allow-download"], "rtsp: is not read"),
        (["http:///a.jpg", "--allow-download"], "not a usable address"),
        (["http://[::1/a.jpg", "--allow-download"], "not a usable address"),
        (["http://[::1/a.jpg"], "is an address: add --allow-download"),
        (["http://me:pw@localhost/a.jpg", "--allow-download"], "without a user's name"),
        (["http://localhost:99999/a.jpg", "--allow-download"], "not a usable address"),
        (["http://localhost/a.mp4", "--allow-download"], "videos are not downloaded"),
        (["one.png", "--conf", "nan"], "conf is nan, and a confidence is a number from 0 to 1"),
        (["one.png", "--conf", "1.01"], "conf is 1.01"),
        (["one.png", "--conf", "-inf"], "conf is -inf"),
        (["one.png", "--size", "0"], "size is 0; give a whole number, 32 to 4096 px"),
        (["one.png", "--size", "-640"], "size is -640"),
        (["one.png", "--tiles", "1"], "tiles is 1"),
        (["one.png", "--to", "taken"], "taken is not a folder"),
        (["one.png", "--to", "taken/deep/er"], "give another with --to"),
        (["one.png", "--to", "/proc/none"], "give another folder with --to"),
        (["one.png", "--to", "out", "--no-save"], "--to writes files, and --no-save none"),
        (["one.png", "--voc", "--no-save"], "--voc writes files"),
        (["one.png", "--crop", "--blur"], "choose one of them"),
        (["one.png", "x", "--voc"], "one.png, x/ONE.bmp, x/one.jpg"),
        (["one.png", "clip.mp4", "--voc"], "clip.mp4 is not an image file"),
        (["one.png", "--show"], "opencv-python"),
        (["one.png", "--model", "none.onnx"], "there is no such model"),
        (["one.png", "--model", "bad.onnx"], "no detector of this project"),
        (["one.png", "--model", "bad.keras"], "give the folder it lies in"),
        (["one.png", "--model", "net"], "net holds no trained network"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_before_work_starts(arguments, message):
    wrong_sources()
    before = files()
    assert message in refused(*arguments)
    assert files() == before


@pytest.mark.parametrize("options", [["--conf", "high"], ["--size", "6.5"], ["--nonsense"]])
def test_what_is_no_option_is_a_wrong_use(options):
    assert predict(EXAMPLE, *options, code=2).stdout == ""


# Broken files, which are skipped


def broken_files():
    whole = EXAMPLE.read_bytes()
    cv2.imwrite("noise.png", np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8))
    png = Path("noise.png").read_bytes()
    Path("noise.png").unlink()
    return {
        "truncated.jpg": (whole[: len(whole) // 2], "not a readable image"),
        "truncated.png": (png[: len(png) // 2], "not a readable image"),
        "text.jpg": (b"hello", "not a readable image"),
        "zero.jpg": (b"", "not a readable image"),
        "page.png": (b"<html>404</html>", "not a readable image"),
        "bomb.png": (png_of(60_000, 60_000), "60000 x 60000 pixels are more than"),
        "lying.png": (png_of(500, 500), "not a readable image"),
        "phone.jpg": (b"\0\0\0\x18ftypheic", "is a HEIC image"),
        "archive.jpg": (b"PK\x03\x04" + bytes(99), "not a readable image"),
        "text.mp4": (b"hello, I am no video", "not a readable video"),
        "playlist.mp4": (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "not a readable video"),
        "half.mp4": (b"\0\0\0\x1cftypisom" + bytes(200), "not a readable video"),
    }


def test_broken_files_are_named_and_skipped():
    broken = broken_files()
    for name, (content, _) in broken.items():
        Path(name).write_bytes(content)
    good = lossless("good.png")
    shutil.copy(good, "also_good.png")
    done = predict(good, *broken, "also_good.png", good, code=1)
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [
        "good.png", "also_good.png", "good.png",
    ]  # fmt: skip
    for name, (_, message) in broken.items():
        (line,) = [line for line in done.stderr.splitlines() if f" {name}: " in line]
        assert message in line
    assert f"{len(broken)} files skipped" in done.stderr
    assert "Traceback" not in done.stderr
    assert {"good.png", "good_2.png", "also_good.png"} <= {*files("runs/predict/1")}
    assert not [name for name in files("runs/predict/1") if name.endswith(".mp4")]


def on_a_terminal(*arguments):
    """The exit code, the lines that stay on a terminal, and all that was drawn on it."""
    reader, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    command = [sys.executable, "-m", "facemask", "predict", *arguments]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(command, stdout=terminal, stderr=terminal, env=environment) as running:
        os.close(terminal)
        drawn = b"".join(iter(partial(read_terminal, reader), b"")).decode()
    os.close(reader)
    # A return goes to the beginning of the line, which the next text overwrites.
    lines = [line.split("\r")[-1].rstrip() for line in drawn.replace("\r\n", "\n").split("\n")]
    return running.returncode, [line for line in lines if line], drawn


def read_terminal(reader):
    try:
        return os.read(reader, 4096)
    except OSError:  # nobody writes to it any more
        return b""


def test_a_terminal_shows_progress_below_the_lines():
    for name in ("a.jpg", "c.jpg"):
        shutil.copy(EXAMPLE, name)
    Path("b.jpg").write_text("no image")
    code, (first, broken, last, bar, summary), drawn = on_a_terminal(".", "--no-save")
    assert code == 1
    assert first.startswith("a.jpg: 400 x 267, 6 faces")
    assert broken.startswith("facemask: b.jpg: not a readable image")
    assert last.startswith("c.jpg: 400 x 267, 6 faces")
    assert bar.startswith("100%")
    assert "3/3" in bar
    assert summary.startswith("2 images, 12 faces")
    assert "0/3" in drawn


def test_one_image_needs_no_bar():
    _, (line, _), drawn = on_a_terminal(str(EXAMPLE), "--no-save")
    assert "6 faces" in line
    assert "%" not in drawn


def test_an_image_of_a_hundred_million_pixels_is_predicted_on():
    cv2.imwrite("a.png", np.zeros((10_000, 10_000), np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert predict("a.png", "--no-save").stdout == "a.png: 10000 x 10000, 0 faces\n"


def test_of_huge_images_three_are_held():
    sides = 2000, 4000
    for side in sides:
        Path(str(side)).mkdir()
        cv2.imwrite(f"{side}/0.png", np.zeros((side, side), np.uint8))
        for number in range(1, 6):
            shutil.copy(f"{side}/0.png", f"{side}/{number}.png")
    small, large = (peak_memory(str(side)) for side in sides)
    # Whatever the network takes, it takes of both.
    assert (large - small) / 3 / (4000**2 - 2000**2) < 3.3


def peak_memory(source):
    """The most bytes that a process held that predicted on a source."""
    code = (
        "import resource\n"
        "from facemask.cli import app\n"
        "from facemask.predict import ahead\n"
        "ahead.PIXELS = 3_000_000\n"
        f"try:\n    app(['predict', {source!r}])\n"
        "finally:\n    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(done.stdout.splitlines()[-1])


# Videos, webcams, interruptions


def test_a_video_is_predicted_frame_by_frame():
    images = [example()[:266], np.full((266, 400, 3), 90, np.uint8), example()[:266, ::-1]]
    write_video("clip.mp4", images)
    done = predict("clip.mp4", "--json")
    assert [(each["frame"], each["seconds"]) for each in done.records] == [
        (0, 0.0), (1, 0.1), (2, 0.2),
    ]  # fmt: skip
    counts = [len(each["faces"]) for each in done.records]
    assert counts[1] == 0
    assert min(counts[0], counts[2]) >= 2
    with video.open_file(Path("runs/predict/1/clip.mp4")) as (capture, about):
        assert (about.width, about.height, about.rate, about.frames) == (400, 266, 10, 3)
        drawn = capture.read()[1]
    assert np.abs(drawn[..., ::-1].astype(int) - images[0]).max() > 100
    assert predict("clip.mp4", "--no-save").stdout.startswith("clip.mp4, frame 0, 0.00 s: 400 x 26")


def test_a_webcam_is_predicted_on_until_it_ends(monkeypatch):
    left = [example()[..., ::-1]] * 40

    class Camera:
        def read(self):
            time.sleep(0.01)
            return (True, left.pop()) if left else (False, None)

    @contextmanager
    def opened(number):
        assert number == 0
        yield Camera()

    monkeypatch.setattr(video, "open_webcam", opened)
    done = predict("0", "--json", code=1)
    numbers = [each["frame"] for each in done.records]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 39
    assert done.records[0]["image"] == "0"
    dropped = 40 - len(numbers)
    assert dropped > 0
    assert f"webcam 0: {dropped} of 40 frames were dropped" in done.stderr
    assert "gives no more frames" in done.stderr
    with video.open_file(Path("runs/predict/1/webcam_0.mp4")) as (_, about):
        # Ten a second; the seconds are rounded.
        assert abs(about.frames - 1 - done.records[-1]["seconds"] * 10) <= 1


def test_an_interruption_leaves_whole_files():
    Path("images").mkdir()
    for number in range(60):
        shutil.copy(EXAMPLE, f"images/{number:02}.jpg")
    running = process("images", "--crop")
    for _ in range(4):
        assert running.stdout.readline()
    running.send_signal(signal.SIGINT)
    rest, stderr = running.communicate(timeout=60)
    assert running.returncode == 130, stderr
    assert "interrupted" in stderr
    assert "Traceback" not in stderr
    lines = Path("runs/predict/1/predictions.jsonl").read_text().splitlines()
    assert 4 <= len(lines) < 60
    assert abs(len(lines) - 4 - len(rest.splitlines())) <= 1
    for line in lines:
        json.loads(line)
    copies = list(Path("runs").rglob("*.jpg"))
    assert len(copies) > 4
    for path in copies:
        assert not path.name.startswith(".")
        read_rgb(path)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_video_is_whole(how):
    write_video("clip.mp4", [example()] * 60)
    running = process("clip.mp4")
    for _ in range(3):
        assert running.stdout.readline()
    running.send_signal(how)
    _, stderr = running.communicate(timeout=60)
    assert running.returncode == 130, stderr
    lines = Path("runs/predict/1/predictions.jsonl").read_text().splitlines()
    with video.open_file(Path("runs/predict/1/clip.mp4")) as (_, about):
        assert 3 <= len(lines) < 60
        assert len(lines) - 1 <= about.frames <= len(lines)


def test_who_has_enough_of_the_lines_may_go():
    Path("images").mkdir()
    for number in range(6):
        shutil.copy(EXAMPLE, f"images/{number}.jpg")
    running = process("images", "--no-save")
    running.stdout.readline()
    running.stdout.close()
    assert "Traceback" not in running.stderr.read()
    running.stderr.close()
    assert running.wait(60) == 1


def test_starting_loads_nothing_that_takes_long():
    heavy = {"pandas", "tensorflow", "keras", "matplotlib", "scipy", "lxml", "fastapi"}
    code = (
        "import sys\n"
        "from facemask.cli import app\n"
        f"try:\n    app(['predict', {str(EXAMPLE)!r}, '--voc', '--crop'])\n"
        f"finally:\n    print(sorted({heavy} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_help_names_the_options():
    text = predict("--help").stdout
    for option in ("SOURCE", "--json", "--voc", "--blur", "--crop", "--allow-download", "--model"):
        assert option in text


def test_tables_read_the_lines():
    predict(EXAMPLE, EXAMPLE)
    table = pd.read_json("runs/predict/1/predictions.jsonl", lines=True)
    assert table["width"].tolist() == [400, 400]
