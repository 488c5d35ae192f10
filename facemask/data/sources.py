"""Bring images and annotations into one folder; the user's own files are only read."""

import os
import shutil
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TypeVar

from tqdm import tqdm

from facemask.data import synthetic
from facemask.data.images import FORMATS
from facemask.errors import DISK_ERRORS, InputError

Item = TypeVar("Item")

# What reading a zip file raises that is none, or is cut, encrypted or changed.
SPOILT = (zipfile.BadZipFile, EOFError, OSError, RuntimeError, UnicodeDecodeError, zlib.error)

# A zip that grows by more than both of these is a bomb: images are compressed already, and XML
# shrinks to a tenth.
MAX_RATIO, MAX_UNPACKED = 100, 100_000_000


def fetch(source: str, folder: Path) -> None:
    """Write `folder/images/*` and `folder/annotations/*.xml` from a source.

    Args:
        source: `synthetic:N` (N images drawn by the project), `kaggle:OWNER/NAME` (downloaded with
            kagglehub), or the path of a folder or zip that holds images and Pascal-VOC XML files,
            in any layout of folders.
        folder: where to; its images and annotations are made anew.

    Raises:
        InputError: the source does not exist, cannot be read, holds no annotated images, or
            overlaps `folder`.
    """
    kind, _, rest = source.partition(":")
    path = Path(source).expanduser()
    theirs, ours = path.resolve(), folder.resolve()
    if theirs.is_relative_to(ours) or ours.is_relative_to(theirs):
        raise InputError(
            f"source {source!r} overlaps {folder}, which is overwritten: keep your files elsewhere"
        )
    # DVC does not delete this folder before the stage runs (persist), so that a source that lies in
    # it is still there to be refused.
    for kind_of_file in ("images", "annotations"):
        shutil.rmtree(folder / kind_of_file, ignore_errors=True)
    if kind == "synthetic":
        synthetic.draw_dataset(folder, _count(rest, source))
    elif kind == "kaggle":
        _copy_folder(_download(rest), folder)
    elif path.is_file():
        _unpack(path, folder)
    else:
        _copy_folder(path, folder)


def image_paths(folder: Path) -> list[Path]:
    """Return the images of a fetched dataset, sorted by name."""
    return sorted((folder / "images").iterdir())


def _count(text: str, source: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"source {source!r}: give a number of images, as in synthetic:64")
    return int(text)


def _download(handle: str) -> Path:
    # Imported here: the only code that may use the network, and only for a kaggle: source.
    import kagglehub

    try:
        return Path(kagglehub.dataset_download(handle))
    except Exception as error:
        raise InputError(
            f"kaggle:{handle} could not be downloaded ({type(error).__name__}: {error}). Download "
            f"the zip from https://www.kaggle.com/datasets/{handle} and give its path as the "
            "dataset's source: -S datasets.<name>.source=PATH"
        ) from error


def _copy_folder(source: Path, folder: Path) -> None:
    if not source.is_dir():
        raise InputError(
            f"source {str(source)!r} is neither a folder nor a zip file: give the path of one in "
            "datasets.<name>.source, or synthetic:N, or kaggle:OWNER/NAME"
        )
    paths = [Path(root, name) for root, _, names in os.walk(source) for name in names]
    targets = _targets({path: path.relative_to(source).as_posix() for path in paths}, source)
    for path, target in _with_progress(targets, folder):
        try:
            shutil.copyfile(path, target)
        except OSError as error:
            if error.errno in DISK_ERRORS:
                raise
            raise InputError(
                f"{path}: cannot be copied ({error.strerror}); repair or remove it"
            ) from error


def _unpack(source: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(source) as archive:
            members = {info: info.filename for info in archive.infolist() if _is_file(info)}
            targets = _targets(members, source)
            _check_growth([info for info, _ in targets], source, folder)
            for info, target in _with_progress(targets, folder):
                with archive.open(info) as packed, target.open("wb") as file:
                    shutil.copyfileobj(packed, file)
    except SPOILT as error:
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            raise
        raise InputError(
            f"{source}: not a whole zip file ({error}); fetch it again, or "
            "give another path in datasets.<name>.source"
        ) from error


def _check_growth(members: list[zipfile.ZipInfo], source: Path, folder: Path) -> None:
    for info in members:
        # Other ways of packing unpack more than the header states before it is cut.
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise zipfile.BadZipFile(f"{info.filename} is packed in a way that images are not")
    packed, unpacked = source.stat().st_size, sum(info.file_size for info in members)
    grows = f"{source}: its {packed / 1e6:,.1f} MB unpack to {unpacked / 1e6:,.1f} MB"
    if unpacked > max(MAX_UNPACKED, MAX_RATIO * packed):
        raise InputError(f"{grows}, as no images do; unpack it yourself if you trust it")
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if unpacked > free:
        raise InputError(f"{grows}, but {folder} has room for {free / 1e6:,.1f} MB; make room")


def _is_file(info: zipfile.ZipInfo) -> bool:
    return not info.is_dir() and not stat.S_ISLNK(info.external_attr >> 16)


def _targets(names: dict[Item, str], source: Path) -> list[tuple[Item, str]]:
    """Choose the files to take and where each goes: only the last part of a name is ever used."""
    taken: dict[str, str] = {}
    targets, twins = [], []
    for item, name in sorted(names.items(), key=lambda pair: pair[1]):
        file = PurePosixPath(name)
        kind = _kind(file)
        if kind is None or "__MACOSX" in file.parts:
            continue
        target = f"{kind}/{file.name}"
        # Some disks take names for one that differ in case, or in how an accent is written.
        first = taken.setdefault(unicodedata.normalize("NFC", target).casefold(), name)
        if first != name:
            twins.append(f"{first} and {name}")
        targets.append((item, target))
    if twins:
        raise InputError(
            f"{source}: these have the same file name; rename one of each, or give the folder that "
            "holds just one:\n  " + "\n  ".join(twins)
        )
    for kind in ("images", "annotations"):
        if not any(target.startswith(kind) for target in taken):
            raise InputError(f"{source}: no {kind} found (images and Pascal-VOC XML wanted)")
    return targets


def _kind(file: PurePosixPath) -> str | None:
    if file.suffix.lower() in FORMATS:
        return "images"
    return "annotations" if file.suffix.lower() == ".xml" else None


def _with_progress(targets: list[tuple[Item, str]], folder: Path) -> Iterator[tuple[Item, Path]]:
    for kind in ("images", "annotations"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for item, target in tqdm(targets, desc="fetch", unit="file"):
        yield item, folder / target
