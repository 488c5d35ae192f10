"""Pascal-VOC annotations: one XML file a photograph becomes one row a face."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from lxml import etree

from facemask.errors import InputError

LABELS = {"without_mask": 0, "with_mask": 1}
COLUMNS = ["image", "face", "width", "height", "name", "label", "xmin", "ymin", "xmax", "ymax"]
# No entities, no DTD, no network: an annotation is data from somebody else.
PARSER = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)


def parse(
    paths: list[Path], photographs: pd.DataFrame, classes: Mapping[str, str | None]
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read annotation files into one table and say what was found on the way.

    Args:
        paths: the XML files; each belongs to the photograph of the same stem.
        photographs: the table of `photographs.survey`.
        classes: what each class name stands for: with_mask, without_mask, or None to drop it.

    Returns:
        faces: columns image, face (number of the object in its file), width, height (px), name (the
            class as written), label (1 with mask, 0 without), xmin, ymin, xmax, ymax: an inclusive
            range of 0-based pixels, clipped to the image. Sorted by image name.
        validation: counts of images, faces and classes, and every box that overflowed its image.

    Raises:
        InputError: lists all defects: unreadable XML, missing or non-numeric fields, unknown
            classes, boxes wholly outside, photographs without annotation and the reverse.
    """
    sizes = photographs.set_index(photographs["image"].map(lambda name: Path(name).stem))
    defects = [f"{name}: photograph without annotation" for name in _unpaired(sizes, paths)]
    for stem, names in sizes.groupby(level=0)["image"]:
        if len(names) > 1:
            defects.append(f"{', '.join(names)}: {stem}.xml can only be of one; rename the others")
    sizes = sizes[~sizes.index.duplicated()]
    rows = []
    for path in paths:
        if path.stem not in sizes.index:
            defects.append(f"{path}: its photograph is missing from the images; add it")
            continue
        photograph = sizes.loc[path.stem]
        try:
            rows += _read(path, photograph["image"], photograph["width"], photograph["height"])
        except InputError as error:
            defects.append(str(error))
    table = pd.DataFrame(rows, columns=[c for c in COLUMNS if c != "label"] + ["path"])
    for name, path in table.drop_duplicates("name")[["name", "path"]].itertuples(index=False):
        if name not in classes:
            known = ", ".join(classes)
            defects.append(
                f"{path}: unknown class {name!r} (known: {known}); correct the file, or say in "
                f"datasets.<name>.classes what it stands for"
            )
    swapped = (table["xmin"] > table["xmax"]) | (table["ymin"] > table["ymax"])
    for row in table[swapped].itertuples():
        box = row.xmin, row.ymin, row.xmax, row.ymax
        defects.append(f"{row.path}: object {row.face}: box {box} has min above max; correct it")
    outside = ~swapped & (
        (table["xmax"] < 0)
        | (table["ymax"] < 0)
        | (table["xmin"] >= table["width"])
        | (table["ymin"] >= table["height"])
    )
    for row in table[outside].itertuples():
        defects.append(
            f"{row.path}: object {row.face}: box {row.xmin, row.ymin, row.xmax, row.ymax} lies "
            f"wholly outside the image of {row.width} x {row.height} pixels; correct it"
        )
    if defects:
        raise InputError(
            f"{len(defects)} defect(s) in the annotations:\n  "
            + "\n  ".join(defects)
            + "\nThese are copies: mend your own files, then run dvc repro -f fetch && dvc repro"
        )
    return _clip_and_label(table, classes, len(photographs))


def _unpaired(sizes: pd.DataFrame, paths: list[Path]) -> list[str]:
    return sorted(sizes.loc[~sizes.index.isin([path.stem for path in paths]), "image"])


def _read(path: Path, image: str, width: int, height: int) -> list[tuple[Any, ...]]:
    """Return the objects of one file as rows of name, size and box, as they are written."""
    try:
        root = etree.fromstring(path.read_bytes(), PARSER)
    except etree.XMLSyntaxError as error:
        raise InputError(f"{path}: not well-formed XML ({error.msg}); correct the file") from None
    written = tuple(_number(root, f"size/{key}", path) for key in ("width", "height"))
    if written != (width, height):
        raise InputError(
            f"{path}: says {written[0]} x {written[1]} pixels, but {image} has {width} x {height}; "
            "correct the size, or put the right photograph there"
        )
    rows = []
    for face, item in enumerate(root.iterfind("object")):
        box = [
            _number(item, f"bndbox/{key}", path, face) for key in ("xmin", "ymin", "xmax", "ymax")
        ]
        name = (item.findtext("name") or "").strip()
        rows.append((image, face, width, height, name, *box, path))
    return rows


def _number(element: Any, key: str, path: Path, face: int | None = None) -> int:  # noqa: ANN401
    text = (element.findtext(key) or "").strip()
    try:
        return int(text)
    except ValueError:
        where = "" if face is None else f"object {face}: "
        raise InputError(
            f"{path}: {where}{key} is {text!r}, and a whole number of pixels is wanted"
        ) from None


def _clip_and_label(
    table: pd.DataFrame, classes: Mapping[str, str | None], images: int
) -> tuple[pd.DataFrame, dict[str, Any]]:
    right, bottom = table["width"] - 1, table["height"] - 1
    # Kaggle writes xmax = width for a box that ends at the edge; only what lies beyond overflows.
    overflow = (
        (table[["xmin", "ymin"]] < 0).any(axis=1)
        | (table["xmax"] > table["width"])
        | (table["ymax"] > table["height"])
    )
    edge = ((table["xmax"] > right) | (table["ymax"] > bottom)) & ~overflow
    clipped = table.assign(
        xmin=table["xmin"].clip(0, right),
        ymin=table["ymin"].clip(0, bottom),
        xmax=table["xmax"].clip(0, right),
        ymax=table["ymax"].clip(0, bottom),
        label=table["name"].map(classes).map(LABELS),
    )
    kept = clipped.dropna(subset="label").astype({"label": int})
    validation = {
        "images": images,
        "faces": len(table),
        "classes": dict(sorted(Counter(table["name"]).items())),
        "faces_of_dropped_classes": len(table) - len(kept),
        "boxes_on_the_edge": int(edge.sum()),
        "boxes_overflowing": int(overflow.sum()),
        "overflowing": table[overflow].drop(columns=["name", "path"]).to_dict("records"),
    }
    kept = kept.sort_values(["image", "face"], kind="stable", ignore_index=True)
    return kept[COLUMNS], validation
