"""Bring images and annotations into one folder; the user's own files are only read."""

import contextlib
import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TypeVar

from tqdm import tqdm

from facemask.data import foreign, layout, synthetic
from facemask.data.issues import Issue
from facemask.errors import DISK_ERRORS, InputError, listed
from facemask.io import user_path

Fetched = tuple[dict[str, str], list[Issue]]
# Copies a file of a source, by its name there, to a path.
Copy = Callable[[str, Path], None]
File = TypeVar("File")

# What reading a zip file raises that is none, or is cut, encrypted or changed.
SPOILT = (zipfile.BadZipFile, EOFError, OSError, RuntimeError, UnicodeDecodeError, zlib.error)
ARCHIVES = (".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")
UTF8 = 0x800  # the flag of a zip's member whose name is UTF-8

# A zip that grows by more than both of these is a bomb: images are compressed already, and XML
# shrinks to a tenth.
MAX_RATIO, MAX_UNPACKED = 100, 100_000_000


def fetch(source: str, folder: Path) -> Fetched:
    """Write `folder/images/*` and `folder/annotations/*.xml` from a source.

    Args:
        source: `synthetic:N` (N images drawn by the project), `kaggle:OWNER/NAME` (downloaded with
            kagglehub), or the path of a folder or zip that holds images and Pascal-VOC XML files,
            in any layout of folders.
        folder: where to; empty or not there.

    Returns:
        The path in the source of each copy, by its path in the folder; and what is not copied, as
        `layout.choose` returns it.

    Raises:
        InputError: the source does not exist, cannot be read, or holds no annotated images.
    """
    kind, _, rest = source.partition(":")
    if kind == "synthetic":
        synthetic.draw_dataset(folder, _count(rest, source))
        drawn = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*"))
        return dict(zip(drawn, drawn, strict=True)), []
    path = _download(rest) if kind == "kaggle" else user_path(source)
    if path.is_file():
        return _unpack(path, folder)
    return _copy_folder(path, folder)


def check_apart(source: str, folder: Path) -> None:
    """Check that a source and the folder of its copies are not within one another.

    Raises:
        InputError: they are, and the source would be overwritten.
    """
    theirs, ours = user_path(source).resolve(), folder.resolve()
    if theirs.is_relative_to(ours) or ours.is_relative_to(theirs):
        raise InputError(
            f"source {source!r} overlaps {folder}, which is overwritten: keep your files elsewhere"
        )


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


def _copy_folder(source: Path, folder: Path) -> Fetched:
    if not source.is_dir():
        raise InputError(
            f"source {str(source)!r} is neither a folder nor a zip file: give the path of one in "
            "datasets.<name>.source, or synthetic:N, or kaggle:OWNER/NAME"
        )
    paths, links = _walk(source)

    def copy(name: str, target: Path) -> None:
        with _readable(paths[name]):
            shutil.copyfile(paths[name], target)

    def read(name: str, size: int | None) -> bytes:
        with _readable(paths[name]), paths[name].open("rb") as file:
            return file.read(size)

    targets, issues = _chosen(source, paths, read)
    return _copied(targets, folder, copy), [*issues, *links]


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in DISK_ERRORS:
            raise
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); repair or remove it"
        ) from error


def _walk(source: Path) -> tuple[dict[str, Path], list[Issue]]:
    """The files of a folder by their names in it; links to folders, which are not followed."""
    paths, links = [], []

    def refuse(error: OSError) -> None:
        raise InputError(
            f"{error.filename}: cannot be read ({error.strerror}); change its permissions"
        ) from error

    for root, folders, names in os.walk(source, onerror=refuse):
        here = Path(root).relative_to(source)
        front = "" if here == Path() else f"{here.as_posix()}/"
        paths += [(_decoded(front + name), Path(root, name)) for name in names]
        for name in filter(lambda name: Path(root, name).is_symlink(), folders):
            place = _decoded(front + name)
            what = "a link to a folder, which is not followed; copy the folder there"
            links.append(Issue(f"{place}/", None, "skipped", what))
    return _by_name(paths), links


def _by_name(files: Iterable[tuple[str, File]]) -> dict[str, File]:
    """Files by their names, which were different before they were decoded."""
    found: dict[str, File] = {}
    for name, file in files:
        if name in found:
            raise InputError(f"{name} is the name of two files, read as text; rename one of them")
        found[name] = file
    return found


