"""Frames of a video file, the newest frame of a webcam, and an annotated video."""

import math
import os
import re
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import NamedTuple

import cv2
import numpy as np

from facemask.data.decode import MAX_PIXELS
from facemask.errors import InputError
from facemask.io import atomic_write
from facemask.predict.ahead import ahead

# How files of VIDEOS begin. FFmpeg goes by contents, and would take a text for a playlist that
# names other files and addresses.
BEGINNINGS = re.compile(
    rb".{4}(ftyp|moov|mdat|wide|free|skip)|\x1aE\xdf\xa3|RIFF.{4}AVI |"
    rb"\0\0\x01[\xba\xb3]|G.{187}G|.{4}G.{191}G",
    re.DOTALL,
)
DEFAULT_RATE = 25.0  # frames a second of a file that does not say
WEBCAM_RATE = 10.0  # of an annotated video of a webcam, whose frames are repeated as need be
SILENCE = 10.0  # s without a frame, after which a webcam is given up
MISSING = 0.05  # share of frames that a whole file may lack: some only estimate how many they have


class Frame(NamedTuple):
    """A frame: uint8 (height, width, 3), RGB; its number from 0; seconds since the first."""

    image: np.ndarray
    number: int
    seconds: float


class About(NamedTuple):
    """What a video file says of itself: width, height (px), frames a second, number of frames."""

    width: int
    height: int
    rate: float
    frames: int


