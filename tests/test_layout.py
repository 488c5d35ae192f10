"""Which files of a source are taken, under which name, and what is said of the others.

Sources are written down as names; of annotations what matters is their filename and folder.
"""

import json

import pytest

from facemask.data import layout
from facemask.errors import InputError


def voc(filename="", folder=""):
    name = f"<filename>{filename}</filename><folder>{folder}</folder>"
    return f"<annotation>{name}</annotation>".encode()


def chosen(files):
    """Targets and issues of a source: contents of files by name, or names of distinct contents."""
    if not isinstance(files, dict):
        files = {name: name.encode() for name in files}
    targets, issues = layout.choose(list(files), lambda name, size: files[name][:size])
    assert len({target.casefold() for target in targets.values()}) == len(targets)
    return targets, [(each.file, each.severity, each.message) for each in issues]


KAGGLE = {
    "images/a.png": "images/a.png",
    "images/b.jpg": "images/b.jpg",
    "annotations/a.xml": "annotations/a.xml",
    "annotations/b.xml": "annotations/b.xml",
}
# Names of the source and those of the copies; nothing is said.
READ = {
    "images and annotations": KAGGLE,
    "side by side": {"x/a.png": "images/a.png", "x/a.xml": "annotations/a.xml"},
    "an annotation without image": {**KAGGLE, "annotations/c.xml": "annotations/c.xml"},
    "an image without annotation": {**KAGGLE, "images/c.png": "images/c.png"},
    "capitals in a suffix": {"a.PNG": "images/a.PNG", "a.XML": "annotations/a.XML"},
    "names that differ in case": {"a.png": "images/a.png", "A.xml": "annotations/A.xml"},
    "one name in train and test": {
        "d/train/a.png": "images/train-a.png",
        "d/train/a.xml": "annotations/train-a.xml",
        "d/test/a.png": "images/test-a.png",
        "d/test/a.xml": "annotations/test-a.xml",
        "d/test/b.png": "images/b.png",
        "d/test/b.xml": "annotations/b.xml",
    },
    "one name in train and test, in folders of kinds": {
        "train/images/a.png": "images/train-images-a.png",
        "train/labels/a.xml": "annotations/train-images-a.xml",
        "test/images/a.jpg": "images/test-images-a.jpg",
        "test/labels/a.xml": "annotations/test-images-a.xml",
    },
    "an annotated name and one that is not": {
        "train/a.png": "images/train-a.png",
        "train/a.xml": "annotations/train-a.xml",
        "test/a.png": "images/test-a.png",
    },
    "two images in one folder that differ in case": {
        "A.png": "images/A.png",
        "a.png": "images/2-a.png",
        "A.xml": "annotations/A.xml",
        "a.xml": "annotations/2-a.xml",
    },
    "an accent in two spellings": {
        "e\u0301.png": "images/e\u0301.png",
        "\u00e9.xml": "annotations/e\u0301.xml",
    },
    "names that differ in case, and one that a folder would make": {
        "x-a.png": "images/x-a.png",
        "X-A.xml": "annotations/X-A.xml",
        "x/a.png": "images/x-2-a.png",
        "x/a.xml": "annotations/x-2-a.xml",
        "y/a.png": "images/y-a.png",
        "y/a.xml": "annotations/y-a.xml",
    },
    "a name that a folder would make": {
        "x-a.png": "images/x-a.png",
        "x-a.xml": "annotations/x-a.xml",
        "x/a.png": "images/x-2-a.png",
        "x/a.xml": "annotations/x-2-a.xml",
        "y/a.png": "images/y-a.png",
        "y/a.xml": "annotations/y-a.xml",
    },
}


@pytest.mark.parametrize("case", READ)
def test_names_of_copies(case):
    assert chosen([*READ[case]]) == (READ[case], [])


