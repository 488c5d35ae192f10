"""What the SOURCEs of a command mean: images, videos, a webcam, addresses; checked before work."""

import glob
import itertools
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from facemask.data.decode import FORMATS, NOT_READ
from facemask.errors import InputError, nearest

VIDEOS = {".mp4", ".m4v", ".mov", ".3gp", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts"}
RECORD = "predictions.jsonl"  # in the folder of every run, whose copies are no new images
ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
WEBCAM = re.compile(r"[0-9]{1,2}")  # `./0` is a file of that name


class Item(NamedTuple):
    """One thing to predict on.

    source: the path, the address, or the webcam's number, as text.
    """

    kind: Literal["image", "video", "webcam", "address"]
    source: str

    @property
    def path(self) -> Path:
        """The file, of an image or a video."""
        return Path(self.source)

    @property
    def name(self) -> str:
        """The file's name, of which the names of outputs are made."""
        if self.kind == "webcam":
            return f"webcam_{self.source}"
        return self.path.name


class Sources(NamedTuple):
    """Items in the order of the sources, and sentences on what is skipped."""

    items: list[Item]
    notes: list[str]


def find(sources: Sequence[str], allow_download: bool = False) -> Sources:
    """Find the items that sources stand for.

    Args:
        sources: images, folders, globs, videos, an address, or the number of a webcam alone.
        allow_download: whether addresses may be opened later.

    Raises:
        InputError: a source is nothing of these, or holds nothing to predict on.
    """
    items: list[Item] = []
    notes: list[str] = []
    for source in sources:
        items += _items(source, allow_download, notes)
    if len(items) > 1 and any(item.kind == "webcam" for item in items):
        raise InputError("a webcam has no end: give its number alone, without other sources")
    if not items:
        raise InputError(
            "there is no SOURCE: give an image, a folder, a video or a webcam's number"
        )
    return Sources(items, notes)


def _items(source: str, allow_download: bool, notes: list[str]) -> list[Item]:
    if not source.strip():
        raise InputError("a SOURCE is empty: give an image, a folder, a video or a webcam's number")
    if WEBCAM.fullmatch(source):
        return [Item("webcam", str(int(source)))]
    if address := ADDRESS.match(source):
        _check_address(source, address[1].lower(), allow_download)
        return [Item("address", source)]
    about = _about(Path(source))
    if about is None and glob.has_magic(source):
        return _of_glob(source, notes)
    if about is None:
        raise InputError(_missing(Path(source)))
    if stat.S_ISDIR(about.st_mode):
        found = _of_folder(Path(source), notes)
        if not found:
            raise InputError(f"{source} holds no images{_skipped(notes)}")
        return found
    if not stat.S_ISREG(about.st_mode):
        raise InputError(f"{source} is neither a file nor a folder; give an image or a folder")
    return [_of_file(Path(source))]


def _check_address(source: str, scheme: str, allow_download: bool) -> None:
    if scheme not in ("http", "https"):
        raise InputError(f"{source}: {scheme}: is not read; give a file, or an http(s) address")
    if not allow_download:
        raise InputError(f"{source} is an address: add --allow-download to download it")
    try:
        parts = urlsplit(source)
        usable = bool(parts.hostname) and parts.username is None and parts.port != 0
        video = Path(parts.path).suffix.lower() in VIDEOS
    except ValueError:
        usable = video = False
    if not usable or not source.isprintable() or " " in source:
        raise InputError(
            f"{source} is not a usable address; give one as https://example.org/image.jpg, "
            "without a user's name"
        )
    if video:
        raise InputError(f"{source}: videos are not downloaded; save it, and give the file")


def _about(path: Path) -> os.stat_result | None:
    """What the system knows of a path; None if nothing is there."""
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path}: {reason}; give a path that can be read") from None


def _missing(path: Path) -> str:
    try:
        hint = nearest(path.name, (each.name for each in path.parent.iterdir()))
    except OSError:
        hint = ""
    return (
        f"there is no {path}{hint}; give an image, a folder, a glob, a video or a webcam's number"
    )


