"""A window that shows images as they are predicted on."""

import os
import re
import sys

import cv2
import numpy as np

from facemask.errors import InputError

TITLE = "facemask"
LONGEST = 1280  # px of a side; screens are hardly larger
CLOSING = {27, ord("q")}  # Esc, q


class ClosedError(Exception):
    """The user closed the window."""


def check() -> None:
    """Check that a window can be opened.

    Raises:
        InputError: this OpenCV has none, or there is no screen.
    """
    gui = re.search(r"GUI:\s*(\S+)", cv2.getBuildInformation())
    if not gui or gui[1] == "NONE":
        raise InputError(
            "--show opens a window, and opencv-python-headless has none: pip uninstall -y "
            "opencv-python-headless && pip install opencv-python; or see the copies in the "
            "output folder"
        )
    # Qt would end the process.
    screens = ("DISPLAY", "WAYLAND_DISPLAY")
    if sys.platform == "linux" and not any(os.environ.get(key) for key in screens):
        raise InputError(
            "--show opens a window, and there is no screen: leave it out, and see the copies in "
            "the output folder"
        )


def show(image: np.ndarray, wait: bool) -> None:
    """Show an image, uint8 RGB; wait for a key, or not.

    Raises:
        ClosedError: Esc or q was pressed, or the window was closed.
    """
    height, width = image.shape[:2]
    scale = min(1.0, LONGEST / max(height, width))
    sides = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image, sides, interpolation=cv2.INTER_AREA)
    cv2.imshow(TITLE, cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
    key = cv2.waitKey(100 if wait else 1)
    while wait and key < 0 and _is_open():
        key = cv2.waitKey(100)
    if key & 0xFF in CLOSING or not _is_open():
        cv2.destroyAllWindows()
        raise ClosedError


def _is_open() -> bool:
    return cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1
