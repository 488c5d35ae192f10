"""Pascal-VOC files: what is read, what is clipped and counted, and how each issue is reported."""

from pathlib import Path

import pandas as pd
import pytest

from facemask.data import annotations
from facemask.data.issues import Issue

CLASSES = {
    "with_mask": "with_mask",
    "without_mask": "without_mask",
    "mask_weared_incorrect": "with_mask",
}
GOOD = ("with_mask", 10, 8, 30, 31)


@pytest.fixture
def read(tmp_path, voc_text):
    """A function that writes one file a stem and parses them beside images of 96 x 64 px.

    A file is a list of objects or the text itself; `images` are the images' names if they
    are not the stems' own.
    """

    def parse(files, classes=CLASSES, images=None, size=(96, 64)):
        paths = []
        for stem, what in files.items():
            text = what if isinstance(what, (str, bytes)) else voc_text(f"{stem}.png", *size, what)
            paths.append(tmp_path / f"{stem}.xml")
            paths[-1].write_bytes(text if isinstance(text, bytes) else text.encode())
        images = [f"{stem}.png" for stem in files] if images is None else images
        inventory = pd.DataFrame({"image": images, "width": 96, "height": 64})
        return annotations.parse(paths, inventory, classes)

    return parse


@pytest.fixture
def refused(read):
    """As `read`, for what must not be read: returns all that is reported of it, a line an issue."""

    def parse(*arguments, **options):
        _, validation = read(*arguments, **options)
        found = [Issue(**row) for row in validation["issues"]]
        assert found
        assert {issue.severity for issue in found} == {"error"}
        return "\n".join(map(str, found))

    return parse


def test_rows_are_the_objects_as_written(read):
    files = {
        "b": [GOOD, ("without_mask", 0, 0, 0, 0), ("mask_weared_incorrect", 90, 60, 95, 63)],
        "a": [("without_mask", 5, 6, 7, 8)],
        "c": [],
    }
    faces, validation = read(files)
    expected = pd.DataFrame(
        [
            ("a.png", 0, 96, 64, "without_mask", 0, 5, 6, 7, 8),
            ("b.png", 0, 96, 64, "with_mask", 1, 10, 8, 30, 31),
            ("b.png", 1, 96, 64, "without_mask", 0, 0, 0, 0, 0),
            ("b.png", 2, 96, 64, "mask_weared_incorrect", 1, 90, 60, 95, 63),
        ],
        columns=[
            "image",
            "face",
            "width",
            "height",
            "name",
            "label",
            "xmin",
            "ymin",
            "xmax",
            "ymax",
        ],
    )
    pd.testing.assert_frame_equal(faces, expected, check_dtype=False)
    assert validation == {
        "images": 3,
        "faces": 4,
        "classes": {"mask_weared_incorrect": 1, "with_mask": 1, "without_mask": 2},
        "faces_of_dropped_classes": 0,
        "boxes_on_the_edge": 0,
        "boxes_overflowing": 0,
        "left_out": [],
        "severities": {"error": 0, "repaired": 0, "warning": 2},
        "issues": [
            {
                "file": "b.xml",
                "object": 1,
                "severity": "warning",
                "message": "box (0, 0, 0, 0) is a line or a point, one pixel wide or high",
            },
            {
                "file": "c.xml",
                "object": None,
                "severity": "warning",
                "message": "no face is annotated",
            },
        ],
    }


# The image has 96 x 64 px: its last pixel is (95, 63).
@pytest.mark.parametrize(
    ("box", "clipped", "edge", "overflowing"),
    [
        ((80, 50, 95, 63), (80, 50, 95, 63), 0, 0),
        ((80, 50, 96, 60), (80, 50, 95, 60), 1, 0),  # xmax = width
        ((80, 50, 90, 64), (80, 50, 90, 63), 1, 0),  # ymax = height
        ((80, 50, 97, 60), (80, 50, 95, 60), 0, 1),  # xmax = width + 1: one pixel too far
        ((80, 50, 90, 65), (80, 50, 90, 63), 0, 1),
        ((80, 50, 97, 64), (80, 50, 95, 63), 0, 1),  # one box counts once
        ((-1, 3, 7, 9), (0, 3, 7, 9), 0, 1),
        ((4, -1, 7, 9), (4, 0, 7, 9), 0, 1),
        ((-9, -9, 200, 200), (0, 0, 95, 63), 0, 1),
    ],
)
def test_boxes_over_the_edge_are_clipped_and_counted(read, box, clipped, edge, overflowing):
    faces, validation = read({"a": [GOOD, ("without_mask", *box)]})
    corners = ["xmin", "ymin", "xmax", "ymax"]
    assert tuple(faces.loc[1, corners]) == clipped
    assert tuple(faces.loc[0, corners]) == GOOD[1:]
    assert validation["boxes_on_the_edge"] == edge
    assert validation["boxes_overflowing"] == overflowing == len(validation["issues"])
    for row in validation["issues"]:
        # Told as written in the file, so that it can be found there.
        assert (row["file"], row["object"], row["severity"]) == ("a.xml", 1, "repaired")
        assert f"box {box} reaches out" in row["message"]


# Pixel (96, 64) would be the first beyond the corner.
@pytest.mark.parametrize(
    "box",
    [
        (-9, 3, -1, 9),
        (3, -9, 9, -1),
        (97, 3, 120, 9),
        (96, 3, 120, 9),
        (3, 65, 9, 80),
        (3, 64, 9, 80),
    ],
)
def test_a_box_wholly_outside_is_a_defect(refused, box):
    message = refused({"a": [GOOD, ("with_mask", *box)]})
    assert "a.xml" in message
    assert "object 1" in message
    assert str(box) in message
    assert "96 x 64" in message


