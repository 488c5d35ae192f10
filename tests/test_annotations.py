"""Pascal-VOC files: what is read, what is clipped and counted, and how each issue is reported."""

from pathlib import Path

import pandas as pd
import pytest

from facemask.data import annotations
from facemask.data.issues import Issue, stop_at_errors, summary
from facemask.errors import InputError
from facemask.reporting import validation as reporting

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

    def parse(files, classes=CLASSES, images=None, size=(96, 64), shown=None, **options):
        """size: as written; shown: of the images, and their EXIF orientation, if it is another."""
        width, height, orientation = shown or (96, 64, 1)
        paths = []
        for stem, what in files.items():
            text = what if isinstance(what, (str, bytes)) else voc_text(f"{stem}.png", *size, what)
            paths.append(tmp_path / f"{stem}.xml")
            paths[-1].write_bytes(text if isinstance(text, bytes) else text.encode())
        images = [f"{stem}.png" for stem in files] if images is None else images
        inventory = pd.DataFrame(
            {"image": images, "width": width, "height": height, "orientation": orientation}
        )
        return annotations.parse(paths, inventory, classes, **options)

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
        "dropped_classes": {},
        "boxes_on_the_edge": 0,
        "boxes_overflowing": 0,
        "pixels_counted": {
            "boxes": "zero_based",
            "begin_at_0": 1,
            "begin_at_1": 0,
            "end_at_size": 0,
        },
        "left_out": [],
        "severities": {"error": 0, "repaired": 0, "warning": 2, "skipped": 0},
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
        ((-9, -6, 105, 70), (0, 0, 95, 63), 0, 1),  # a tenth of the side is the most
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
        ("<name>with_mask</name>", "", "has no class"),
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


def text_of(voc_text, *objects, size=(96, 64), name="a.png"):
    """An annotation whose objects are written out, a class and what else is in them."""
    items = "".join(f"<object><name>{kind}</name>{rest}</object>" for kind, rest in objects)
    return voc_text(name, *size, []).replace("</annotation>", f"{items}</annotation>")


def bndbox(*corners):
    names = ("xmin", "ymin", "xmax", "ymax")
    inner = "".join(f"<{key}>{value}</{key}>" for key, value in zip(names, corners, strict=True))
    return f"<bndbox>{inner}</bndbox>"


BOX = bndbox(10, 8, 30, 31)
ATTRIBUTE = "<attributes><attribute><name>{}</name><value>{}</value></attribute></attributes>"
POLYGON = "<polygon><x1>1</x1><y1>2</y1><x2>9</x2><y2>8</y2></polygon>"
ROBNDBOX = "<robndbox><cx>20</cx><cy>20</cy><w>9</w><h>9</h><angle>0.4</angle></robndbox>"

# Input that cannot be what it says: the boxes of a file in an image of 96 x 64 px, and words.
IMPLAUSIBLE = {
    "shares of 1": ([(0.1, 0.2, 0.4, 0.6), (0.5, 0.5, 1, 1)], "from 0 to 1"),
    "shares of 1, rounded": ([(0, 0, 1, 1), (0, 0, 0, 1)], "from 0 to 1"),
    "shares a little beyond 1": ([(0.1, 0.2, 0.4, 1.01)], "smaller than 2 pixels"),
    "tiny boxes": ([(40, 40, 41, 41), (50, 50, 51, 50)], "smaller than 2 pixels"),
    "a coordinate of 9999": ([(10, 8, 9999, 31)], "another image or of another size"),
    "drawn on a copy of twice the size": ([(100, 20, 150, 60)], "outside the image"),
    "a tenth too far": ([(80, 50, 106, 60)], "by more than a tenth"),
    "a tenth too high": ([(80, -7, 90, 60)], "by more than a tenth"),
    "x and y exchanged": ([(8, 10, 31, 30), (20, 60, 51, 85)], "with x and y exchanged"),
    "width and height": ([(60, 20, 25, 31), (10, 8, 20, 23)], "xmax = x + width"),
    "more than any image has": ([(10, 8, "1e300", 31)], "plain number"),
}  # fmt: skip


@pytest.mark.parametrize("case", IMPLAUSIBLE)
def test_what_is_implausible_is_an_error_that_says_so(refused, case):
    boxes, words = IMPLAUSIBLE[case]
    message = refused({"a": [("with_mask", *box) for box in boxes]})
    assert words in message
    assert "a.xml" in message