def _decoded(name: str) -> str:
    """A name as text: of bytes that are no UTF-8, Python makes what no file can hold."""
    try:
        return _printable(os.fsencode(name).decode())
    except UnicodeDecodeError:
        return _printable(os.fsencode(name).decode("cp1252", "replace"))


def _printable(name: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f]", "_", name)


def _unpack(source: Path, folder: Path) -> Fetched:
    if source.name.lower().endswith(ARCHIVES):
        raise InputError(
            f"{source}: of archives only zip files are read; unpack it, and give the folder in "
            "datasets.<name>.source"
        )
    try:
        with zipfile.ZipFile(source) as archive:
            # Of two of one name, the last is what other programs unpack too.
            infos = {info.filename: info for info in archive.infolist() if _is_file(info)}
            members = _by_name((_member(info), info) for info in infos.values())

            def copy(name: str, target: Path) -> None:
                with archive.open(members[name]) as packed, target.open("wb") as file:
                    shutil.copyfileobj(packed, file)

            def read(name: str, size: int | None) -> bytes:
                with archive.open(members[name]) as packed:
                    return packed.read(-1 if size is None else size)

            _check_packing(members.values())
            _check_growth(members, source, folder)
            targets, issues = _chosen(source, members, read)
            return _copied(targets, folder, copy), issues
    except SPOILT as error:
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            raise
        raise InputError(
            f"{source}: not a whole zip file ({error}); fetch it again, or "
            "give another path in datasets.<name>.source"
        ) from error


def _member(info: zipfile.ZipInfo) -> str:
    """The name of a file in a zip, wherever that was made, without what leads out of a folder."""
    name = info.filename
    if not info.flag_bits & UTF8:
        # Read as code page 437, which is what names without the flag should be and seldom are.
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode()
    parts = re.sub(r"^[A-Za-z]:/", "", name.replace("\\", "/")).split("/")
    return _printable("/".join(part for part in parts if part not in ("", ".", "..")))


def _is_file(info: zipfile.ZipInfo) -> bool:
    is_folder = info.filename.endswith(("/", "\\"))
    return not is_folder and not stat.S_ISLNK(info.external_attr >> 16)


def _check_packing(members: Iterable[zipfile.ZipInfo]) -> None:
    for info in members:
        # Other ways of packing unpack more than the header states before it is cut.
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise zipfile.BadZipFile(f"{info.filename} is packed in a way that images are not")


def _check_growth(members: Mapping[str, zipfile.ZipInfo], source: Path, folder: Path) -> None:
    wanted = [
        info for name, info in members.items() if PurePosixPath(name).suffix.lower() in layout.TAKEN
    ]
    packed, unpacked = source.stat().st_size, sum(info.file_size for info in wanted)
    grows = f"{source}: its {packed / 1e6:,.1f} MB unpack to {unpacked / 1e6:,.1f} MB"
    if unpacked > max(MAX_UNPACKED, MAX_RATIO * packed):
        raise InputError(f"{grows}, as no images do; unpack it yourself if you trust it")
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if unpacked > free:
        raise InputError(f"{grows}, but {folder} has room for {free / 1e6:,.1f} MB; make room")


def _chosen(
    source: Path, names: Collection[str], read: layout.Read
) -> tuple[dict[str, str], list[Issue]]:
    """The files to copy, of which there are images and annotations, and what is left."""
    targets, issues = layout.choose(names, read)
    for kind in ("images", "annotations"):
        if not any(target.startswith(kind) for target in targets.values()):
            left = "".join(f"\n  {line}" for line in [listed([*map(str, issues)])] if issues)
            raise InputError(
                f"{source}: no {kind} found (images and Pascal-VOC XML wanted){left}"
                + (f"\nOther annotations: {foreign.CONVERT}" if kind == "annotations" else "")
            )
    return targets, issues


def _copied(targets: Mapping[str, str], folder: Path, copy: Copy) -> dict[str, str]:
    """Copy files under a progress bar; return the names of the originals by those of the copies."""
    for kind in ("images", "annotations"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for name, target in tqdm(targets.items(), desc="fetch", unit="file"):
        copy(name, folder / target)
    return {target: name for name, target in targets.items()}
