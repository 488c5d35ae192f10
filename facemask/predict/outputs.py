"""The files of a run of predict: its folder, names in it, images, annotations, lines."""

import errno
import json
import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from facemask.errors import InputError, listed
from facemask.inference.detect import Detections
from facemask.io import atomic_write, write_text
from facemask.predict.sources import RECORD, Item

PARENT = Path("runs/predict")
LONGEST = 200  # bytes of a name's stem; systems take 255 of a name
LONGEST_VOC = 250  # bytes of a stem, whose annotation is first written as .STEM.xml
MOST = 1_000_000  # numbered folders
SUFFIXES = {  # format that a copy keeps: its usual suffix, and others
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "BMP": (".bmp", ".dib"),
}
QUALITY: dict[str, list[int]] = {  # of OpenCV's encoders
    "JPEG": [cv2.IMWRITE_JPEG_QUALITY, 95],
    "PNG": [],
    "WEBP": [cv2.IMWRITE_WEBP_QUALITY, 95],
    "BMP": [],
}


def new_folder(to: Path | None) -> Path:
    """Make the folder of a run, which was not there before.

    Args:
        to: a folder, in which a numbered one is made; or none yet, which becomes the run's own.
            None: PARENT, in which a numbered one is made.

    Raises:
        InputError: it cannot be made.
    """
    try:
        if to is not None and not os.path.lexists(to):
            to.mkdir(parents=True)
            return to
        parent = PARENT if to is None else to
        parent.mkdir(parents=True, exist_ok=True)
        return _numbered(parent)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(
            f"{error.filename} is not a folder: give another with --to, or add --no-save"
        ) from None
    except OSError as error:
        raise InputError(
            f"{error.filename}: {error.strerror}; give another folder with --to, or add --no-save"
        ) from None


def _numbered(parent: Path) -> Path:
    taken = [int(path.name) for path in parent.iterdir() if path.name.isdecimal()]
    for number in range(max(taken, default=0) + 1, max(taken, default=0) + MOST):
        try:
            (parent / str(number)).mkdir()
        except FileExistsError:  # another run was faster
            continue
        return parent / str(number)
    raise InputError(f"{parent} holds too many folders; give another with --to")


def failed(error: OSError) -> InputError:
    """Return the message on a file that could not be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    remedy = "Free some space there, or choose" if full else "Choose"
    return InputError(
        f"{error.filename or 'an output'}: {error.strerror}. {remedy} another folder with --to, or "
        "add --no-save"
    )


def clean(name: str) -> str:
    """Return a file name that every system takes and every program shows; it has no folder."""
    kept = (c if c.isprintable() and c not in '<>:"/\\|?*' else "_" for c in name)
    return "".join(kept).lstrip(".").rstrip(". ") or "image"


def free(stem: str, suffix: str, taken: dict[str, int]) -> str:
    """Return stem + suffix, or with _2, _3 … between them, and take it.

    Names that differ in case alone, or in how accents are written, are one on some systems.

    Args:
        stem: which is cut if it is too long.
        suffix: with its dot.
        taken: names in use, and the last number of each.
    """
    stem = stem.encode()[:LONGEST].decode(errors="ignore")
    name = f"{stem}{suffix}"
    first = _key(name)
    while _key(name) in taken:
        taken[first] += 1
        name = f"{stem}_{taken[first]}{suffix}"
    taken[_key(name)] = 1
    return name


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def copy_name(name: str, kind: str, taken: dict[str, int]) -> str:
    """Return the name of an image's copy, which keeps its format if that is one of SUFFIXES.

    Args:
        name: of the image, as it comes.
        kind: its format, Pillow's name.
        taken: as of `free`.
    """
    cleaned = Path(clean(name))
    usual = SUFFIXES.get(kind, SUFFIXES["PNG"])
    fits = cleaned.suffix.lower() in usual
    # A suffix that lies is a part of the stem no more.
    return free(cleaned.stem, cleaned.suffix if fits else usual[0], taken)


def write_image(image: np.ndarray, path: Path) -> None:
    """Write uint8 RGB in the format of the path's suffix, without any metadata.

    Raises:
        OSError: it cannot be written.
    """
    suffix = path.suffix.lower()
    kind = next(kind for kind, suffixes in SUFFIXES.items() if suffix in suffixes)
    with atomic_write(path) as part:
        _, content = cv2.imencode(
            SUFFIXES[kind][0], cv2.cvtColor(image, cv2.COLOR_RGB2BGR), QUALITY[kind]
        )
        part.write_bytes(content.tobytes())


def shown(text: str) -> str:
    """Return text for one line of a terminal: control characters and line ends are escaped."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text
    )


