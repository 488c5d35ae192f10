"""Pascal-VOC annotations: one XML file a photograph becomes one row a face."""

import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from lxml import etree

from facemask.data import issues
from facemask.data.issues import Defect
from facemask.errors import InputError

LABELS = {"without_mask": 0, "with_mask": 1}
COLUMNS = ["image", "face", "width", "height", "name", "label", "xmin", "ymin", "xmax", "ymax"]
CORNERS = ("xmin", "ymin", "xmax", "ymax")
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

Box = tuple[int, int, int, int]
Row = dict[str, Any]
# Says of an annotation: outcome, what, and the object's number.
Tell = Callable[..., None]


def parse(
    paths: Sequence[Path],
    photographs: pd.DataFrame,
    classes: Mapping[str, str | None],
    known: Sequence[Defect] = (),
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read annotation files into one table and say what was found on the way.

    Args:
        paths: the XML files; each belongs to the photograph of the same stem.
        photographs: the table of `images.survey`.
        classes: what each class name stands for: with_mask, without_mask, or None to drop it.
        known: defects of photographs, as `images.survey` found them.

    Returns:
        faces: columns image, face (number of the object in its file), width, height (px), name (the
            class as written), label (1 with mask, 0 without), xmin, ymin, xmax, ymax: an inclusive
            range of 0-based pixels, clipped to the image. Sorted by image name. Photographs with an
            error are left out.
        validation: counts of the images used, of their faces and classes; the images left out; how
            many defects of each outcome there are; and all defects.
    """
    unreadable = [defect.file for defect in known if defect.outcome == "error"]
    pairs, found = _pair(paths, photographs, unreadable)
    rows: list[Row] = []
    left_out = {*unreadable, *photographs["image"]} - {photograph.image for _, photograph in pairs}
    for path, photograph in pairs:
        faces, told = _read(path, photograph.image, photograph.width, photograph.height, classes)
        found += told
        if any(defect.outcome == "error" for defect in told):
            left_out.add(photograph.image)
        else:
            rows += faces
    return _table(rows, classes), _validation(
        rows, classes, len(photographs) + len(unreadable), sorted(left_out), [*known, *found]
    )


def _stem(name: str) -> str:
    # macOS writes é as e and an accent, others as one letter.
    return unicodedata.normalize("NFC", Path(name).stem)


def _pair(
    paths: Sequence[Path], photographs: pd.DataFrame, unreadable: Sequence[str]
) -> tuple[list[tuple[Path, Any]], list[Defect]]:
    """Find the photograph of each annotation, a row of the table, and say which have none."""
    rows = {photograph.image: photograph for photograph in photographs.itertuples()}
    by_stem = defaultdict(list)
    for name in [*rows, *unreadable]:
        by_stem[_stem(name)].append(name)
    any_case = {stem.casefold(): names[0] for stem, names in by_stem.items()}
    pairs, found = [], []
    for path in paths:
        names = by_stem.get(_stem(path.name), [])
        if len(names) == 1 and names[0] in rows:
            pairs.append((path, rows[names[0]]))
        elif not names:
            near = any_case.get(_stem(path.name).casefold())
            hint = f"; {near} differs in case alone: rename one of them" if near else "; add it"
            found.append(
                Defect(path.name, None, "error", f"its photograph is missing from the images{hint}")
            )
    annotated = {_stem(path.name) for path in paths}
    for stem, names in by_stem.items():
        if len(names) > 1:
            what = f"{stem}.xml can only be of one of {', '.join(names)}; rename the others"
        elif stem not in annotated:
            what = f"photograph without annotation; add {stem}.xml, which may mark no face"
        else:
            continue
        found += [Defect(name, None, "error", what) for name in names if name in rows]
    return pairs, found


def _read(
    path: Path, image: str, width: int, height: int, classes: Mapping[str, str | None]
) -> tuple[list[Row], list[Defect]]:
    """Return the faces of one file and its defects; the faces count if none is an error."""
    found: list[Defect] = []

    def tell(outcome: issues.Outcome, what: str, face: int | None = None) -> None:
        found.append(Defect(path.name, face, outcome, what))

    try:
        root = _root(path)
    except InputError as error:
        tell("error", str(error))
        return [], found
    _compare_size(root, image, (width, height), tell)
    _compare_name(root, image, tell)
    rows = list(_faces(root, (width, height), classes, tell))
    if root.find("{*}object") is None:
        tell("warning", "no face is marked")
    return [{"image": image, "width": width, "height": height, **row} for row in rows], found


def _root(path: Path) -> Any:  # noqa: ANN401 - the stubs of lxml lack what is asked here
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"larger than {MAX_BYTES:,} bytes: no annotation of one photograph")
    try:
        root: Any = etree.fromstring(path.read_bytes(), PARSER)
    except etree.XMLSyntaxError as error:
        raise InputError(f"not well-formed XML ({error.msg}); correct the file") from None
    if root.getroottree().docinfo.doctype:
        raise InputError("declares a document type, which may hold anything; take DOCTYPE out")
    name = etree.QName(root).localname
    if name != "annotation":
        raise InputError(f"no Pascal-VOC annotation: its root is <{name}>, not <annotation>")
    return root


def _text(element: Any, *keys: str) -> str:  # noqa: ANN401
    """The text below an element, of whatever namespace; empty if there is none."""
    return (element.findtext("/".join(f"{{*}}{key}" for key in keys)) or "").strip()


def _compare_size(root: Any, image: str, size: tuple[int, int], tell: Tell) -> None:  # noqa: ANN401
    texts = [_text(root, "size", side) for side in ("width", "height")]
    written = tuple(_number(text or "0") for text in texts)
    if written == (0, 0):
        tell("repaired", f"says no size; {image} has {size[0]} x {size[1]} pixels")
    if written in ((0, 0), size):
        return
    hint = ", the other way round" if written[::-1] == size else ""
    tell(
        "error",
        f"says {' x '.join(text or '?' for text in texts)} pixels, but {image} has {size[0]} x "
        f"{size[1]}{hint}; correct the size, or put the right photograph there",
    )


def _compare_name(root: Any, image: str, tell: Tell) -> None:  # noqa: ANN401
    # Only compared: no file is ever opened by a name that an annotation gives.
    named = _text(root, "filename").replace("\\", "/").rpartition("/")[2]
    if named and _stem(named) != _stem(image):
        tell("warning", f"its filename is {named!r}, but its photograph by name is {image}")


def _faces(
    root: Any,  # noqa: ANN401
    size: tuple[int, int],
    classes: Mapping[str, str | None],
    tell: Tell,
) -> Iterator[Row]:
    """Yield the faces of an annotation, their boxes clipped to the image."""
    seen: dict[Box, tuple[int, str]] = {}
    for face, item in enumerate(root.iterfind("{*}object")):
        name = _text(item, "name")
        if name not in classes:
            tell(
                "error",
                f"unknown class {name!r} (known: {', '.join(classes)}); correct the file, or say "
                "in datasets.<name>.classes what it stands for",
                face,
            )
        box = _box(item, face, tell)
        if box is None or not _lies_in(box, size, face, tell):
            continue
        twin, its_name = seen.setdefault(box, (face, name))
        if its_name != name:
            tell("error", f"has the box of object {twin}, which is {its_name}; correct one", face)
        elif twin != face:
            tell("repaired", f"the same as object {twin}; counted once", face)
            continue
        width, height = size
        clipped = (
            max(box[0], 0), max(box[1], 0), min(box[2], width - 1), min(box[3], height - 1)
        )  # fmt: skip
        # Kaggle writes xmax = width for a box that ends at the edge; what lies beyond overflows.
        overflows = min(box) < 0 or box[2] > width or box[3] > height
        if overflows:
            tell("repaired", f"box {box} reaches out of the image; cut to {clipped}", face)
        yield {
            "face": face,
            "name": name,
            **dict(zip(CORNERS, clipped, strict=True)),
            "overflows": overflows,
            "on_the_edge": clipped != box and not overflows,
        }


def _box(item: Any, face: int, tell: Tell) -> Box | None:  # noqa: ANN401
    """The box of an object in whole pixels, or None, with what is wrong told."""
    texts = {key: _text(item, "bndbox", key) for key in CORNERS}
    numbers = []
    for key, text in texts.items():
        number = _number(text)
        if number is None:
            what = f"bndbox/{key} is {text!r}, and a number of pixels is wanted"
            tell("error", what, face)
        else:
            numbers.append(number)
    if len(numbers) < len(CORNERS):
        return None
    xmin, ymin, xmax, ymax = map(round, numbers)
    box = (xmin, ymin, xmax, ymax)
    if any(number != round(number) for number in numbers):
        tell("repaired", f"box ({', '.join(texts.values())}) rounded to {box}", face)
    return box


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _lies_in(box: Box, size: tuple[int, int], face: int, tell: Tell) -> bool:
    xmin, ymin, xmax, ymax = box
    if xmin > xmax or ymin > ymax:
        tell("error", f"box {box} has min above max; correct it", face)
    elif xmax < 0 or ymax < 0 or xmin >= size[0] or ymin >= size[1]:
        what = f"box {box} lies wholly outside the image of {size[0]} x {size[1]} pixels"
        tell("error", f"{what}; correct it", face)
    else:
        if xmin == xmax or ymin == ymax:
            tell("warning", f"box {box} is a line or a point, one pixel wide or high", face)
        return True
    return False


def _table(rows: list[Row], classes: Mapping[str, str | None]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=[c for c in COLUMNS if c != "label"])
    table["label"] = table["name"].map(classes).map(LABELS)
    kept = table.dropna(subset="label").astype({"label": int})
    return kept.sort_values(["image", "face"], kind="stable", ignore_index=True)[COLUMNS]


def _validation(
    rows: list[Row],
    classes: Mapping[str, str | None],
    images: int,
    left_out: list[str],
    found: list[Defect],
) -> dict[str, Any]:
    return {
        "images": images - len(left_out),
        "faces": len(rows),
        "classes": dict(sorted(Counter(row["name"] for row in rows).items())),
        "faces_of_dropped_classes": sum(classes[row["name"]] is None for row in rows),
        "boxes_on_the_edge": sum(row["on_the_edge"] for row in rows),
        "boxes_overflowing": sum(row["overflows"] for row in rows),
        "left_out": left_out,
        "outcomes": issues.count(found),
        "defects": [defect._asdict() for defect in found],
    }
