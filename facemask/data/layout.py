"""Which files of a source are images and annotations, and under which name each is copied."""

import contextlib
import functools
import hashlib
import itertools
import posixpath
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath as Path
from typing import NamedTuple

from lxml import etree

from facemask.data import foreign
from facemask.data.decode import FORMATS, NOT_READ
from facemask.data.issues import Issue, some
from facemask.data.pairs import stem
from facemask.data.voc import MAX_BYTES, PARSER
from facemask.errors import InputError, listed

SYSTEM = {"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "@eadir"}  # files of systems
IMAGE_FOLDERS = {"images", "jpegimages", "image", "img", "imgs"}
TAKEN = {*FORMATS, ".xml"}  # suffixes of what is copied
LOOKED_AT = 3  # files of a kind whose format is looked for
LONGEST = 240  # bytes of a name without its suffix; file systems take 255 with it

SAME = "files are not read: they are the same as others of their name"

# Returns the first bytes of a file, by its name and their number; None for all.
Read = Callable[[str, int | None], bytes]


class Unit(NamedTuple):
    """Files whose copies have one stem: an image and its annotation, or either alone."""

    images: tuple[str, ...]
    annotations: tuple[str, ...]

    @property
    def name(self) -> str:
        """That of the file whose copy has the stem of them all."""
        return (*self.images, *self.annotations)[0]


def choose(names: Collection[str], read: Read) -> tuple[dict[str, str], list[Issue]]:
    """Choose the files of a source that are copied.

    An annotation belongs to the image of its stem that lies nearest. Where several do, its filename
    and folder decide, then the usual names of folders. Files of one name in several folders
    are kept apart by the folder's name in front.

    Args:
        names: of all files, relative to the source, with / between folders.
        read: returns the content of a file; called where names do not decide.

    Returns:
        The path of each copy, images/NAME or annotations/NAME, by the file's name. And the issues
        of files that are not copied: skipped, or errors if they are annotated images.

    Raises:
        InputError: an image has several annotations, or an annotation may be of several images.
    """
    shown = sorted(name for name in names if not _hidden(name))
    images = [name for name in shown if _suffix(name) in FORMATS]
    xml = [name for name in shown if _suffix(name) == ".xml"]
    annotations = _without_foreign(xml, shown, read)
    units, skipped = _units(images, annotations, read)
    units, copies = _without_copies(units, read)
    skipped += copies
    targets = _targets(units)
    rest = sorted({*shown} - {*images, *xml})
    unreadable = _unreadable(rest, units, targets)
    rest += {*xml} - {*annotations}
    others = _others([name for name in rest if name not in unreadable], read)
    issues = [*unreadable.values(), *skipped, *others]
    hidden = len(names) - len(shown)
    if hidden:
        what = f"{hidden:,} files are not read: their names begin with a dot, or a system made them"
        issues.append(Issue("hidden files", None, "skipped", what))
    return targets, issues


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part.lower() in SYSTEM for part in name.split("/"))


def _suffix(name: str) -> str:
    return posixpath.splitext(name)[1].lower()


@functools.cache
def _key(name: str) -> str:
    return stem(posixpath.basename(name))


