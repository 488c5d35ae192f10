"""Files of other annotation formats: named, so that their owner knows what to convert."""

import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from lxml import etree

HEAD = 65536  # bytes of a file that are looked at
# Keys near the beginning of a JSON file, and the format that has them: such files may be large.
JSON_KEYS = [
    ({"images", "annotations", "categories"}, "COCO"),
    ({"images", "file_name"}, "COCO"),
    ({"annotations", "category_id"}, "COCO"),
    ({"categories", "supercategory"}, "COCO"),
    ({"shapes", "imagePath"}, "LabelMe"),
    ({"_via_settings"}, "VGG Image Annotator"),
    ({"filename", "regions"}, "VGG Image Annotator"),
]
XML_ROOTS = {"annotations": "CVAT"}
CONVERT = (
    "export it as Pascal VOC from the tool that made it, or convert it: supervision's "
    "DetectionDataset reads COCO (from_coco) and YOLO (from_yolo) and writes Pascal VOC "
    "(as_pascal_voc)"
)


def format_of(name: str, read: Callable[[str, int], bytes]) -> str | None:
    """Return the annotation format that a file is of, or None if it is of none that is known.

    Args:
        name: of the file, with its folders.
        read: returns the first bytes of a file, by its name and their number.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in (".json", ".txt", ".csv", ".xml"):
        return "TFRecord" if suffix in (".tfrecord", ".tfrecords") else None
    head = read(name, HEAD)
    if suffix == ".json":
        return _of_json(head)
    if suffix == ".txt":
        return "YOLO" if _is_yolo(head) else None
    if suffix == ".csv":
        columns = head.partition(b"\n")[0].lower()
        return "a table of boxes" if b"xmin" in columns or b"x_min" in columns else None
    return XML_ROOTS.get(root_of(head) or "")


def root_of(head: bytes) -> str | None:
    """Return the name of the root of an XML file that begins so, or None if it is no XML."""
    parser = etree.XMLPullParser(["start"], resolve_entities=False, no_network=True)
    try:
        parser.feed(head)
        events: Any = parser.read_events()
        return next((etree.QName(root).localname for _, root in events), None)
    except etree.XMLSyntaxError:
        return None


def _of_json(head: bytes) -> str | None:
    found = {key.decode() for key in re.findall(rb'"(\w+)"\s*:', head)}
    return next((name for keys, name in JSON_KEYS if keys <= found), None)


def _is_yolo(head: bytes) -> bool:
    """Whether all lines are a class number and at least four numbers from 0 to 1."""
    text = head.decode("ascii", "replace")
    if len(head) == HEAD:  # the last line may be cut
        text = text.rpartition("\n")[0]
    lines = [line.split() for line in text.splitlines() if line.strip()]
    try:
        return bool(lines) and all(
            len(words) >= 5 and words[0].isdigit() and all(0 <= float(w) <= 1 for w in words[1:5])
            for words in lines
        )
    except ValueError:
        return False