@pytest.mark.parametrize(
    ("boxes", "shown"),
    [
        ([(0, 0, 1, 1)], (2, 2, 1)),  # a whole image
        ([(3, 3, 4, 4)], (16, 16, 1)),
        ([(3, 3, 4, 4), (3, 3, 40, 40)], (96, 64, 1)),  # one small face of two
        ([(0, 0, 3, 3)], (2, 2, 1)),  # two pixels beyond are few, however small the image
    ],
)
def test_small_boxes_that_are_plausible_are_read(read, boxes, shown):
    faces, validation = read(
        {"a": [("with_mask", *box) for box in boxes]}, size=shown[:2], shown=shown
    )
    assert len(faces) == len(boxes)
    assert validation["severities"]["error"] == 0


@pytest.mark.parametrize(
    ("size", "shown", "words"),
    [
        ((64, 96), (96, 64, 1), ["other way round", "correct the size"]),
        ((192, 128), (96, 64, 1), ["2 times", "divide", "correct the size"]),
        ((48, 32), (96, 64, 1), ["0.5 times"]),
        ((63, 42), (96, 64, 1), ["0.6562 times"]),  # rounded
        ((97, 64), (96, 64, 1), ["right image", "correct the size"]),
        ((96, 96), (96, 64, 1), ["right image", "correct the size"]),
        ((-96, -64), (96, 64, 1), ["-96 x -64"]),
        ((64, 96), (96, 64, 6), ["EXIF", "exiftool -Orientation= a.png", "as it is shown"]),
        ((64, 96), (96, 64, 3), ["other way round", "correct the size"]),  # upside down, no more
    ],
)
def test_a_wrong_size_is_explained(refused, size, shown, words):
    message = refused({"a": [GOOD]}, size=size, shown=shown)
    assert all(word in message for word in words)
    assert "EXIF" not in message or "correct the size" not in message


def test_the_size_is_not_to_be_corrected_where_the_boxes_do_not_fit_the_image(refused):
    message = refused({"a": [GOOD, ("with_mask", 120, 8, 170, 90)]}, size=(192, 128))
    assert "correct the size" not in message
    assert "divide" in message


def test_a_size_as_stored_is_wrong_itself_if_the_boxes_are_of_the_image_as_shown(refused):
    # The image is stored as 64 x 96 and shown as 96 x 64: this box is only in the latter.
    message = refused({"a": [("with_mask", 70, 8, 90, 31)]}, size=(64, 96), shown=(96, 64, 6))
    assert "correct the size" in message


def test_a_box_outside_an_image_that_exif_turns_names_exif(refused):
    message = refused({"a": [("with_mask", 10, 70, 30, 90)]}, shown=(96, 64, 6))
    assert "EXIF" in message


@pytest.mark.parametrize("scale", [100, 1000])
def test_percentages_in_many_images_are_an_error_of_each(refused, read, scale):
    size = (2 * scale, 3 * scale)
    files = {f"f{n}": [("with_mask", n, 3, scale - n, scale)] for n in range(10)}
    _, validation = read(files, size=size, shown=(*size, 1))
    assert validation["severities"]["error"] == 10
    assert len(validation["left_out"]) == 10
    assert {str(scale) in row["message"] for row in validation["issues"]} == {True}
    # Nine may be chance, and one that reaches further is no percentage.
    for changed in (
        dict(list(files.items())[:9]),
        {**files, "f0": [("with_mask", 1, 1, scale + 1, 9)]},
    ):
        _, validation = read(changed, size=size, shown=(*size, 1))
        assert validation["severities"]["error"] == 0


@pytest.mark.parametrize(
    "rest",
    [
        BOX,  # equal to the other's
        "",
        bndbox(200, 200, 300, 300),
        bndbox(9, 9, 1, 1),
        bndbox("x", "", 1, 1),
        bndbox(0.1, 0.1, 0.2, 0.2),
        POLYGON,
        ROBNDBOX,
        BOX + BOX,
        BOX + ATTRIBUTE.format("rotation", 45),
    ],
)
def test_an_object_of_a_dropped_class_is_counted_and_not_judged(read, voc_text, rest):
    text = text_of(voc_text, ("unsure", rest), ("with_mask", BOX), ("unsure", rest))
    faces, validation = read({"a": text}, {"with_mask": "with_mask", "unsure": None})
    assert validation["issues"] == []
    assert faces[["face", "xmin", "ymin", "xmax", "ymax"]].to_numpy().tolist() == [
        [1, 10, 8, 30, 31]
    ]
    assert faces["xmin"].dtype == int
    assert validation["faces"] == 3
    assert validation["faces_of_dropped_classes"] == 2
    shown = reporting.faces(validation)
    assert "unsure: 2 faces dropped" in shown
    assert "1 faces: 1 with_mask" in shown
    assert shown in reporting.page("own", validation)


