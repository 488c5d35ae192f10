"""Which files of a source are images and annotations, and under which name each is copied."""

import hashlib
import itertools
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath as Path
from typing import NamedTuple

from lxml import etree

from facemask.data import foreign
from facemask.data.images import FORMATS, NOT_READ
from facemask.data.issues import Issue
from facemask.data.pairs import stem
from facemask.data.voc import PARSER
from facemask.errors import InputError, listed

SYSTEM = {"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "@eadir"}  # files of systems
IMAGE_FOLDERS = {"images", "jpegimages", "image", "img", "imgs"}
LOOKED_AT = 3  # files of a kind whose format is looked for
LONGEST = 200  # bytes of a name; file systems take 255

Read = Callable[[str], bytes]


class Unit(NamedTuple):
    """Files whose copies have one stem: an image and its annotation, or either alone."""

    images: tuple[str, ...]
    annotations: tuple[str, ...]

    @property
    def first(self) -> Path:
        """The file that the copies are named after."""
        return Path((*self.images, *self.annotations)[0])


def choose(names: Collection[str], read: Read) -> tuple[dict[str, str], list[Issue]]:
    """Choose the files of a source that are copied.

    An annotation belongs to the image of its stem that lies nearest. Where several do, its filename
    and folder decide, then the usual names of folders. Files of one name in several folders
    are kept apart by the folder's name in front.

    Args:
        names: of all files, relative to the source, with / between folders.
        read: returns the content of a file by its name; called where names do not decide.

    Returns:
        The path of each copy, images/NAME or annotations/NAME, by the file's name. And the issues
        of files that are not copied: skipped, or errors if they are annotated images.

    Raises:
        InputError: an image has several annotations, or it is not clear which one is meant.
    """
    shown = sorted(name for name in names if not _hidden(Path(name)))
    images = [name for name in shown if Path(name).suffix.lower() in FORMATS]
    xml = [name for name in shown if Path(name).suffix.lower() == ".xml"]
    annotations = _without_foreign(xml, shown, read)
    units, skipped = _units(images, annotations, read)
    units, copies = _without_copies(units, read)
    skipped += copies
    unreadable, rest = _unreadable(sorted({*shown} - {*images, *annotations}), annotations)
    issues = [*unreadable, *skipped, *_others(rest, read)]
    hidden = len(names) - len(shown)
    if hidden:
        what = f"{hidden:,} files are not read: their names begin with a dot, or a system made them"
        issues.append(Issue("hidden files", None, "skipped", what))
    return _targets(units), issues


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") or part.lower() in SYSTEM for part in path.parts)


def _key(name: str) -> str:
    return stem(Path(name).name)


def _without_foreign(xml: Sequence[str], shown: Iterable[str], read: Read) -> list[str]:
    """XML files but those that belong to no image and are no Pascal VOC."""
    others = {_key(name) for name in shown if not name.lower().endswith(".xml")}
    return [
        name
        for name in xml
        if _key(name) in others or foreign.root_of(read(name)) in ("annotation", None)
    ]


def _units(
    images: Sequence[str], annotations: Sequence[str], read: Read
) -> tuple[list[Unit], list[Issue]]:
    """Join annotations and images; issues tell which images lost to others of their name."""
    by_key = defaultdict(list)
    for name in images:
        by_key[_key(name)].append(name)
    units, lost, owners = [], set(), defaultdict(list)
    for name in annotations:
        near = _nearest(name, by_key[_key(name)])
        best = _decided(name, near, read)
        lost |= {*near} - {*best}
        owners[tuple(best) or name].append(name)
    for key, theirs in owners.items():
        own = () if isinstance(key, str) else key
        _check_one(own, theirs)
        units.append(Unit(own, (theirs[0],)))
    taken = {name for unit in units for name in unit.images}
    units += [Unit((name,), ()) for name in images if name not in taken | lost]
    what = "images are not read: another one of the same name is the annotated one"
    return units, list(_by_folder(lost - taken, what))


def _check_one(images: Sequence[str], annotations: Sequence[str]) -> None:
    """Check that it is clear which annotation is of which image."""
    if annotations[1:]:
        raise InputError(
            f"{images[0]} has {len(annotations)} annotations; remove all but one:\n  "
            + listed(annotations)
        )
    if len({Path(image).name.casefold() for image in images}) < len(images):
        raise InputError(
            f"{annotations[0]} can be of each of these images; write the folder of its image into "
            f"<folder>, or remove the others:\n  {listed(images)}"
        )


def _nearest(annotation: str, images: Sequence[str]) -> list[str]:
    """The images that are the fewest steps from folder to folder away from an annotation."""

    def steps(image: str) -> int:
        here, there = Path(annotation).parent.parts, Path(image).parent.parts
        return len(here) + len(there) - 2 * _common([here, there])

    least = min(map(steps, images), default=0)
    return [image for image in images if steps(image) == least]


def _decided(annotation: str, images: list[str], read: Read) -> list[str]:
    """The images that are left after what the annotation says of its own."""
    if len(images) < 2:
        return images
    filename, folder = _said(read(annotation))
    for rule in (
        lambda path: path.name == filename,
        lambda path: path.parent.name == folder,
        lambda path: path.parent.name.lower() in IMAGE_FOLDERS,
    ):
        images = [image for image in images if rule(Path(image))] or images
    return images


def _said(data: bytes) -> tuple[str, str]:
    """The filename and the folder in an annotation, without what leads there; empty if missing."""
    try:
        root = etree.fromstring(data, PARSER)
    except etree.XMLSyntaxError:
        return "", ""
    texts = (root.findtext(f"{{*}}{key}") or "" for key in ("filename", "folder"))
    filename, folder = (text.strip().replace("\\", "/").rpartition("/")[2] for text in texts)
    return filename, folder


def _without_copies(units: list[Unit], read: Read) -> tuple[list[Unit], list[Issue]]:
    """Units but those that are, byte for byte, others of the same name in another folder."""
    kept, copies = [], set()
    for _, same in _by_stem(units):
        seen = set()
        for unit in same:
            files = (*unit.images, *unit.annotations)
            content = tuple(hashlib.sha256(read(name)).digest() for name in files if same[1:])
            if content in seen and content:
                copies |= {*files}
            else:
                kept.append(unit)
                seen.add(content)
    what = "files are not read: they are the same as others of their name"
    return kept, list(_by_folder(copies, what))


def _by_stem(units: Iterable[Unit]) -> Iterator[tuple[str, list[Unit]]]:
    """Units by their stem as disks see it: some take names for one that differ in case alone."""
    groups = defaultdict(list)
    for unit in sorted(units, key=lambda unit: (len(unit.first.parts), str(unit.first))):
        groups[stem(unit.first.name).casefold()].append(unit)
    yield from groups.items()


def _targets(units: Iterable[Unit]) -> dict[str, str]:
    """The path of each file's copy, with folders in front of names that several have."""
    groups = dict(_by_stem(units))
    taken = {name for name, same in groups.items() if not same[1:]}
    folders = [unit.first.parent.parts for same in groups.values() for unit in same]
    common = _common(folders)
    targets: dict[str, str] = {}
    for same in groups.values():
        for unit in same:
            ours = unit.first.stem
            if same[1:] and not _of_one_image(same):
                ours = _free(unit.first.parent.parts[common:], ours, taken)
                taken.add(unicodedata.normalize("NFC", ours).casefold())
            for kind, files in (("images", unit.images), ("annotations", unit.annotations)):
                targets |= {file: f"{kind}/{ours}{Path(file).suffix}" for file in files}
    return targets


def _of_one_image(units: Sequence[Unit]) -> bool:
    """Whether units are an image and an annotation whose names differ in case alone."""
    images = [unit for unit in units if unit.images]
    annotations = [unit for unit in units if unit.annotations]
    return len(images) == len(annotations) == 1 and images != annotations


def _common(folders: Sequence[tuple[str, ...]]) -> int:
    """How many folders at the beginning are the same for all."""
    same = itertools.takewhile(lambda parts: len({*parts}) == 1, zip(*folders, strict=False))
    return sum(1 for _ in same)


def _free(folders: Sequence[str], name: str, taken: Collection[str]) -> str:
    """A name that no other copy has: folders in front, and a number if that is not enough."""
    front = "-".join(folders)
    if len(f"{front}-{name}".encode()) > LONGEST:
        front = hashlib.sha256(front.encode()).hexdigest()[:8]
    for number in itertools.count(1):
        parts = [front, str(number) if number > 1 else "", name]
        free = "-".join(part for part in parts if part)
        if unicodedata.normalize("NFC", free).casefold() not in taken:
            return free
    raise AssertionError("numbers do not end")


def _unreadable(names: Sequence[str], annotations: Iterable[str]) -> tuple[list[Issue], list[str]]:
    """Errors of annotated images in formats that are not read, and the other files."""
    annotated = {_key(name) for name in annotations}
    kinds = {
        name: NOT_READ[Path(name).suffix.lower()]
        for name in names
        if Path(name).suffix.lower() in NOT_READ and _key(name) in annotated
    }
    what = "images are not read; convert it to JPEG or PNG"
    errors = [
        Issue(Path(name).name, None, "error", f"{kind} {what}") for name, kind in kinds.items()
    ]
    return errors, [name for name in names if name not in kinds]


def _others(rest: Iterable[str], read: Read) -> Iterator[Issue]:
    """What else there is, by folder and kind."""
    groups: Mapping[tuple[str, str], list[str]] = defaultdict(list)
    for name in rest:
        groups[str(Path(name).parent), Path(name).suffix.lower()].append(name)
    for (_, suffix), names in groups.items():
        kind = NOT_READ.get(suffix)
        if kind:
            what = f"{kind} files are not read; convert images to JPEG or PNG"
        else:
            found = Counter(foreign.format_of(name, read) for name in names[:LOOKED_AT])
            known = next((each for each, _ in found.most_common() if each), None)
            what = f"{suffix or 'other'} files are not read" + (
                f": this is {known}" if known else ""
            )
        yield from _by_folder(names, what)


def _by_folder(names: Iterable[str], what: str) -> Iterator[Issue]:
    counts = Counter(str(Path(name).parent) for name in sorted(names))
    for folder, count in counts.items():
        place = "the source" if folder == "." else f"{folder}/"
        yield Issue(place, None, "skipped", f"{count:,} {what}")
