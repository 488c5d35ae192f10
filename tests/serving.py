"""Start `facemask serve` as a user does, for the tests of the server and of its page."""

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "docs/example.jpg"


@contextmanager
def serving(folder, *options, code=None):
    """Run the server on a free port: yields its address; checks that it wrote nothing.

    Args:
        folder: an empty one, its working directory and where its temporary files would be.
        options: of facemask serve.
        code: Python to run instead of the command.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    how = ["-c", code] if code else ["-m", "facemask"]
    with (folder.parent / f"{folder.name}.log").open("w+") as log:
        process = subprocess.Popen(
            [sys.executable, *how, "serve", "--port", "0", *options],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            line = process.stdout.readline()
            found = re.search(r"http://\S+", line)
            log.seek(0)
            assert found, line + log.read()
            yield found[0]
        finally:
            process.terminate()
            process.wait(10)
            process.stdout.close()
        log.seek(0)
        assert "Traceback" not in log.read()
    left = [each.name for each in folder.iterdir()]
    assert left == [], left
