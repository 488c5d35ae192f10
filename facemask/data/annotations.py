"""Annotations as one table with a row per face, and all issues that they have."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from facemask.columns import BOX, CLASSES
from facemask.data import box_checks, issues, voc
from facemask.data.box_checks import Box, Image
from facemask.data.issues import Issue
from facemask.data.pairs import pair, stem
from facemask.errors import InputError, nearest

COLUMNS = ["image", "face", "width", "height", "name", "label", *BOX]
FIRST = {"zero_based": 0, "one_based": 1}  # number of the first pixel
MAX_COORDINATE = 1e6  # no image is as large
FOLDER = "annotations"  # stands for all files where an issue is of no single one

Pixels = tuple[int, int, int, int]  # a Box of whole pixels
Row = dict[str, Any]
Classes = Mapping[str, str | None]
# Takes severity, message and the object's number.
Report = Callable[..., None]


def parse(
    paths: Sequence[Path],
    inventory: pd.DataFrame,
    classes: Classes,
    known: Sequence[Issue] = (),
    boxes: str = "zero_based",
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read annotation files into one table, and report issues.

    Args:
        paths: the XML files; each belongs to the image of the same stem.
        inventory: the table of `images.inventory`.
        classes: what each class name means: with_mask, without_mask, or None to drop it.
        known: issues found before, as `sources.fetch` and `images.inventory` return them; those of
            severity error are of images.
        boxes: whether files count pixels from 0 or from 1: zero_based or one_based.

    Returns:
        faces: columns image, face (number of the object in its file), width, height (px), name (the
            class as written), label (1 with mask, 0 without), xmin, ymin, xmax, ymax: an inclusive
            range of 0-based pixels, clipped to the image. Sorted by image name. Images with an
            error are left out.
        validation: counts of the images used, of their faces and classes; the images left out; how
            many issues of each severity there are; all issues; and what tells how pixels are
            counted.
    """
    unreadable = {issue.file: None for issue in known if issue.severity == "error"}
    listed = {row.image: _image(row) for row in inventory.itertuples()}
    pairs, found = pair(paths, listed, unreadable)
    rows: list[Row] = []
    for path, name in pairs:
        faces, issues_of_file = _read(path, listed[name], classes, FIRST[boxes])
        found += issues_of_file
        if not any(issue.severity == "error" for issue in issues_of_file):
            rows += faces
    found += _issues_of_all(rows, classes, found)
    wrong = {issue.file for issue in found if issue.severity == "error"}
    used = {name for path, name in pairs if path.name not in wrong}
    left_out = sorted({*listed, *unreadable} - used)
    rows = [row for row in rows if row["image"] in used]
    kept = [row for row in rows if classes[row["name"]] is not None]
    return _table(kept, classes), {
        "images": len(used),
        **_validation(rows, kept, boxes, [*known, *found]),
        "left_out": left_out,
    }


def _image(row: Any) -> Image:  # noqa: ANN401 - a row of a table
    # EXIF's orientations from 5 on exchange width and height.
    return Image(row.image, row.width, row.height, getattr(row, "orientation", 1) >= 5)


def _read(path: Path, image: Image, classes: Classes, first: int) -> tuple[list[Row], list[Issue]]:
    """Return the faces of one file and its issues; the faces count if none is an error."""
    found: list[Issue] = []

    def report(severity: issues.Severity, message: str, face: int | None = None) -> None:
        found.append(Issue(path.name, face, severity, message))

    try:
        annotation = voc.read(path)
    except InputError as error:
        report("error", str(error))
        return [], found
    base = {"file": path.name, "image": image.name, "width": image.width, "height": image.height}
    rows = _faces(annotation, image, classes, first, report)
    return [base | row for row in rows], found


