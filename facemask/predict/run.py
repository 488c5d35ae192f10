"""A run of predict: what is wanted, what is printed and what is written of each image."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from facemask.errors import InputError
from facemask.inference import runtime
from facemask.inference.detect import Detections
from facemask.predict import drawing, networks, outputs
from facemask.predict.sources import Item

if TYPE_CHECKING:  # a run without a bar need not wait for its import
    from tqdm import tqdm

INTERRUPTED = 130  # the exit code of a shell's command after Ctrl-C


class Options(NamedTuple):
    """What the user wants: see `facemask predict --help`.

    conf, size, tiles, multi_scale: as of `runtime.detect`. json: lines are JSON. save: whether
    files are written, in or as the folder `to`.
    """

    conf: float | None = None
    size: int | None = None
    tiles: int | None = None
    multi_scale: bool = False
    model: Path | None = None
    json: bool = False
    voc: bool = False
    crop: bool = False
    blur: bool = False
    show: bool = False
    save: bool = True
    to: Path | None = None
    allow_download: bool = False


class Run(NamedTuple):
    """A run in progress.

    folder and record: where files go, and the file of JSON lines; None without. bar: of progress,
    if one is shown. names: taken ones,
    of copies and of crops, as of `outputs.free`. counts: images, faces, broken.
    """

    options: Options
    predictor: networks.Predictor
    folder: Path | None
    record: BinaryIO | None
    bar: "tqdm[Any] | None"
    names: tuple[dict[str, int], dict[str, int]]
    counts: Counter[str]


def say(
    run: Run,
    item: Item,
    image: np.ndarray,
    found: Detections,
    about: Mapping[str, object],
    where: str,
) -> None:
    """Print the line of an image or frame, and keep it as JSON."""
    height, width = image.shape[:2]
    classes = run.predictor.classes
    record: dict[str, object] = {"image": outputs.unicode_of(item.source), **about}
    record |= {"width": width, "height": height, "faces": runtime.as_records(found, classes)}
    line = outputs.json_line(record)
    if run.record:
        run.record.write(f"{line}\n".encode())
    if not run.options.json:
        name = f"webcam {item.source}" if item.kind == "webcam" else outputs.shown(item.source)
        line = f"{name}{where}: {width} x {height}, {_counted(found, classes)}"
    _print_line(run, line)
    run.counts["images"] += 1
    run.counts["faces"] += len(found.xyxy)
    if run.bar is not None:
        run.bar.update()


def _print_line(run: Run, line: str) -> None:
    if run.bar is not None and sys.stdout.isatty():
        run.bar.write(f"{line}\n", file=sys.stdout, end="")  # above it
    else:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _counted(found: Detections, classes: Sequence[str]) -> str:
    """How many faces there are of each class, in words."""
    count = len(found.class_id)
    kinds = Counter(found.class_id.tolist())
    each = [f"{kinds[k]} {drawing.style_of(classes[k], k).text}" for k in sorted(kinds)]
    return f"{_number(count, 'face')}{': ' if each else ''}{', '.join(each)}"


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def pass_over(run: Run, source: str, error: InputError) -> None:
    """Name a file that is broken, and count it."""
    run.counts["broken"] += 1
    report(run, f"{outputs.shown(source)}: {error}")
    if run.bar is not None:
        run.bar.update()


def report(run: Run, message: str) -> None:
    """Print a message on stderr, above the bar of progress if there is one."""
    write = print if run.bar is None else run.bar.write
    write(f"facemask: {message}", file=sys.stderr)


def summary(run: Run, seconds: float, code: int) -> str:
    """Return what is said at the end, after so many seconds."""
    counts = run.counts
    speed = f", {counts['images'] / seconds:.1f} images a second" if counts["images"] else ""
    parts = [f"{_number(counts['images'], 'image')}, {_number(counts['faces'], 'face')}{speed}"]
    if counts["broken"]:
        parts.append(f"{_number(counts['broken'], 'file')} skipped")
    if code == INTERRUPTED:
        parts.append("interrupted")
    if run.folder:
        parts.append(f"files in {outputs.shown(str(run.folder))}")
    return "; ".join(parts)


def crop_names(run: Run, copy: str, found: Detections) -> list[str]:
    """Return names for the faces cut out of an image, after the name of its copy."""
    if not run.options.crop:
        return []
    path = Path(copy)
    numbers = range(1, len(found.xyxy) + 1)
    return [outputs.free(f"{path.stem}_{number}", path.suffix, run.names[1]) for number in numbers]


def write_files(
    run: Run, item: Item, image: np.ndarray, found: Detections, copy: str, crops: Sequence[str]
) -> None:
    """Write all files of an image, which is changed."""
    folder = run.folder or Path()
    if run.options.voc:
        sides = image.shape[1], image.shape[0]
        text = outputs.voc_text(item.name, sides, found, run.predictor.classes)
        outputs.write_voc(text, item.source, folder / "annotations")
    for name, face in zip(crops, drawing.cut_out(image, found), strict=bool(crops)):
        outputs.write_image(face, folder / "crops" / name)
    draw(run, image, found)
    outputs.write_image(image, folder / copy)


def draw(run: Run, image: np.ndarray, found: Detections) -> None:
    """Draw into an image what its copy shows: boxes, or no faces."""
    if run.options.blur:
        drawing.blur(image, found)
    else:
        drawing.annotate(image, found, run.predictor.classes)