def _without_foreign(xml: Sequence[str], shown: Iterable[str], read: Read) -> list[str]:
    """XML files but those that belong to no image and are no Pascal VOC."""
    others = {_key(name) for name in shown if not name.lower().endswith(".xml")}
    return [
        name
        for name in xml
        if _key(name) in others or foreign.root_of(read(name, foreign.HEAD)) in ("annotation", None)
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
        units.append(Unit(own, _distinct(theirs, read)))
    _check(units)
    taken = {name for unit in units for name in unit.images}
    # Masks are of another format than the image that has their name and is annotated.
    annotated = {(_key(name), _suffix(name)) for name in taken}
    stems = {key for key, _ in annotated}
    lost |= {
        name
        for name in images
        if _key(name) in stems and (_key(name), _suffix(name)) not in annotated
    }
    owned = taken | lost
    units += [Unit((name,), ()) for name in images if name not in owned]
    what = "images are not read: another one of the same name is the annotated one"
    repeated = {*annotations} - {name for unit in units for name in unit.annotations}
    return units, [*_by_folder(lost - taken, what), *_by_folder(repeated, SAME)]


def _distinct(names: Sequence[str], read: Read) -> tuple[str, ...]:
    """Of files of equal content, the one in the fewest folders."""
    if len(names) == 1:
        return tuple(names)
    deepest_first = sorted(names, key=lambda name: (-name.count("/"), name))
    return tuple({read(name, None): name for name in deepest_first}.values())


def _check(units: Iterable[Unit]) -> None:
    """Check that it is clear which annotation is of which image."""
    unclear = []
    for images, annotations in units:
        if annotations[1:]:
            unclear.append(f"{images[0]} has several: {some(annotations)}; remove all but one")
        elif len({Path(image).name.casefold() for image in images}) < len(images):
            unclear.append(
                f"{annotations[0]} may be of {some(images)}; write the folder of its image into "
                "<folder>, or remove the others"
            )
    if unclear:
        raise InputError(f"annotations of unclear images:\n  {listed(unclear)}")


def _nearest(annotation: str, images: Sequence[str]) -> list[str]:
    """The images that are the fewest steps from folder to folder away from an annotation."""

    def steps(image: str) -> int:
        here, there = Path(annotation).parent.parts, Path(image).parent.parts
        return len(here) + len(there) - 2 * _common([here, there])

    if len(images) < 2:
        return [*images]
    least = min(map(steps, images))
    return [image for image in images if steps(image) == least]


def _decided(annotation: str, images: list[str], read: Read) -> list[str]:
    """The images that are left after what the annotation says of its own."""
    if len(images) < 2:
        return images
    filename, folder = _said(read(annotation, MAX_BYTES))
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
            content = tuple(_sha256(read(name, None)) for name in files if same[1:])
            if content in seen and content:
                copies |= {*files}
            else:
                kept.append(unit)
                seen.add(content)
    return kept, list(_by_folder(copies, SAME))


def _by_stem(units: Iterable[Unit]) -> Iterator[tuple[str, list[Unit]]]:
    """Units by their stem as disks see it: some take names for one that differ in case alone."""
    groups = defaultdict(list)
    for unit in sorted(units, key=lambda unit: (unit.name.count("/"), unit.name)):
        groups[_key(unit.name).casefold()].append(unit)
    yield from groups.items()


def _targets(units: Collection[Unit]) -> dict[str, str]:
    """The path of each file's copy, with folders in front of names that several have."""
    groups = dict(_by_stem(units))
    kept = {key for key, same in groups.items() if not same[1:] or _of_one_image(same)}
    taken = {*kept}
    common = _common([Path(folder).parts for folder in {posixpath.dirname(u.name) for u in units}])
    targets: dict[str, str] = {}
    for key, same in groups.items():
        for unit in same:
            ours = _short(Path(unit.name).stem)
            if key not in kept:
                folders = Path(unit.name).parent.parts[common:]
                ours = _free(folders, Path(unit.name).stem, taken)
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
    for number in itertools.count(1):
        free = _short("-".join([*folders, *([str(number)] if number > 1 else []), name]))
        if unicodedata.normalize("NFC", free).casefold() not in taken:
            return free
    raise AssertionError("numbers do not end")


def _short(name: str) -> str:
    """A name that a disk takes: of one that is too long, the end, after a digest of it all."""
    data = name.encode()
    if len(data) <= LONGEST:
        return name
    digest = _sha256(data).hex()[:8]
    return f"{digest}-{data[len(digest) + 1 - LONGEST :].decode(errors='ignore')}"


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _unreadable(
    names: Iterable[str], units: Iterable[Unit], targets: Mapping[str, str]
) -> dict[str, Issue]:
    """Errors of annotated images in formats that are not read, by their names.

    Beside an annotated image that is read, they are other forms of it, as phones make them.
    """
    by_key = defaultdict(list)
    for name in names:
        if _suffix(name) in NOT_READ:
            by_key[_key(name)].append(name)
    errors = {}
    for _, annotations in (unit for unit in units if not unit.images):
        for name in _nearest(annotations[0], by_key[_key(annotations[0])]):
            suffix = Path(name).suffix
            # Of the stem that the annotation's copy has, so that it is not said to lack its image.
            copy = Path(targets[annotations[0]]).stem + suffix
            what = f"its format, {NOT_READ[suffix.lower()]}, is not read; convert it to JPEG or PNG"
            errors[name] = Issue(copy, None, "error", what)
    return errors


def _others(rest: Iterable[str], read: Read) -> Iterator[Issue]:
    """What else there is, by folder and kind."""
    groups: Mapping[tuple[str, str], list[str]] = defaultdict(list)
    for name in rest:
        groups[str(Path(name).parent), _suffix(name)].append(name)
    for (_, suffix), names in groups.items():
        kind = NOT_READ.get(suffix)
        if kind:
            what = f"{kind} files are not read; convert images to JPEG or PNG"
        else:
            known = _format(names[:LOOKED_AT], read)
            what = f"{suffix or 'other'} files are not read" + (
                f": this is {known}" if known else ""
            )
        yield from _by_folder(names, what)


def _format(names: Iterable[str], read: Read) -> str | None:
    """The annotation format of files, if they have one."""
    for name in names:
        with contextlib.suppress(InputError):  # cannot be read, and need not be
            if found := foreign.format_of(name, read):
                return found
    return None


def _by_folder(names: Iterable[str], what: str) -> Iterator[Issue]:
    counts = Counter(str(Path(name).parent) for name in sorted(names))
    for folder, count in counts.items():
        place = "the source" if folder == "." else f"{folder}/"
        yield Issue(place, None, "skipped", f"{count:,} {what}")
