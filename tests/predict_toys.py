"""What tests of `facemask predict` share: the command, its files, images that are none."""

import json
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from click.testing import CliRunner

from facemask.cli import app
from facemask.data.decode import read_rgb

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "docs/example.jpg"
ENVIRONMENT = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}


class Done(NamedTuple):
    code: int
    stdout: str
    stderr: str

    @property
    def records(self):
        return [json.loads(line) for line in self.stdout.splitlines()]


def predict(*arguments, code=0):
    """Run the command in this process; it never ends in a traceback."""
    result = CliRunner(env=ENVIRONMENT).invoke(app, ["predict", *map(str, arguments)])
    done = Done(result.exit_code, result.stdout, result.stderr)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert done.code == code, done
    return done


def refused(*arguments):
    """What a wrong input is answered: one message, before anything is written."""
    done = predict(*arguments, code=1)
    assert done.stdout == ""
    assert done.stderr.startswith("facemask: ")
    assert not Path("runs").exists()
    return done.stderr


def process(*arguments, **options):
    """The command as a process of its own, begun."""
    # A test that runs in the background would hand on that SIGINT is ignored.
    return subprocess.Popen(
        [sys.executable, "-m", "facemask", "predict", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **options,
    )


def png_of(width, height):
    """The bytes of a PNG that says it has so many pixels, and has next to none."""

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(b"\0" * 1000)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def write_video(path, images, rate=10):
    height, width = images[0].shape[:2]
    code = cv2.VideoWriter.fourcc(*"mp4v")
    out = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, rate, (width, height))
    for image in images:
        out.write(np.ascontiguousarray(image[..., ::-1]))
    out.release()
    return path


def example():
    return read_rgb(EXAMPLE)
