"""Fetch what the page of `facemask serve` runs its model with; all else is in pyproject.toml."""

import base64
import hashlib
import shutil
import subprocess  # nosec B404
import tarfile
import tempfile
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

VERSION = "1.30.0"
INTEGRITY = (  # npm's, of the whole package
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
)
FOLDER = Path(__file__).parent / "facemask/server/page/ort"
FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
FAILURES = (OSError, ValueError, KeyError, tarfile.TarError, subprocess.SubprocessError)


class BuildPage(build_py):
    """Fetches onnxruntime-web before the files of the package are collected."""

    def run(self) -> None:
        """Fetch it if it is missing; without it the server predicts, so a build goes on."""
        try:
            if not is_there():
                fetch()
        except FAILURES as error:
            self.warn(
                f"onnxruntime-web {VERSION} was not fetched ({error}): facemask serve will predict "
                "on the server, not in the browser. Install npm, then install facemask again."
            )
        super().run()


def is_there() -> bool:
    """Return whether the files are there, of the wanted version."""
    if not all((FOLDER / name).is_file() for name in FILES):
        return False
    return f"ONNX Runtime Web v{VERSION}" in (FOLDER / FILES[0]).read_text(encoding="utf-8")[:200]


def fetch() -> None:
    """Let npm download the package; extract the files that the page needs.

    Raises:
        FAILURES: npm, the network or the package is missing, or not what it should be.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("there is no npm")
    with tempfile.TemporaryDirectory() as folder:
        # Of constants alone, and npm pack runs no scripts.
        subprocess.run(  # noqa: S603 # nosec B603
            [npm, "pack", f"onnxruntime-web@{VERSION}", "--ignore-scripts", "--silent"],
            cwd=folder,
            check=True,
            capture_output=True,
            timeout=300,
        )
        (archive,) = Path(folder).glob("*.tgz")
        digest = hashlib.sha512(archive.read_bytes()).digest()
        if base64.b64encode(digest).decode() != INTEGRITY:
            raise ValueError("its checksum is wrong")
        FOLDER.mkdir(exist_ok=True)
        with tarfile.open(archive) as package:
            for name in FILES:
                source = package.extractfile(f"package/dist/{name}")
                if source is None:
                    raise ValueError(f"{name} is no file")
                # Under its name only once it is whole.
                part = FOLDER / f"{name}.part"
                with source, part.open("wb") as target:
                    shutil.copyfileobj(source, target)
                part.replace(FOLDER / name)


if __name__ == "__main__":
    setup(cmdclass={"build_py": BuildPage})