def _faces(
    annotation: voc.Annotation, image: Image, classes: Classes, first: int, report: Report
) -> list[Row]:
    """The faces of an annotation, their boxes clipped to the image.

    An object of a dropped class is counted, whatever else is wrong with it.
    """
    _compare_name(annotation.filename, image.name, report)
    rows: list[Row] = []  # of dropped classes first, then the others
    kept = []
    for item in annotation.objects:
        if item.name in classes and classes[item.name] is None:
            rows.append({"face": item.number, "name": item.name})
        else:
            kept.append(item)
    _check_structure(annotation, kept, report)
    _check_classes(kept, classes, report)
    numbers = dict(_numbers([item for item in kept if not item.shape], report))
    if _check_whole(annotation.size, list(numbers.values()), image, report):
        boxes = dict(_whole_pixels(numbers, image, first, report))
        names = {item.number: item.name for item in kept}
        faces = _clipped(_without_twins(boxes, names, report), image, first, report)
        rows += [{"name": names[row["face"]], **row} for row in faces]
    return rows


def _compare_name(filename: str, image: str, report: Report) -> None:
    ours, theirs = stem(image).casefold(), stem(filename).casefold()
    # The copy of an image whose name another has got its folder's name in front.
    if filename and ours != theirs and not ours.endswith(f"-{theirs}"):
        report("warning", f"its filename is {filename!r}, but its image by name is {image}")


def _check_structure(
    annotation: voc.Annotation, kept: Sequence[voc.Object], report: Report
) -> None:
    """Report what keeps objects from being read at all."""
    if annotation.nested:
        report(
            "error",
            f"{annotation.nested} <object> lie inside other elements, where they are not read; "
            "move them directly into <annotation>",
        )
    elif not annotation.objects:
        report("warning", "no face is annotated")
    for shape, number in Counter(item.shape for item in kept if item.shape).items():
        what = "export upright boxes (bndbox with xmin, ymin, xmax, ymax)"
        report("error", f"holds {number} {shape}, which are not read: {what}")


def _check_classes(objects: Iterable[voc.Object], classes: Classes, report: Report) -> None:
    known = ", ".join(classes)
    for item in objects:
        if not item.name:
            report("error", f"has no class; write one into <name> (known: {known})", item.number)
        elif item.name not in classes:
            report(
                "error",
                f"unknown class {item.name!r} (known: {known}){nearest(item.name, classes)}; "
                "correct the file, or add the class to datasets.<name>.classes",
                item.number,
            )


def _numbers(objects: Iterable[voc.Object], report: Report) -> Iterator[tuple[int, Box]]:
    """Yield the boxes of objects as written, by the objects' numbers; report what is no number."""
    for item in objects:
        values = {key: voc.number(text) for key, text in item.corners.items()}
        wrong = [
            f"bndbox/{key} is {item.corners[key]!r}"
            for key, value in values.items()
            if value is None or abs(value) > MAX_COORDINATE
        ]
        if not item.bndboxes:
            report("error", "has no bndbox; add it, or remove the object", item.number)
        elif item.bndboxes > 1:
            what = f"has {item.bndboxes} bndbox; make one object of each"
            report("error", what, item.number)
        elif wrong:
            instead = f" (it holds {', '.join(item.extra)})" if item.extra else ""
            what = f"{', '.join(wrong)}{instead}; write a plain number of pixels, as 12 or 12.5"
            report("error", what, item.number)
        else:
            xmin, ymin, xmax, ymax = (value or 0.0 for value in values.values())
            yield item.number, (xmin, ymin, xmax, ymax)


def _check_whole(size: tuple[str, str], boxes: Sequence[Box], image: Image, report: Report) -> bool:
    """Report what is wrong with a whole file, and return whether its boxes can be looked at."""
    problem = box_checks.wrong_size(size, boxes, image) or box_checks.misread(boxes, image)
    if problem:
        report("error", problem)
    elif all(voc.number(side or "0") == 0 for side in size):
        report("repaired", f"gives no size; {image.name} has {image} pixels")
    return not problem


def _whole_pixels(
    boxes: Mapping[int, Box], image: Image, first: int, report: Report
) -> Iterator[tuple[int, Pixels]]:
    """Yield the boxes that can be of the image, in whole pixels."""
    for face, numbers in boxes.items():
        xmin, ymin, xmax, ymax = map(round, numbers)
        box = (xmin, ymin, xmax, ymax)
        if box != numbers:
            written = ", ".join(f"{number:.10g}" for number in numbers)
            report("repaired", f"box ({written}) rounded to {box}", face)
        problem = box_checks.wrong_box(box, image, first, [*boxes.values()])
        if problem:
            report("error", problem, face)
            continue
        if xmin == xmax or ymin == ymax:
            report("warning", f"box {box} is a line or a point, one pixel wide or high", face)
        yield face, box