def json_line(record: Mapping[str, object]) -> str:
    """Return a record as a line of JSON without its end: ASCII, of valid Unicode."""
    return json.dumps(record, allow_nan=False)


def unicode_of(path: str) -> str:
    """Return a path as Unicode; bytes of it that are none become U+FFFD."""
    return os.fsencode(path).decode("utf-8", "replace")


@contextmanager
def lines(folder: Path) -> Iterator[BinaryIO]:
    """Yield the file of a run's lines; each write is whole, also if it is the last.

    Raises:
        OSError: it cannot be made.
    """
    with (folder / RECORD).open("xb", buffering=0) as file:
        yield file


def check_voc(items: Sequence[Item]) -> None:
    """Check that every item has an annotation of its own name.

    Raises:
        InputError: an item is no image file, its name is too long for an annotation, or two would
            have one annotation.
    """
    for item in items:
        if len(os.fsencode(Path(item.source).stem)) > LONGEST_VOC:
            raise InputError(
                f"{item.source}: --voc names an annotation after its image, and this name is too "
                "long for one: rename it"
            )
        if item.kind != "image":
            raise InputError(
                f"{item.source} is not an image file: --voc writes annotations of image files only"
            )
    by_stem: dict[str, list[str]] = {}
    for item in items:
        by_stem.setdefault(_stem(item.source).casefold(), []).append(item.source)
    twins = [", ".join(each) for each in by_stem.values() if len(each) > 1]
    if twins:
        raise InputError(
            "--voc names an annotation after its image, and these have the same name; rename them, "
            f"or predict on them one by one:\n  {listed(twins)}"
        )


def _stem(source: str) -> str:
    return unicodedata.normalize("NFC", Path(source).stem)


def voc_text(name: str, size: tuple[int, int], found: Detections, classes: Sequence[str]) -> str:
    """Return the Pascal-VOC annotation of an image, whose boxes count pixels from 0, inclusively.

    Args:
        name: of the image's file.
        size: width and height, px, as it is shown.
        found: its faces.
        classes: names, in the order of class_id.
    """
    objects: dict[tuple[int, ...], str] = {}
    for box, number in zip(found.xyxy, found.class_id, strict=True):
        # Of two boxes of the same pixels, the more confident one comes first.
        objects.setdefault(_inclusive(box, size), classes[number])
    written = "".join(_object(name, box) for box, name in objects.items())
    width, height = size
    return (
        f"<annotation>\n  <filename>{_xml(name)}</filename>\n"
        f"  <size>\n    <width>{width}</width>\n    <height>{height}</height>\n"
        f"    <depth>3</depth>\n  </size>\n  <segmented>0</segmented>\n{written}</annotation>\n"
    )


def _inclusive(box: np.ndarray, size: tuple[int, int]) -> tuple[int, ...]:
    """The first and the last pixel of a box on each axis: xmin, ymin, xmax, ymax."""
    sides = np.array(size)
    low = np.clip(np.rint(box[:2]).astype(int), 0, sides - 1)
    high = np.clip(np.rint(box[2:]).astype(int) - 1, low, sides - 1)
    return tuple(np.concatenate([low, high]).tolist())


def _object(name: str, box: tuple[int, ...]) -> str:
    corners = "".join(
        f"      <{key}>{value}</{key}>\n"
        for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    return (
        f"  <object>\n    <name>{_xml(name)}</name>\n    <pose>Unspecified</pose>\n"
        "    <truncated>0</truncated>\n    <difficult>0</difficult>\n"
        f"    <bndbox>\n{corners}    </bndbox>\n  </object>\n"
    )


def _xml(text: str) -> str:
    from html import escape  # not before it is needed: its table of names takes time

    return escape("".join(c if c.isprintable() else "_" for c in text), quote=False)


def write_voc(text: str, source: str, folder: Path) -> None:
    """Write the annotation of an image, under its name.

    Raises:
        OSError: it cannot be written.
    """
    write_text(text, folder / f"{Path(source).stem}.xml")