def _of_file(path: Path) -> Item:
    return Item("video" if path.suffix.lower() in VIDEOS else "image", str(path))


def _of_glob(pattern: str, notes: list[str]) -> list[Item]:
    """The images and videos among what a glob matches; a folder stands for its images."""
    items: list[Item] = []
    left: list[str] = []
    matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - Path.glob refuses absolute patterns
    runs = _runs(pattern, matches) if "**" in pattern else set()
    notes += map(_of_a_run, sorted(runs))
    for match in map(Path, matches):
        if runs & {*match.parents} or _is_special(match, notes):
            continue
        if os.path.isdir(match):  # noqa: PTH112 - False also where it may not be seen
            # `**` matches folders beside their files.
            items += [] if "**" in pattern else _of_folder(match, notes)
        elif match.suffix.lower() in {*FORMATS, *VIDEOS}:
            items.append(_of_file(match))
        else:
            left.append(match.name)
    notes += _note(pattern, left)
    if not matches:
        raise InputError(f"nothing matches {pattern}; ** stands for any folders, * for any name")
    if not items:
        raise InputError(f"{pattern} matches no images{_skipped(notes)}")
    return items


def _runs(pattern: str, matches: Iterable[str]) -> set[Path]:
    """The folders of earlier runs below the one at which a pattern begins."""
    fixed = [*itertools.takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts)]
    parents = {parent for match in matches for parent in Path(match).parents}
    return {each for each in parents if each.parts[len(fixed) :] and (each / RECORD).exists()}


def _of_a_run(folder: str | Path) -> str:
    return f"{folder} holds predictions of an earlier run and is skipped"


def _is_special(path: Path, notes: list[str]) -> bool:
    """Whether a path is a pipe or a device, which may be read for ever; a note says so."""
    try:
        mode = path.stat().st_mode
    except OSError:  # as a broken link is: it is named when it is read
        return False
    special = not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
    if special:
        notes.append(f"{path} is a pipe or a device and is skipped")
    return special


def _of_folder(folder: Path, notes: list[str]) -> list[Item]:
    """The images in a folder and the folders below it, sorted by their paths."""
    images: list[Path] = []
    left: list[str] = []
    for root, folders, names in os.walk(folder, onerror=_unlistable):
        if RECORD in names and Path(root) != folder:
            notes.append(_of_a_run(root))
            folders.clear()
            continue
        notes += _left_folders(Path(root), folders)
        for path in (Path(root, name) for name in names if not name.startswith(".")):
            if path.suffix.lower() not in FORMATS:
                left.append(path.name)
            elif not _is_special(path, notes):
                images.append(path)
    notes += _note(str(folder), left)
    return [Item("image", str(path)) for path in sorted(images)]


def _unlistable(error: OSError) -> None:
    raise InputError(
        f"{error.filename}: {error.strerror}; change its permissions, or give single images"
    )


def _left_folders(root: Path, folders: list[str]) -> Iterator[str]:
    """Take out folders that are not walked, and yield what is to be said of them."""
    links = [name for name in folders if (root / name).is_symlink()]
    folders[:] = [name for name in folders if not name.startswith(".") and name not in links]
    for name in links:
        yield f"{root / name} is a link to a folder, which is not followed; give it by itself"


def _note(where: str, names: Iterable[str]) -> list[str]:
    """Say what files are skipped, by kind: [] if none that may be an image."""
    kinds: Counter[str] = Counter()
    for name in names:
        suffix = Path(name).suffix.lower()
        kinds["video" if suffix in VIDEOS else NOT_READ.get(suffix, "")] += 1
    del kinds[""]
    if not kinds:
        return []
    videos = "; name videos one by one" if "video" in kinds else ""
    formats = "; convert other formats to JPEG or PNG" if kinds.keys() - {"video"} else ""
    counted = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    return [f"{where}: files skipped: {counted}{videos}{formats}"]


def _skipped(notes: Sequence[str]) -> str:
    """The end of a message on a place without images."""
    found = "".join(f". {note}" for note in notes)
    return f" ({', '.join(FORMATS)}){found}"
