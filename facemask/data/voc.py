"""Pascal-VOC files: one XML file per image, read safely and as it stands, without a judgement."""

import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from lxml import etree

from facemask.columns import BOX
from facemask.errors import InputError

# An annotation is data from somebody else: no entities, no DTD, no network, no depth without end.
PARSER = etree.XMLParser(
    resolve_entities=False,
    no_network=True,
    load_dtd=False,
    huge_tree=False,
    remove_comments=True,
    remove_pis=True,
)
MAX_BYTES = 10_000_000  # of one annotation; a face takes some 400
# Elements in which tools write what is no upright box, and what they hold.
SHAPES = {
    "robndbox": "rotated boxes",
    "polygon": "polygons",
    "segmentation": "polygons",
    "segm": "masks",
    "mask": "masks",
    "polyline": "lines",
    "points": "points",
}
ANGLES = ("rotation", "angle")  # elements of an object or a bndbox, or names of CVAT's attributes


class Object(NamedTuple):
    """An object as it is written.

    number: its place in the file, from 0. corners: texts of xmin, ymin, xmax, ymax, empty if they
    are missing. bndboxes: how many it has. extra: what else than corners its bndbox holds.
    shape: how else than as an upright box it is drawn, as in "rotated boxes (robndbox)", or "".
    """

    number: int
    name: str
    corners: dict[str, str]
    bndboxes: int
    extra: tuple[str, ...]
    shape: str


class Annotation(NamedTuple):
    """What an annotation says of its image.

    filename: without folders, or "". size: texts of width and height. objects: those directly in
    the root. nested: how many objects lie deeper, where they belong to nothing.
    """

    filename: str
    size: tuple[str, str]
    objects: list[Object]
    nested: int


def read(path: Path) -> Annotation:
    """Return what an annotation file says.

    Raises:
        InputError: it is no Pascal-VOC annotation, or may hold more than one.
    """
    root = _root(path)
    # Only compared: no file is ever opened by a name that an annotation gives.
    filename = _text(root, "filename").replace("\\", "/").rpartition("/")[2]
    objects = [_object(number, item) for number, item in enumerate(root.iterfind("{*}object"))]
    return Annotation(
        filename,
        (_text(root, "size", "width"), _text(root, "size", "height")),
        objects,
        sum(1 for _ in root.iter("{*}object")) - len(objects),
    )


def number(text: str) -> float | None:
    """Return the finite number that a text is, or None."""
    try:
        value = float(text.replace("_", "?"))  # Python takes 1_000, and nobody else does
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _root(path: Path) -> Any:  # noqa: ANN401 - the stubs of lxml lack what is used here
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"larger than {MAX_BYTES:,} bytes, as none of one image is; replace it")
    try:
        root: Any = etree.fromstring(path.read_bytes(), PARSER)
    except etree.XMLSyntaxError as error:
        raise InputError(f"not well-formed XML ({error.msg}); correct the file") from None
    if root.getroottree().docinfo.doctype:
        raise InputError("declares a document type, which may hold anything; take DOCTYPE out")
    name = _local(root)
    if name != "annotation":
        raise InputError(
            f"no Pascal-VOC annotation: its root is <{name}>, not <annotation>; export it as "
            "Pascal VOC"
        )
    return root


def _local(element: Any) -> str:  # noqa: ANN401
    return str(element.tag).rpartition("}")[2]


def _text(element: Any, *keys: str) -> str:  # noqa: ANN401
    """The text below an element, of whatever namespace; empty if there is none."""
    return (element.findtext("/".join(f"{{*}}{key}" for key in keys)) or "").strip()


def _children(element: Any) -> dict[str, list[Any]]:  # noqa: ANN401
    children = defaultdict(list)
    for child in element:
        children[_local(child)].append(child)
    return children


def _object(number_: int, item: Any) -> Object:  # noqa: ANN401
    children = _children(item)
    boxes = children.get("bndbox", [])
    inner = _children(boxes[0]) if boxes else {}
    corners = {key: _first_text(inner, key) for key in BOX}
    extra = tuple(key for key in inner if key not in BOX)
    if boxes and boxes[0].attrib:
        extra += (f"the attributes {', '.join(boxes[0].attrib)}",)
    shape = _shape(children, inner)
    return Object(number_, _first_text(children, "name"), corners, len(boxes), extra, shape)


def _first_text(children: dict[str, list[Any]], key: str) -> str:
    found = children.get(key)
    return (found[0].text or "").strip() if found else ""


def _shape(children: dict[str, list[Any]], inner: dict[str, list[Any]]) -> str:
    """What an object is drawn as; a shape beside an upright box goes unread, as it should."""
    if "bndbox" in children:
        turned = [key for key, angle in _angles(children, inner) if number(angle)]
        return f"rotated boxes ({turned[0]})" if turned else ""
    return next((f"{what} ({key})" for key, what in SHAPES.items() if key in children), "")


def _angles(
    children: dict[str, list[Any]], inner: dict[str, list[Any]]
) -> Iterator[tuple[str, str]]:
    for key in ANGLES:
        yield key, _first_text(children, key)
        yield key, _first_text(inner, key)
    for group in children.get("attributes", []):
        for attribute in group:
            if _text(attribute, "name") in ANGLES:
                yield _text(attribute, "name"), _text(attribute, "value")