# What an object is drawn as, and what is said of it: nothing if it is read.
@pytest.mark.parametrize(
    ("rest", "words"),
    [
        (ROBNDBOX, "rotated boxes (robndbox)"),
        ("<type>robndbox</type>" + ROBNDBOX, "rotated boxes (robndbox)"),
        (BOX + ATTRIBUTE.format("rotation", "30.0"), "rotated boxes (rotation)"),
        (BOX + "<rotation>-2</rotation>", "rotated boxes (rotation)"),
        (BOX + "<angle>0.5</angle>", "rotated boxes (angle)"),
        (BOX.replace("</bndbox>", "<angle>0.5</angle></bndbox>"), "rotated boxes (angle)"),
        (POLYGON, "polygons (polygon)"),
        ("<segmentation>1 2 3 4 5 6</segmentation>", "polygons (segmentation)"),
        (BOX + POLYGON, None),
        (BOX + ATTRIBUTE.format("rotation", "0.0"), None),
        (BOX + ATTRIBUTE.format("occluded", "1"), None),
        (BOX + "<angle>0</angle><pose>90</pose>", None),
        (BOX + "<type>bndbox</type>", None),
    ],
)
def test_geometry_that_is_not_read_is_one_line_a_file(read, voc_text, rest, words):
    text = text_of(voc_text, *[(kind, rest) for kind in CLASSES], ("with_mask", bndbox(1, 2, 9, 9)))
    faces, validation = read({"a": text.replace(">10<", ">11<", 1).replace(">10<", ">12<", 1)})
    if words is None:
        assert validation["issues"] == []
        assert len(faces) == 4
    else:
        [row] = validation["issues"]
        assert row["severity"] == "error"
        assert f"holds 3 {words}" in row["message"]
        assert row["object"] is None


GOOD_TOO = ("without_mask", bndbox(40, 8, 60, 31))
ANOTHER = f"<object><name>with_mask</name>{bndbox(1, 2, 9, 9)}</object>"


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("", "has no bndbox"),
        (BOX + bndbox(1, 2, 9, 9), "has 2 bndbox"),
        (BOX + ANOTHER, "1 <object> lie inside"),
        ('<bndbox xmin="1" ymin="2" xmax="9" ymax="9"/>', "attributes xmin"),
        ("<bndbox><x>1</x><y>2</y><w>9</w><h>9</h></bndbox>", "it holds x, y, w, h"),
        (bndbox("12,5", 8, 30, 31), "bndbox/xmin is '12,5'"),
        (bndbox("12px", 8, 30, 31), "bndbox/xmin is '12px'"),
        (bndbox("1,024", 8, 30, 31), "plain number"),
        (bndbox("1_0", 8, 30, 31), "plain number"),
        (bndbox("0x10", 8, 30, 31), "plain number"),
        (bndbox("", "", "", ""), "bndbox/ymin is ''"),
    ],
)
def test_objects_that_are_put_together_otherwise_are_one_line(refused, voc_text, rest, words):
    message = refused({"a": text_of(voc_text, ("with_mask", rest), GOOD_TOO)})
    assert words in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    "rest",
    [
        BOX + f"<part><name>head</name>{bndbox(0, 0, 500, 500)}</part>",
        f"<part><name>head</name>{bndbox(0, 0, 500, 500)}</part>" + BOX,
        bndbox("1e1", "8", "3.0E1", " 31 "),
        BOX + "<actions><jumping>1</jumping></actions><truncated>1</truncated>",
    ],
)
def test_what_voc_has_beside_the_box_is_passed_over(read, voc_text, rest):
    faces, validation = read({"a": text_of(voc_text, ("with_mask", rest))})
    assert validation["issues"] == []
    assert faces.loc[0, ["xmin", "ymin", "xmax", "ymax"]].tolist() == [10, 8, 30, 31]


