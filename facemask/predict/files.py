"""Predict on images, videos and a webcam: a line for each image, copies, annotations, crops."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from itertools import groupby
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np

from facemask.data.decode import Decoded, decode, pixels, read
from facemask.errors import InputError
from facemask.inference import runtime
from facemask.inference.detect import Detections
from facemask.predict import drawing, networks, outputs, video, window
from facemask.predict.ahead import ahead, behind
from facemask.predict.run import (
    INTERRUPTED,
    Options,
    Run,
    crop_names,
    draw,
    pass_over,
    report,
    say,
    summary,
    write_files,
)
from facemask.predict.sources import Item, find

if TYPE_CHECKING:
    from tqdm import tqdm

MANY = 100  # images, from which on progress is shown in a log too
MAX_BYTES = 1_000_000_000  # of an image's file; 130 million pixels of 16 bits take 780 MB
DOWNLOADED = 30_000_000  # pixels that an image is expected to have before it is downloaded

Later = Callable[[int, Callable[[], object]], None]


def predict(sources: Sequence[str], options: Options) -> int:
    """Predict on sources; everything is checked first.

    Returns:
        The exit code: 0; 1 if a file was broken, which is named on stderr; 130 after Ctrl-C.

    Raises:
        InputError: an option or a source is wrong, or an output cannot be written.
    """
    _check(options)
    items, notes = find(sources, options.allow_download)
    if options.voc:
        outputs.check_voc(items)
    if options.show:
        window.check()
    for item in items:
        if item.kind == "webcam":
            with video.open_webcam(int(item.source)):
                pass
    how = networks.Settings(options.conf, options.size, options.tiles, options.multi_scale)
    predictor = networks.load(options.model, how)
    folder = outputs.new_folder(options.to) if options.save else None
    try:
        return _run(items, notes, options, predictor, folder)
    except BrokenPipeError:  # who reads the lines has enough
        raise
    except OSError as error:
        raise outputs.failed(error) from error


def _check(options: Options) -> None:
    runtime.check(options.conf, options.size, options.tiles)
    if options.crop and options.blur:
        raise InputError("--crop cuts out the faces that --blur hides: choose one of them")
    wanted = {
        "--voc": options.voc,
        "--crop": options.crop,
        "--blur": options.blur,
        "--to": options.to,
    }
    for name, given in wanted.items():
        if given and not options.save:
            raise InputError(f"{name} writes files, and --no-save none: leave one of them out")


def _run(
    items: Sequence[Item],
    notes: Sequence[str],
    options: Options,
    predictor: networks.Predictor,
    folder: Path | None,
) -> int:
    with ExitStack() as stack:
        record = stack.enter_context(outputs.lines(folder)) if folder else None
        bar = _bar(items)
        if bar is not None:
            stack.enter_context(bar)
        run = Run(options, predictor, folder, record, bar, ({}, {}), Counter())
        for note in notes:
            report(run, note)
        start = time.perf_counter()
        code = _all(run, items)
    print(summary(run, time.perf_counter() - start, code), file=sys.stderr)
    return code


def _bar(items: Sequence[Item]) -> "tqdm[Any] | None":
    """Progress over more than one image: on a terminal, and of many images in a log too."""
    stills = all(item.kind in ("image", "address") for item in items)
    terminal = sys.stderr.isatty()
    if len(items) < MANY and not (terminal and (len(items) > 1 or not stills)):
        return None
    from tqdm import tqdm

    return tqdm(
        total=len(items) if stills else None,
        unit=" images",
        file=sys.stderr,
        mininterval=0.1 if terminal else 30,
    )


def _all(run: Run, items: Sequence[Item]) -> int:
    """Predict on all items; return the exit code."""
    try:
        for kind, group in groupby(items, lambda item: item.kind):
            if kind in ("image", "address"):
                _images(run, list(group))
                continue
            for item in group:
                _video(run, item)
    except KeyboardInterrupt:
        return INTERRUPTED
    except window.ClosedError:
        pass
    return 1 if run.counts["broken"] else 0


def _images(run: Run, items: Sequence[Item]) -> None:
    stop = Event()
    with behind() as later, closing(ahead(_jobs(items, stop), stop)) as results:
        for item, decoded in results:
            if isinstance(decoded, InputError):
                pass_over(run, item.source, decoded)
            else:
                _image(run, item, decoded, later)
            del decoded  # before the next one is waited for


def _jobs(
    items: Sequence[Item], stop: Event
) -> Iterator[tuple[int, Callable[[], tuple[Item, Decoded | InputError]]]]:
    for item in items:
        expected = DOWNLOADED if item.kind == "address" else pixels(item.path)
        yield expected, partial(_decoded, item, stop)


def _decoded(item: Item, stop: Event) -> tuple[Item, Decoded | InputError]:
    try:
        return item, decode(_downloaded(item, stop) if item.kind == "address" else _read(item.path))
    except InputError as error:
        return item, error


def _downloaded(item: Item, stop: Event) -> bytes:
    from facemask.predict.download import download  # which imports what files need not wait for

    return download(item.source, stop)


def _read(path: Path) -> bytes:
    """The bytes of an image file. Raises InputError without its name."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(
                f"larger than {MAX_BYTES:,} bytes, the limit for an image file; make it smaller"
            )
        return read(path)
    except OSError as error:
        raise InputError(f"{error.strerror}; put a readable image there") from None
    except InputError as error:
        raise InputError(str(error).removeprefix(f"{path}: ")) from None