def test_a_class_mapped_to_none_is_dropped_and_counted(read):
    files = {"a": [GOOD, ("mask_weared_incorrect", 1, 2, 3, 4), ("without_mask", 5, 6, 7, 8)]}
    faces, validation = read(files, {**CLASSES, "mask_weared_incorrect": None})
    # A face keeps its number in the file.
    assert faces[["face", "name", "label"]].to_numpy().tolist() == [
        [0, "with_mask", 1],
        [2, "without_mask", 0],
    ]
    assert validation["faces"] == 3
    assert validation["faces_of_dropped_classes"] == 1
    assert validation["classes"]["mask_weared_incorrect"] == 1


def test_classes_are_what_the_map_says(read):
    files = {"a": [("chin", 1, 1, 5, 5), ("full", 6, 6, 9, 9)]}
    faces, _ = read(files, {"chin": "without_mask", "full": "with_mask"})
    assert list(faces["label"]) == [0, 1]


@pytest.mark.parametrize(
    "files", [{"a": []}, {"a": [("with_mask", 1, 2, 3, 4)]}], ids=["no object", "all dropped"]
)
def test_a_dataset_without_faces_is_an_empty_table(read, files):
    faces, validation = read(files, {"with_mask": None})
    assert validation["left_out"] == []
    assert len(faces) == 0
    assert "label" in faces
    assert validation["faces"] == len(files["a"])


def test_unknown_class(refused):
    message = refused({"a": [GOOD], "b": [GOOD, ("visor", 1, 2, 3, 4)]})
    assert "b.xml" in message
    assert "a.xml" not in message
    assert "'visor'" in message
    assert "datasets.<name>.classes" in message
    assert all(name in message for name in CLASSES)


@pytest.mark.parametrize(
    "text",
    ["", "not XML at all", "<annotation><size>", b"\x89PNG\r\n\x1a\n", b"<a>\xff\xfe</a>"],
    ids=["empty", "text", "cut off", "an image", "not UTF-8"],
)
def test_unparsable_xml(refused, text):
    message = refused({"a": [GOOD], "b": text})
    assert "b.xml" in message
    assert "XML" in message
    assert "None" not in message


@pytest.mark.parametrize(
    ("wrong", "right", "words"),
    [
        ("<xmin>10</xmin>", "<xmin>ten</xmin>", "bndbox/xmin is 'ten'"),
        ("<xmin>10</xmin>", "<xmin>10,5</xmin>", "bndbox/xmin is '10,5'"),
        ("<ymax>31</ymax>", "", "bndbox/ymax is ''"),
        ("<width>96</width>", "", "? x 64 pixels"),
        ("<height>64</height>", "<height/>", "96 x ? pixels"),
        ("<xmin>10</xmin>", "<xmin>31</xmin>", "min above max"),
        ("<name>with_mask</name>", "", "class ''"),
    ],
)
def test_fields_that_are_missing_or_no_numbers(refused, voc_text, wrong, right, words):
    text = voc_text("a.png", 96, 64, [GOOD])
    assert wrong in text
    message = refused({"a": text.replace(wrong, right)})
    assert "a.xml" in message
    assert words in message


def test_the_size_written_must_be_the_image_s(refused):
    message = refused({"a": [GOOD]}, size=(64, 96))
    assert "a.xml" in message
    assert "64 x 96" in message
    assert "96 x 64" in message


def test_a_missing_image_and_one_without_annotation(refused):
    message = refused({"a": [GOOD], "b": [GOOD]}, images=["a.png", "c.png"])
    assert "b.xml" in message
    assert "c.png" in message
    assert "a.xml" not in message


def test_two_images_of_one_stem_are_reported(refused):
    # One annotation cannot be of both, and which is meant only the user knows.
    message = refused({"a": [GOOD]}, images=["a.jpg", "a.png"])
    assert "a.jpg" in message
    assert "a.png" in message


def test_all_defects_are_reported_at_once(refused):
    files = {
        "good": [GOOD],
        "cut": "<annotation>",
        "class": [("visor", 1, 2, 3, 4)],
        "outside": [GOOD, ("with_mask", 200, 2, 300, 4)],
        "swapped": [("with_mask", 5, 2, 3, 4)],
        "orphan": [GOOD],
    }
    images = [f"{stem}.png" for stem in files if stem != "orphan"] + ["unmasked.png"]
    message = refused(files, images=images)
    names = ("cut.xml", "class.xml", "outside.xml", "swapped.xml", "orphan.xml", "unmasked.png")
    for name in names:
        assert name in message
    assert "good" not in message
    assert len(message.splitlines()) == 6  # one each


def test_every_object_of_a_file_is_looked_at(refused):
    message = refused({"a": [("with_mask", 5, 2, 3, 4), GOOD, ("with_mask", 9, 9, 9, 8)]})
    assert "object 0" in message
    assert "object 2" in message


@pytest.mark.parametrize("kind", ["internal", "external"])
def test_entities_are_not_expanded(refused, voc_text, tmp_path, kind):
    secret = tmp_path / "secret.txt"
    secret.write_text("10")
    value = '"10"' if kind == "internal" else f'SYSTEM "{secret.as_uri()}"'
    text = voc_text("a.png", 96, 64, [GOOD]).replace("<xmin>10<", "<xmin>&number;<")
    message = refused({"a": f"<!DOCTYPE annotation [<!ENTITY number {value}>]>{text}"})
    assert "a.xml" in message
    assert "DOCTYPE" in message


def test_the_files_are_only_read(read, tmp_path):
    read({"a": [GOOD]})
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    annotations.parse(
        [Path(tmp_path, "a.xml")],
        pd.DataFrame({"image": ["a.png"], "width": [96], "height": [64]}),
        CLASSES,
    )
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