def _quiet() -> None:
    """Keep OpenCV and FFmpeg from writing to stderr; what they find is said in other words."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


@contextmanager
def open_file(path: Path) -> Iterator[tuple[cv2.VideoCapture, About]]:
    """Open a video file.

    Raises:
        InputError: it is no video that FFmpeg reads, or its frames are too large; without its name.
    """
    try:
        with path.open("rb") as file:
            beginning = file.read(400)
    except OSError as error:
        raise InputError(f"{error.strerror}; put a readable video there") from None
    _quiet()
    broken = "not a readable video; convert it to MP4 (ffmpeg -i IN OUT.mp4)"
    if not BEGINNINGS.match(beginning):
        raise InputError(broken)
    # An absolute path is no address, whatever its name.
    capture = cv2.VideoCapture(os.path.abspath(path), cv2.CAP_FFMPEG)  # noqa: PTH100 - links stay
    try:
        if not capture.isOpened():
            raise InputError(broken)
        about = _about(capture)
        if not 0 < about.width * about.height <= MAX_PIXELS:
            raise InputError(
                f"its frame size, {about.width} x {about.height} pixels, is zero or above the "
                f"limit of {MAX_PIXELS:,}; make it smaller"
            )
        yield capture, about
    finally:
        capture.release()


def _about(capture: cv2.VideoCapture) -> About:
    def number(key: int) -> float:
        value = capture.get(key)
        return value if math.isfinite(value) and 0 < value < 1e9 else 0.0

    return About(
        int(number(cv2.CAP_PROP_FRAME_WIDTH)),
        int(number(cv2.CAP_PROP_FRAME_HEIGHT)),
        number(cv2.CAP_PROP_FPS) or DEFAULT_RATE,
        int(number(cv2.CAP_PROP_FRAME_COUNT)),
    )


def frames(capture: cv2.VideoCapture, about: About, stop: Event) -> Generator[Frame, None, None]:
    """Yield the frames of an open file, the next ones decoded meanwhile.

    Raises:
        InputError: at the end, if there were none or far fewer than the file says.
    """
    count = 0

    def read() -> tuple[np.ndarray | None, float]:
        found, image = capture.read()
        seconds = max(0.0, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        return (cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if found else None), seconds

    def jobs() -> Iterator[tuple[int, Callable[[], tuple[np.ndarray | None, float]]]]:
        while True:
            yield about.width * about.height, read

    for image, seconds in ahead(jobs(), stop, workers=1):
        if image is None:
            break
        # Some kinds of files have no times.
        yield Frame(image, count, seconds if seconds or not count else count / about.rate)
        count += 1
    if not count:
        raise InputError("holds no readable frame; convert it to MP4 (ffmpeg -i IN OUT.mp4)")
    if count < about.frames * (1 - MISSING) - 1:
        raise InputError(
            f"the file is incomplete: it ends after {count} of {about.frames} frames; these were "
            "processed"
        )


@contextmanager
def open_webcam(number: int) -> Iterator[cv2.VideoCapture]:
    """Open a webcam.

    Raises:
        InputError: there is none of that number, or another program uses it.
    """
    _quiet()
    api = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY
    capture = cv2.VideoCapture(number, api)
    try:
        if not capture.isOpened():
            raise InputError(_no_webcam(number))
        yield capture
    finally:
        capture.release()


def _no_webcam(number: int) -> str:
    found = sorted(
        int(path.name[5:]) for path in Path("/dev").glob("video*") if path.name[5:].isdecimal()
    )
    instead = f"there are {', '.join(map(str, found))}" if found else "the system shows none"
    return (
        f"webcam {number} cannot be opened: {instead}; connect it, and close other programs that "
        f"use it. A file of that name is ./{number}"
    )


@contextmanager
def newest(
    read: Callable[[], tuple[bool, np.ndarray | None]], silence: float = SILENCE
) -> Iterator[Iterator[Frame]]:
    """Yield an iterator over the frames of a webcam, always the newest; older ones are dropped.

    Args:
        read: returns whether there is a frame, and uint8 (height, width, 3), BGR; as
            cv2.VideoCapture.read does. It is called in a thread.
        silence: seconds without a frame, after which it is given up.

    The number of a frame counts those that were dropped.
    """
    one: Queue[Frame | None] = Queue(1)
    stop = Event()
    thread = Thread(target=_keep_newest, args=(read, one, stop), daemon=True)
    thread.start()
    try:
        yield _arriving(one, silence)
    finally:
        stop.set()
        thread.join(silence)  # not for ever: a driver may hang


def _keep_newest(
    read: Callable[[], tuple[bool, np.ndarray | None]],
    one: "Queue[Frame | None]",
    stop: Event,
) -> None:
    start, number = None, 0
    while not stop.is_set():
        found, image = read()
        now = time.monotonic()
        start = now if start is None else start
        whole = found and image is not None
        _replace(one, Frame(image, number, now - start) if whole and image is not None else None)
        if not whole:
            return
        number += 1


def _replace(one: "Queue[Frame | None]", frame: Frame | None) -> None:
    """Put a frame where there is room for one; only this thread puts any."""
    if frame is None:  # the end does not take the last frame's place
        one.put(None)
        return
    while True:
        try:
            one.put_nowait(frame)
        except Full:
            try:
                one.get_nowait()
            except Empty:
                continue
        else:
            return


def _arriving(one: "Queue[Frame | None]", silence: float) -> Iterator[Frame]:
    while True:
        try:
            frame = one.get(timeout=silence)
        except Empty:
            frame = None
        if frame is None:
            raise InputError("gives no more frames; connect it again")
        yield frame._replace(image=cv2.cvtColor(frame.image, cv2.COLOR_BGR2RGB))


@contextmanager
def writer(path: Path, rate: float) -> Iterator[Callable[[np.ndarray], None]]:
    """Yield a function that appends an image, uint8 RGB, to a new MP4 video of `rate` a second.

    All images have the size of the first. Whatever ends it, also an interruption, the video is
    whole.

    Raises:
        InputError: this OpenCV writes no such video.
    """
    held: BaseException | None = None
    opened: list[cv2.VideoWriter] = []
    with atomic_write(path) as part:

        def write(image: np.ndarray) -> None:
            even = _even(image)
            if not opened:
                opened.append(_opened(part, even, rate))
            opened[0].write(cv2.cvtColor(even, cv2.COLOR_RGB2BGR))

        try:
            yield write
        except BaseException as error:
            held = error
        for each in opened:
            each.release()
        if not opened:
            part.touch()
    if not opened:
        path.unlink()
    if held:
        raise held


def _even(image: np.ndarray) -> np.ndarray:
    """An image with even sides, as the codec has them: the last row and column are repeated."""
    height, width = image.shape[:2]
    return cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)


def _opened(part: Path, image: np.ndarray, rate: float) -> cv2.VideoWriter:
    _quiet()
    height, width = image.shape[:2]
    code = cv2.VideoWriter.fourcc(*"mp4v")
    made = cv2.VideoWriter(str(part), cv2.CAP_FFMPEG, code, rate, (width, height))
    if not made.isOpened():
        raise InputError(
            f"a video of {width} x {height} pixels at {rate:g} frames a second cannot be written "
            "as MP4: add --no-save, or make it smaller"
        )
    return made