VOC2012 = {
    "VOC2012/JPEGImages/a.jpg": b"image",
    "VOC2012/SegmentationClass/a.png": b"mask",
    "VOC2012/SegmentationObject/a.png": b"mask",
    "VOC2012/Annotations/a.xml": voc("a.jpg", "VOC2012"),
}
# What an annotation says decides between images of its name; the others are skipped.
TIES = {
    "VOC2012": (VOC2012, "VOC2012/JPEGImages/a.jpg", 2),
    "VOC2012 without filename": (
        VOC2012 | {"VOC2012/Annotations/a.xml": voc()}, "VOC2012/JPEGImages/a.jpg", 2
    ),
    "two formats in a folder": (
        {"a.png": b"1", "a.jpg": b"2", "a.xml": voc(r"C:\faces\a.jpg")}, "a.jpg", 1
    ),
    "the folder": (
        {"x/a.png": b"1", "y/a.png": b"2", "z/a.xml": voc("a.png", "y")}, "y/a.png", 1
    ),
    "masks in folders of their own": (
        {"JPEGImages/a.jpg": b"1", "Masks/Class/a.png": b"2", "Annotations/a.xml": voc("a.jpg")},
        "JPEGImages/a.jpg", 1,
    ),
    "images and masks": (
        {"images/a.png": b"1", "masks/a.png": b"2", "labels/a.xml": voc("a.png")},
        "images/a.png", 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TIES)
def test_an_annotation_decides_which_image_is_its_own(case):
    files, image, others = TIES[case]
    targets, issues = chosen(files)
    taken = [name for name in targets if not name.endswith(".xml")]
    assert taken == [image]
    assert all(severity == "skipped" and "same name" in what for _, severity, what in issues)
    assert sum(int(what.split()[0]) for _, _, what in issues) == others


def test_two_formats_that_nothing_decides_are_left_to_the_parser():
    files = {"a.png": b"1", "a.jpg": b"2", "a.xml": voc()}
    assert chosen(files)[0] == {
        "a.png": "images/a.png", "a.jpg": "images/a.jpg", "a.xml": "annotations/a.xml"
    }  # fmt: skip


# Annotations that may be of several images, or images that have several.
UNCLEAR = {
    "in two folders": (
        {"x/a.png": b"1", "y/a.PNG": b"2", "a.xml": voc()}, ["x/a.png", "y/a.PNG", "<folder>"]
    ),
    "two annotations": (
        {"i/a.png": b"1", "x/a.xml": voc(), "y/a.xml": voc("b")}, ["x/a.xml", "y/a.xml"]
    ),
    "many": (
        {f"i/{n}.png": b"1" for n in range(30)}
        | {f"{x}/{n}.xml": voc(x) for n in range(30) for x in "xy"},
        ["i/0.png", "and 20 more"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNCLEAR)
def test_what_cannot_be_decided_is_refused(case):
    files, named = UNCLEAR[case]
    with pytest.raises(InputError) as caught:
        chosen(files)
    assert all(word in str(caught.value) for word in named)


def test_the_same_annotation_twice_is_read_once():
    files = {"images/a.png": b"1", "xml/a.xml": voc(), "old/xml/a.xml": voc()}
    targets, issues = chosen(files)
    assert targets.keys() == files.keys() - {"old/xml/a.xml"}
    assert [(place, severity) for place, severity, _ in issues] == [("old/xml/", "skipped")]


def test_a_copy_of_the_dataset_within_itself_is_read_once():
    """As some zips have it."""
    files = {name: name.encode() for name in KAGGLE}
    twice = files | {f"dataset/{name}": data for name, data in files.items()}
    targets, issues = chosen(twice)
    assert targets == KAGGLE
    assert {what for _, _, what in issues} == {
        "2 files are not read: they are the same as others of their name"
    }


COCO = json.dumps({"images": [], "annotations": [], "categories": []}).encode()
LABELME = json.dumps({"shapes": [], "imagePath": "a.png"}).encode()
VIA = json.dumps({"a.png1": {"filename": "a.png", "regions": []}}).encode()
CVAT = b"<annotations><version>1.1</version></annotations>"
# Files beside a dataset, and what is said of them.
BESIDE = {
    "._a.jpg": (b"", "hidden files", "begin with a dot"),
    ".idea/workspace.xml": (b"<project/>", "hidden files", "begin with a dot"),
    "images/.ipynb_checkpoints/a-checkpoint.png": (b"", "hidden files", "begin with a dot"),
    "__MACOSX/images/a.png": (b"", "hidden files", "a system"),
    "images/Thumbs.db": (b"", "hidden files", "a system"),
    "annotations.xml": (CVAT, "the source", "CVAT"),
    "project.xml": (b"<project/>", "the source", ".xml files are not read"),
    "coco/instances.json": (COCO, "coco/", "COCO"),
    "images/a.json": (LABELME, "images/", "LabelMe"),
    "via.json": (VIA, "the source", "VGG"),
    "labels/a.txt": (b"0 0.5 0.5 0.1 0.2\n1 0.1 0.1 0.1 0.1\n", "labels/", "YOLO"),
    "README.txt": (b"These are faces.", "the source", ".txt files are not read"),
    "labels.csv": (b"filename,width,height,class,xmin\n", "the source", "a table of boxes"),
    "broken.json": (b"{", "the source", ".json files are not read"),
    "LICENSE": (b"", "the source", "other files are not read"),
    "more/c.heic": (b"", "more/", "HEIC"),
    "film.mp4": (b"", "the source", ".mp4|video"),
    "more.zip": (b"", "the source", ".zip files are not read"),
}


@pytest.mark.parametrize("name", BESIDE)
def test_other_files_are_passed_over_and_said(name):
    data, place, words = BESIDE[name]
    targets, issues = chosen({each: each.encode() for each in KAGGLE} | {name: data})
    assert targets == KAGGLE
    ((file, severity, message),) = issues
    assert (file, severity) == (place, "skipped")
    assert any(word in message for word in words.split("|"))
    assert message.startswith("1 ")


# Errors of annotated images that are not read, by the name that their annotation's copy has.
NOT_READ = {
    "alone": (["x/a.heic", "x/a.xml", "x/b.png", "x/b.xml"], ["a.heic"]),
    "in train and test": (
        [f"{part}/a.{suffix}" for part in ("train", "test") for suffix in ("HEIC", "xml")],
        ["test-a.HEIC", "train-a.HEIC"],
    ),
    "beside one that is read, as phones have it": (["a.jpg", "a.heic", "a.mov", "a.xml"], []),
}


@pytest.mark.parametrize("case", NOT_READ)
def test_annotated_images_of_formats_that_are_not_read_are_errors(case):
    files, wrong = NOT_READ[case]
    targets, issues = chosen(files)
    assert {name for name in files if name.endswith(".xml")} <= targets.keys()
    what = "its format, HEIC, is not read; convert it to JPEG or PNG"
    assert sorted(issue for issue in issues if issue[1] == "error") == [
        (name, "error", what) for name in wrong
    ]
    assert len(issues) == len(wrong) or {severity for _, severity, _ in issues} == {"skipped"}


def test_of_large_files_the_beginning_is_looked_at():
    """A table of a million boxes need not be read, nor what a small zip unpacks to."""
    asked = {}

    def read(name, size):
        asked[name] = size
        return b'{"images": [' + b'{"file_name": "a.png"}, ' * (size // 24)

    _, issues = layout.choose([*KAGGLE, "coco.json"], read)
    assert "COCO" in issues[0].message
    assert asked["coco.json"] < 100_000


def test_a_long_table_of_yolo_is_cut_anywhere():
    data = b"0 0.5 0.5 0.1 0.2\n" * 10_000
    _, issues = chosen({each: each.encode() for each in KAGGLE} | {"a.txt": data})
    assert "YOLO" in issues[0][2]


def test_files_are_counted_by_folder_and_kind():
    more = {f"labels/{n}.txt": b"0 0.5 0.5 0.1 0.2" for n in range(300)}
    _, issues = chosen({each: each.encode() for each in KAGGLE} | more)
    assert issues == [("labels/", "skipped", "300 .txt files are not read: this is YOLO")]


@pytest.mark.parametrize("name", ["a", "x" * 240, "\u9762" * 80, "y" * 300])
def test_long_names_stay_short_enough_for_a_disk(name):
    long = "x" * 150
    files = [f"{long}/{part}/{name}.{suffix}" for part in "st" for suffix in ("png", "xml")]
    files += [f"{long}2/{long}/{name}.{suffix}" for suffix in ("png", "xml")]
    files += [f"{'z' * 400}.png"]
    targets, _ = chosen(files)
    assert len(targets) == 7
    assert all(len(target.rpartition("/")[2].encode()) < 255 for target in targets.values())