def _image(run: Run, item: Item, decoded: Decoded, later: Later) -> None:
    image = decoded.image
    found = run.predictor.find(image)
    if decoded.further:
        what = "has further frames or pages; this is of the first"
        report(run, f"{outputs.shown(item.source)}: {what}")
    say(run, item, image, found, {}, "")
    if run.options.show:  # before a thread draws into it
        shown = image.copy()
        draw(run, shown, found)
        window.show(shown, wait=True)
    if run.folder:
        copy = outputs.copy_name(_name(item), decoded.format, run.names[0])
        crops = crop_names(run, copy, found)
        area = image.shape[0] * image.shape[1]
        later(area, partial(write_files, run, item, image, found, copy, crops))


def _name(item: Item) -> str:
    if item.kind != "address":
        return item.name
    from facemask.predict.download import name_of

    return name_of(item.source)


def _video(run: Run, item: Item) -> None:
    try:
        with ExitStack() as stack:
            if item.kind == "webcam":
                capture = stack.enter_context(video.open_webcam(int(item.source)))
                frames = stack.enter_context(video.newest(capture.read))
                _webcam_frames(run, item, frames)
                return
            capture, about = stack.enter_context(video.open_file(item.path))
            frames = stack.enter_context(closing(video.frames(capture, about, Event())))
            _frames(run, item, frames, about.rate)
    except InputError as error:
        pass_over(run, item.source, error)


def _webcam_frames(run: Run, item: Item, frames: Iterator[video.Frame]) -> None:
    """Predict on a webcam's newest frames, and say at the end how many were dropped."""
    taken = last = 0

    def counted() -> Iterator[video.Frame]:
        nonlocal taken, last
        for frame in frames:
            taken, last = taken + 1, frame.number + 1
            yield frame

    try:
        _frames(run, item, counted(), video.WEBCAM_RATE)
    finally:
        report(
            run,
            f"webcam {item.source}: {last - taken} of {last} frames were dropped: each prediction "
            "is of the newest one",
        )


def _frames(run: Run, item: Item, frames: Iterator[video.Frame], rate: float) -> None:
    with ExitStack() as stack:
        write = later = None
        if run.folder:
            name = outputs.free(Path(outputs.clean(item.name)).stem, ".mp4", run.names[0])
            write = stack.enter_context(video.writer(run.folder / name, rate))
            later = stack.enter_context(behind())
        written = 0
        for frame in frames:
            found = run.predictor.find(frame.image)
            about = {"frame": frame.number, "seconds": round(frame.seconds, 3)}
            where = f", frame {frame.number}, {frame.seconds:.2f} s"
            say(run, item, frame.image, found, about, where)
            _save_crops(run, item, frame, found)
            draw(run, frame.image, found)
            if write and later:
                # A webcam's video goes on while frames are dropped.
                due = int(frame.seconds * rate) + 1 - written if item.kind == "webcam" else 1
                area = frame.image.shape[0] * frame.image.shape[1]
                later(area, partial(_repeat, write, frame.image, due))
                written += max(due, 0)
            if run.options.show:
                window.show(frame.image, wait=False)


def _repeat(write: Callable[[np.ndarray], None], image: np.ndarray, times: int) -> None:
    for _ in range(times):
        write(image)


def _save_crops(run: Run, item: Item, frame: video.Frame, found: Detections) -> None:
    if not run.options.crop or not run.folder:
        return
    stem = Path(outputs.clean(item.name)).stem
    names = crop_names(run, f"{stem}_{frame.number:06d}.png", found)
    for name, face in zip(names, drawing.cut_out(frame.image, found), strict=True):
        outputs.write_image(face, run.folder / "crops" / name)