def test_objects_in_a_list_of_their_own_are_not_overlooked(refused, voc_text):
    text = voc_text("a.png", 96, 64, [GOOD])
    text = text.replace("<object>", "<objects><object>").replace("</object>", "</object></objects>")
    assert "directly into <annotation>" in refused({"a": text})


@pytest.mark.parametrize(
    "name", ["With_Mask", "with-mask", "with mask", "WITH_MASK_", "with__mask", "with_maks"]
)
def test_a_class_that_is_spelt_otherwise_is_recognised(refused, name):
    assert "did you mean 'with_mask'?" in refused({"a": [(name, *GOOD[1:])]})


def test_a_class_like_no_other_gets_no_hint(refused):
    assert "did you mean" not in refused({"a": [("visor", *GOOD[1:])]})


@pytest.mark.parametrize(
    ("files", "classes", "words"),
    [
        ({"a": [], "b": []}, CLASSES, "no face is annotated in any file"),
        ({"a": [GOOD], "b": []}, {"with_mask": None}, "all faces (1) are of classes"),
    ],
)
def test_a_dataset_without_a_face_to_use_is_an_error(read, files, classes, words):
    _, validation = read(files, classes)
    [error] = [row for row in validation["issues"] if row["severity"] == "error"]
    assert words in error["message"]


def test_a_dataset_whose_classes_are_all_unknown_says_only_that(refused):
    message = refused({"a": [("visor", *GOOD[1:])], "b": [("visor", 1, 2, 9, 9)]})
    assert message.count("unknown class") == len(message.splitlines()) == 2


# Boxes that count pixels from 1, in an image whose last pixel is then (96, 64).
@pytest.mark.parametrize(
    ("box", "expected", "cut"),
    [
        ((12, 8, 30, 31), (11, 7, 29, 30), None),
        ((1, 1, 96, 64), (0, 0, 95, 63), None),
        ((96, 64, 96, 64), (95, 63, 95, 63), None),
        ((0, 1, 9, 9), (0, 0, 8, 8), (1, 1, 9, 9)),
        ((90, 60, 98, 64), (89, 59, 95, 63), (90, 60, 96, 64)),
    ],
)
def test_boxes_that_count_from_1_are_shifted(read, box, expected, cut):
    faces, validation = read({"a": [GOOD, ("without_mask", *box)]}, boxes="one_based")
    assert tuple(faces.loc[len(faces) - 1, ["xmin", "ymin", "xmax", "ymax"]]) == expected
    repaired = [row["message"] for row in validation["issues"] if row["severity"] == "repaired"]
    # Told as the file counts, so that it can be found there.
    assert repaired == [f"box {box} reaches out of the image; cut to {cut}"] * bool(cut)


@pytest.mark.parametrize(("boxes", "last"), [("zero_based", 95), ("one_based", 96)])
def test_the_first_pixel_outside_is_of_the_convention(read, refused, boxes, last):
    faces, _ = read({"a": [GOOD, ("with_mask", last, 3, last + 3, 9)]}, boxes=boxes)
    assert faces.loc[1, "xmin"] == 95
    out = {"a": [GOOD, ("with_mask", last + 1, 3, last + 4, 9)]}
    assert "wholly outside" in refused(out, boxes=boxes)


@pytest.mark.parametrize(
    ("boxes", "at_0", "at_size", "hint"),
    [
        ("zero_based", 0, 10, "may be one_based"),
        ("zero_based", 0, 9, None),  # may be chance
        ("zero_based", 1, 40, None),  # both conventions are contradicted
        ("zero_based", 9, 0, None),
        ("one_based", 0, 40, None),
        ("one_based", 1, 0, "may be zero_based"),
    ],
)
def test_how_pixels_are_counted_is_told_from_the_edges(read, boxes, at_0, at_size, hint):
    left = {f"l{n}": [("with_mask", 0, n, 30, 50)] for n in range(at_0)}
    right = {f"r{n}": [("with_mask", 30, 1 + n, 96, 50)] for n in range(at_size)}
    _, validation = read({**left, **right, "middle": [GOOD]}, boxes=boxes)
    shown = reporting.pixels(validation)
    assert f"{boxes}; {at_0} begin at 0" in shown
    assert f"{at_size} end at" in shown
    assert ("may be" in shown) == bool(hint)
    assert (hint or "") in shown
    assert shown in reporting.page("own", validation)


