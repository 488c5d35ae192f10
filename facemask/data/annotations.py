"""Pascal-VOC annotations: one XML file per image, one row per face."""

import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from lxml import etree

from facemask.columns import BOX, CLASSES
from facemask.data import issues
from facemask.data.issues import Issue
from facemask.errors import InputError

COLUMNS = ["image", "face", "width", "height", "name", "label", *BOX]
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
# Takes severity, message and the object's number.
Report = Callable[..., None]


def parse(
    paths: Sequence[Path],
    inventory: pd.DataFrame,
    classes: Mapping[str, str | None],
    known: Sequence[Issue] = (),
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read annotation files into one table, and report issues.

    Args:
        paths: the XML files; each belongs to the image of the same stem.
        inventory: the table of `images.inventory`.
        classes: what each class name means: with_mask, without_mask, or None to drop it.
        known: issues of images, as `images.inventory` found them.

    Returns:
        faces: columns image, face (number of the object in its file), width, height (px), name (the
            class as written), label (1 with mask, 0 without), xmin, ymin, xmax, ymax: an inclusive
            range of 0-based pixels, clipped to the image. Sorted by image name. Images with an
            error are left out.
        validation: counts of the images used, of their faces and classes; the images left out; how
            many issues of each severity there are; and all issues.
    """
    unreadable = [issue.file for issue in known if issue.severity == "error"]
    pairs, found = _pair(paths, inventory, unreadable)
    rows: list[Row] = []
    left_out = {*unreadable, *inventory["image"]} - {listed.image for _, listed in pairs}
    for path, listed in pairs:
        faces, issues_of_file = _read(path, listed.image, listed.width, listed.height, classes)
        found += issues_of_file
        if any(issue.severity == "error" for issue in issues_of_file):
            left_out.add(listed.image)
        else:
            rows += faces
    return _table(rows, classes), _validation(
        rows, classes, len(inventory) + len(unreadable), sorted(left_out), [*known, *found]
    )


def _stem(name: str) -> str:
    # macOS writes é as e and an accent, others as one letter.
    return unicodedata.normalize("NFC", Path(name).stem)


def _pair(
    paths: Sequence[Path], inventory: pd.DataFrame, unreadable: Sequence[str]
) -> tuple[list[tuple[Path, Any]], list[Issue]]:
    """Find the image of each annotation, a row of the table, and report which have none."""
    rows = {listed.image: listed for listed in inventory.itertuples()}
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
                Issue(path.name, None, "error", f"its image is missing from the images{hint}")
            )
    annotated = {_stem(path.name) for path in paths}
    for stem, names in by_stem.items():
        if len(names) > 1:
            what = f"{stem}.xml can only be of one of {', '.join(names)}; rename the others"
        elif stem not in annotated:
            what = f"image without annotation; add {stem}.xml, which may hold no object"
        else:
            continue
        found += [Issue(name, None, "error", what) for name in names if name in rows]
    return pairs, found


def _read(
    path: Path, image: str, width: int, height: int, classes: Mapping[str, str | None]
) -> tuple[list[Row], list[Issue]]:
    """Return the faces of one file and its issues; the faces count if none is an error."""
    found: list[Issue] = []

    def report(severity: issues.Severity, message: str, face: int | None = None) -> None:
        found.append(Issue(path.name, face, severity, message))

    try:
        root = _root(path)
    except InputError as error:
        report("error", str(error))
        return [], found
    _compare_size(root, image, (width, height), report)
    _compare_name(root, image, report)
    rows = list(_faces(root, (width, height), classes, report))
    if root.find("{*}object") is None:
        report("warning", "no face is annotated")
    return [{"image": image, "width": width, "height": height, **row} for row in rows], found


def _root(path: Path) -> Any:  # noqa: ANN401 - the stubs of lxml lack what is used here
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"larger than {MAX_BYTES:,} bytes: no annotation of one image")
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


def _compare_size(root: Any, image: str, size: tuple[int, int], report: Report) -> None:  # noqa: ANN401
    texts = [_text(root, "size", side) for side in ("width", "height")]
    written = tuple(_number(text or "0") for text in texts)
    if written == (0, 0):
        report("repaired", f"gives no size; {image} has {size[0]} x {size[1]} pixels")
    if written in ((0, 0), size):
        return
    hint = ", the other way round" if written[::-1] == size else ""
    report(
        "error",
        f"gives {' x '.join(text or '?' for text in texts)} pixels, but {image} has {size[0]} x "
        f"{size[1]}{hint}; correct the size, or put the right image there",
    )


def _compare_name(root: Any, image: str, report: Report) -> None:  # noqa: ANN401
    # Only compared: no file is ever opened by a name that an annotation gives.
    named = _text(root, "filename").replace("\\", "/").rpartition("/")[2]
    if named and _stem(named) != _stem(image):
        report("warning", f"its filename is {named!r}, but its image by name is {image}")


def _faces(
    root: Any,  # noqa: ANN401
    size: tuple[int, int],
    classes: Mapping[str, str | None],
    report: Report,
) -> Iterator[Row]:
    """Yield the faces of an annotation, their boxes clipped to the image."""
    seen: dict[Box, tuple[int, str]] = {}
    for face, item in enumerate(root.iterfind("{*}object")):
        name = _text(item, "name")
        if name not in classes:
            report(
                "error",
                f"unknown class {name!r} (known: {', '.join(classes)}); correct the file, or add "
                "the class to datasets.<name>.classes",
                face,
            )
        box = _box(item, face, report)
        if box is None or not _lies_in(box, size, face, report):
            continue
        twin, its_name = seen.setdefault(box, (face, name))
        if its_name != name:
            report("error", f"has the box of object {twin}, which is {its_name}; correct one", face)
        elif twin != face:
            report("repaired", f"the same as object {twin}; counted once", face)
            continue
        width, height = size
        clipped = (
            max(box[0], 0), max(box[1], 0), min(box[2], width - 1), min(box[3], height - 1)
        )  # fmt: skip
        # Kaggle writes xmax = width for a box that ends at the edge; a larger one overflows.
        overflows = min(box) < 0 or box[2] > width or box[3] > height
        if overflows:
            report("repaired", f"box {box} reaches out of the image; cut to {clipped}", face)
        yield {
            "face": face,
            "name": name,
            **dict(zip(BOX, clipped, strict=True)),
            "overflows": overflows,
            "on_the_edge": clipped != box and not overflows,
        }


def _box(item: Any, face: int, report: Report) -> Box | None:  # noqa: ANN401
    """The box of an object in whole pixels, or None, and report what is wrong."""
    texts = {key: _text(item, "bndbox", key) for key in BOX}
    numbers = []
    for key, text in texts.items():
        number = _number(text)
        if number is None:
            what = f"bndbox/{key} is {text!r}, and a number of pixels is wanted"
            report("error", what, face)
        else:
            numbers.append(number)
    if len(numbers) < len(BOX):
        return None
    xmin, ymin, xmax, ymax = map(round, numbers)
    box = (xmin, ymin, xmax, ymax)
    if any(number != round(number) for number in numbers):
        report("repaired", f"box ({', '.join(texts.values())}) rounded to {box}", face)
    return box


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _lies_in(box: Box, size: tuple[int, int], face: int, report: Report) -> bool:
    xmin, ymin, xmax, ymax = box
    if xmin > xmax or ymin > ymax:
        report("error", f"box {box} has min above max; correct it", face)
    elif xmax < 0 or ymax < 0 or xmin >= size[0] or ymin >= size[1]:
        what = f"box {box} lies wholly outside the image of {size[0]} x {size[1]} pixels"
        report("error", f"{what}; correct it", face)
    else:
        if xmin == xmax or ymin == ymax:
            report("warning", f"box {box} is a line or a point, one pixel wide or high", face)
        return True
    return False


def _table(rows: list[Row], classes: Mapping[str, str | None]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=[c for c in COLUMNS if c != "label"])
    table["label"] = table["name"].map(classes).map(CLASSES.index, na_action="ignore")
    kept = table.dropna(subset="label").astype({"label": int})
    return kept.sort_values(["image", "face"], kind="stable", ignore_index=True)[COLUMNS]


def _validation(
    rows: list[Row],
    classes: Mapping[str, str | None],
    images: int,
    left_out: list[str],
    found: list[Issue],
) -> dict[str, Any]:
    return {
        "images": images - len(left_out),
        "faces": len(rows),
        "classes": dict(sorted(Counter(row["name"] for row in rows).items())),
        "faces_of_dropped_classes": sum(classes[row["name"]] is None for row in rows),
        "boxes_on_the_edge": sum(row["on_the_edge"] for row in rows),
        "boxes_overflowing": sum(row["overflows"] for row in rows),
        "left_out": left_out,
        "severities": issues.count(found),
        "issues": [issue._asdict() for issue in found],
    }
