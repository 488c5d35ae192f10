"""Names and contents of the files that predict writes."""

import cv2
import numpy as np
import pytest
from lxml import etree

from facemask.data import voc
from facemask.data.decode import decode
from facemask.errors import InputError
from facemask.inference.detect import Detections
from facemask.predict import outputs
from facemask.predict.sources import Item


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("a b ü.jpg", "a b ü.jpg"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..", "image"),
        (".hidden", "hidden"),
        ("C:\\a|b?.png", "C__a_b_.png"),
        ("a\n\x1b\udcff.png", "a___.png"),
        ("a. .", "a"),
        ("", "image"),
    ],
)
def test_a_name_is_cleaned(name, cleaned):
    assert outputs.clean(name) == cleaned


@pytest.mark.parametrize(
    ("name", "kind", "copy"),
    [
        ("a.JPEG", "JPEG", "a.JPEG"), ("a.png", "JPEG", "a.jpg"), ("a.webp", "WEBP", "a.webp"),
        ("a.bmp", "BMP", "a.bmp"), ("a.tiff", "TIFF", "a.png"), ("a.gif", "GIF", "a.png"),
        ("a", "AVIF", "a.png"), ("a.b.c", "PNG", "a.b.png"), ("", "JPEG", "image.jpg"),
    ],
)  # fmt: skip
def test_a_copy_keeps_the_usual_formats(name, kind, copy):
    assert outputs.copy_name(name, kind, {}) == copy


def test_names_that_are_one_somewhere_are_numbered():
    taken = {}
    names = [outputs.free(stem, ".png", taken) for stem in ("a", "A", "a_2", "é", "e\u0301", "b")]
    assert names == ["a.png", "A_2.png", "a_2_2.png", "é.png", "e\u0301_2.png", "b.png"]
    for letter in "x口":
        long = [outputs.free(letter * 300, ".jpg", taken) for _ in range(2)]
        assert len(set(long)) == 2
        assert max(len(name.encode()) for name in long) < 220


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".JPEG"])
def test_an_image_is_written_in_the_format_of_its_name(tmp_path, suffix):
    image = cv2.resize(np.arange(27, dtype=np.uint8).reshape(3, 3, 3) * 9, (60, 40))
    outputs.write_image(image, tmp_path / f"a{suffix}")
    decoded = decode((tmp_path / f"a{suffix}").read_bytes())
    assert decoded.format == {".jpg": "JPEG", ".JPEG": "JPEG"}.get(suffix, suffix[1:].upper())
    assert np.abs(decoded.image.astype(int) - image).max() < (30 if suffix != ".png" else 1)


def test_folders_are_numbered_and_never_taken_twice(tmp_path):
    assert [outputs.new_folder(tmp_path).name for _ in range(3)] == ["1", "2", "3"]
    assert outputs.new_folder(tmp_path / "new/one") == tmp_path / "new/one"
    assert outputs.new_folder(tmp_path / "new/one") == tmp_path / "new/one/1"


@pytest.mark.parametrize("taken", ["file", "link"])
def test_what_is_no_folder_is_reported(tmp_path, taken):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match=f"{taken} is not a folder"):
        outputs.new_folder(tmp_path / taken)


def faces(*boxes):
    count = len(boxes)
    return Detections(np.array(boxes, float), np.ones(count), np.arange(count), np.ones((count, 2)))


def test_an_annotation_is_well_formed_whatever_the_names(tmp_path):
    text = outputs.voc_text('<a>&"\n\x00\udcff.jpg', (9, 7), faces([0, 0, 9, 7]), ("x<y&z",))
    outputs.write_voc(text, "deep/a.b.jpg", tmp_path)
    read = voc.read(tmp_path / "a.b.xml")
    assert read.filename == '<a>&"___.jpg'
    assert read.size == ("9", "7")
    assert [each.name for each in read.objects] == ["x<y&z"]
    assert [*read.objects[0].corners.values()] == ["0", "0", "8", "6"]
    assert etree.fromstring(text.encode()).findtext("size/depth") == "3"


def test_boxes_stay_in_the_image_and_none_comes_twice():
    boxes = [[-3, -3, 4.4, 4.6], [8.6, 6.4, 20, 20], [-3, -3, 4.4, 4.6], [3.2, 3.2, 3.3, 3.3]]
    text = outputs.voc_text("a.jpg", (9, 7), faces(*boxes), ("a", "b", "c", "d"))
    found = [
        [int(each.text) for each in box] for box in etree.fromstring(text.encode()).iter("bndbox")
    ]
    assert found == [[0, 0, 3, 4], [8, 6, 8, 6], [3, 3, 3, 3]]


def test_annotations_of_one_name_are_refused_all_at_once():
    items = [
        Item("image", name) for name in ("a/x.jpg", "b/x.png", "a/y.jpg", "é.jpg", "e\u0301.png")
    ]
    with pytest.raises(InputError, match=r"a/x.jpg, b/x.png\n.*é.jpg, e\u0301.png"):
        outputs.check_voc(items)
    outputs.check_voc(items[2:4])


def test_a_name_that_is_too_long_for_an_annotation_is_refused(tmp_path):
    longest = outputs.LONGEST_VOC * "x"
    outputs.check_voc([Item("image", f"{longest}.jpg")])
    outputs.write_voc("text", f"{longest}.jpg", tmp_path)
    with pytest.raises(InputError, match="too long for one: rename it"):
        outputs.check_voc([Item("image", f"{longest}x.jpg")])


@pytest.mark.parametrize(
    ("text", "line"), [("a ü", "a ü"), ("a\nb\x1b\t", "a\\nb\\x1b\\t"), ("\udcff", "\\udcff")]
)
def test_text_stays_on_its_line(text, line):
    assert outputs.shown(text) == line


def test_a_full_disk_is_reported_with_a_remedy():
    message = str(outputs.failed(OSError(28, "No space left on device", "a.jpg")))
    assert message.startswith("a.jpg: No space left on device. Free some space there, or choose")