@pytest.mark.parametrize(
    ("image", "filename", "warned"),
    [
        ("a.png", "a.png", False),
        ("a.png", "a.jpg", False),
        ("a.png", "A.PNG", False),
        ("a.png", r"C:\faces\a.png", False),
        ("a.png", "", False),
        ("train-a.png", "a.png", False),  # copied beside another a.png
        ("a.png", "b.png", True),
        ("traina.png", "a.png", True),
        ("train-a.png", "b.png", True),
    ],
)
def test_a_filename_of_another_image_is_a_warning(read, voc_text, image, filename, warned):
    stem = Path(image).stem
    _, validation = read({stem: voc_text(filename, 96, 64, [GOOD])}, images=[image])
    assert [row["severity"] for row in validation["issues"]] == ["warning"] * warned


@pytest.mark.parametrize(
    ("files", "images", "severities"),
    [
        (["B"], ["b.png"], {"repaired": 1}),
        (["B", "a"], ["b.png", "A.png"], {"repaired": 2}),
        (["B", "b"], ["b.png"], {"error": 1}),  # b.xml is its own
        (["B"], ["b.png", "B.png"], {"error": 1}),
        (["bB"], ["Bb.png", "BB.png"], {"error": 3}),  # of which is not clear
        (["BB", "Bb"], ["bb.png"], {"error": 3}),
        (["b\u00e9", "be\u0301"], ["b\u00e9.png"], {"error": 1}),  # both are of it
    ],
)
def test_names_that_differ_in_case_alone_are_paired_if_just_one_does(
    read, files, images, severities
):
    faces, validation = read({name: [GOOD] for name in files}, images=images)
    found = {name: n for name, n in validation["severities"].items() if n and name != "warning"}
    assert found == severities
    assert validation["images"] == len(faces) == len(images) - len(validation["left_out"])


def test_an_annotation_whose_image_is_of_a_format_not_read_is_no_further_issue(read):
    known = [
        Issue("b.heic", None, "error", "HEIC is not read"),
        Issue("labels/", None, "skipped", "853 .txt files are not read"),
    ]
    faces, validation = read({"a": [GOOD], "b": [GOOD]}, images=["a.png"], known=known)
    assert [row["file"] for row in validation["issues"]] == ["b.heic", "labels/"]
    assert validation["left_out"] == ["b.heic"]
    assert validation["images"] == len(faces) == 1


def test_a_mistake_in_many_files_is_one_line_and_all_files_are_on_the_page(read):
    files = {f"f{n:03}": [GOOD, ("visor", 1, 2, 9, 9)] for n in range(300)}
    _, validation = read(files)
    page = reporting.page("own", validation)
    assert page.count("unknown class 'visor'") == 2  # in the table, and over the whole list
    assert all(f"{name}.xml" in page for name in files)
    assert max(len(row) for row in page.splitlines() if row.startswith("|")) < 600
    with pytest.raises(InputError) as caught:
        stop_at_errors([Issue(**row) for row in validation["issues"]], Path("page.md"))
    message = str(caught.value)
    assert message.startswith("300 error")
    assert message.count("unknown class") == 1
    assert "f000.xml: object 1" in message
    assert "and 297 more: " in message
    assert "f003" not in message


def test_many_mistakes_are_the_first_ten_and_a_count(read):
    files = {f"f{n:03}": [GOOD, ("with_mask", 200 + n, 2, 300, 9)] for n in range(30)}
    _, validation = read(files)
    with pytest.raises(InputError) as caught:
        stop_at_errors([Issue(**row) for row in validation["issues"]], Path("page.md"))
    assert str(caught.value).count("wholly outside") == 10
    assert "and 20 more" in str(caught.value)
    page = reporting.page("own", validation)
    assert all(f"{name}.xml" in page for name in files)


def test_the_terminal_shows_what_was_repaired_and_left_out():
    assert summary([], [], Path("page.md")) == ""
    assert "left out" not in summary([Issue("a.xml", 0, "repaired", "x")], [], Path("page.md"))
    found = [
        Issue("a.xml", 0, "repaired", "rounded"),
        Issue("labels/", None, "skipped", "text files"),
        *(Issue(f"{n}.png", None, "error", "not readable") for n in range(12)),
    ]
    shown = summary(found, [f"{n}.png" for n in range(12)], Path("page.md"))
    for words in ("repaired 1", "skipped 1", "error 12", "page.md", "left out: 12", "and 2 more"):
        assert words in shown
    assert "11.png" not in shown
