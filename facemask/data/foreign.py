"""Files of other annotation formats: named, so that their owner knows what to convert."""

import json
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from lxml import etree

from facemask.data.voc import PARSER

HEAD = 65536  # bytes of a file that are looked at
# What a JSON file of a format holds at its top, and what the format is called.
JSON_KEYS = [
    ({"images", "annotations", "categories"}, "COCO"),
    ({"shapes", "imagePath"}, "LabelMe"),
    ({"_via_settings", "_via_img_metadata"}, "VGG Image Annotator"),
]
XML_ROOTS = {"annotations": "CVAT"}
CONVERT = (
    "export it as Pascal VOC from the tool that made it, or convert it: supervision's "
    "DetectionDataset reads COCO (from_coco) and YOLO (from_yolo) and writes Pascal VOC "
    "(as_pascal_voc)"
)


def format_of(name: str, read: Callable[[str], bytes]) -> str | None:
    """Return the annotation format that a file is of, or None if it is of none that is known.

    Args:
        name: of the file, with its folders.
        read: returns the content of a file by its name.
    """
    path = PurePosixPath(name)
    suffix = path.suffix.lower()
    if suffix == ".json":
        return _of_json(read(name))
    if suffix == ".txt":
        return "YOLO" if _is_yolo(read(name)[:HEAD]) else None
    if suffix == ".csv":
        head = read(name)[:HEAD].partition(b"\n")[0].lower()
        return "a table of boxes" if b"xmin" in head or b"x_min" in head else None
    if suffix == ".xml":
        root = root_of(read(name))
        return XML_ROOTS.get(root or "")
    return "TFRecord" if suffix in (".tfrecord", ".tfrecords") else None


def root_of(data: bytes) -> str | None:
    """Return the name of the root of an XML file, or None if it is no XML."""
    try:
        return etree.QName(etree.fromstring(data, PARSER)).localname
    except etree.XMLSyntaxError:
        return None


def _of_json(data: bytes) -> str | None:
    try:
        content: Any = json.loads(data)
    except ValueError:
        return None
    if not isinstance(content, dict):
        return None
    found = next((name for keys, name in JSON_KEYS if keys <= content.keys()), None)
    if found is None and any(
        isinstance(value, dict) and "regions" in value for value in content.values()
    ):
        return "VGG Image Annotator"
    return found


def _is_yolo(head: bytes) -> bool:
    """Whether all lines are a class number and at least four numbers from 0 to 1."""
    lines = [line.split() for line in head.decode("ascii", "replace").splitlines() if line.strip()]
    try:
        return bool(lines) and all(
            len(words) >= 5 and words[0].isdigit() and all(0 <= float(w) <= 1 for w in words[1:5])
            for words in lines
        )
    except ValueError:
        return False