def _without_twins(
    boxes: Mapping[int, Pixels], names: Mapping[int, str], report: Report
) -> Iterator[tuple[int, Pixels]]:
    """Yield boxes but no box twice."""
    seen: dict[Pixels, int] = {}
    for face, box in boxes.items():
        twin = seen.setdefault(box, face)
        if names[twin] != names[face]:
            what = f"has the box of object {twin}, which is {names[twin]}; correct one"
            report("error", what, face)
        elif twin != face:
            report("repaired", f"the same as object {twin}; counted once", face)
            continue
        yield face, box


def _clipped(
    boxes: Iterable[tuple[int, Pixels]],
    image: Image,
    first: int,
    report: Report,
) -> Iterator[Row]:
    """Yield faces with boxes as inclusive ranges of 0-based pixels, and what their edges tell."""
    width, height = image.width, image.height
    for face, box in boxes:
        xmin, ymin, xmax, ymax = (each - first for each in box)
        clipped = (max(xmin, 0), max(ymin, 0), min(xmax, width - 1), min(ymax, height - 1))
        # Kaggle writes xmax = width for a box that ends at the edge; a larger one overflows.
        overflows = min(xmin, ymin) < 0 or xmax > width or ymax > height
        if overflows:
            shown = tuple(each + first for each in clipped)
            report("repaired", f"box {box} reaches out of the image; cut to {shown}", face)
        yield {
            "face": face,
            **dict(zip(BOX, clipped, strict=True)),
            "overflows": overflows,
            "on_the_edge": clipped != (xmin, ymin, xmax, ymax) and not overflows,
            "begins": min(box[:2]),
            "ends_at_size": box[2] == width or box[3] == height,
        }


def _issues_of_all(rows: Sequence[Row], classes: Classes, found: Sequence[Issue]) -> list[Issue]:
    """Issues that no file shows by itself: no face at all, or numbers that are no pixels."""
    faces = [row for row in rows if classes[row["name"]] is not None]
    if not faces and not any(issue.severity == "error" for issue in found):
        what = (
            f"all faces ({len(rows)}) are of classes that datasets.<name>.classes maps to null; "
            "map one of them to with_mask or without_mask"
            if rows
            else "no face is annotated in any file; add the annotations that hold them"
        )
        return [Issue(FOLDER, None, "error", what)]
    reaches: dict[str, float] = {}
    for row in faces:
        reaches[row["file"]] = max(reaches.get(row["file"], 0), row["xmax"], row["ymax"])
    sides = {row["file"]: min(row["width"], row["height"]) for row in faces}
    problem = box_checks.percentages([(reach, sides[file]) for file, reach in reaches.items()])
    return [Issue(file, None, "error", problem) for file in reaches] if problem else []


def _table(faces: Sequence[Row], classes: Classes) -> pd.DataFrame:
    table = pd.DataFrame(faces, columns=[c for c in COLUMNS if c != "label"])
    table["label"] = table["name"].map(classes).map(CLASSES.index).astype(int)
    return table.sort_values(["image", "face"], kind="stable", ignore_index=True)[COLUMNS]


def _validation(
    rows: Sequence[Row], faces: Sequence[Row], boxes: str, found: Sequence[Issue]
) -> dict[str, Any]:
    """Counts of all rows, those of dropped classes too, and of the boxes of faces that are used."""
    all_classes, used_classes = (Counter(row["name"] for row in each) for each in (rows, faces))
    begins = Counter(row["begins"] for row in faces)
    return {
        "faces": len(rows),
        "classes": dict(sorted(all_classes.items())),
        "faces_of_dropped_classes": len(rows) - len(faces),
        "dropped_classes": dict(sorted((all_classes - used_classes).items())),
        "boxes_on_the_edge": sum(row["on_the_edge"] for row in faces),
        "boxes_overflowing": sum(row["overflows"] for row in faces),
        "pixels_counted": {
            "boxes": boxes,
            "begin_at_0": begins[0],
            "begin_at_1": begins[1],
            "end_at_size": sum(row["ends_at_size"] for row in faces),
        },
        "severities": issues.count(found),
        "issues": [issue._asdict() for issue in found],
    }
