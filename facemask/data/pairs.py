"""Which image each annotation belongs to: the one of the same name without its suffix."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from facemask.data.issues import Issue


def stem(name: str) -> str:
    """Return a file name without its suffix, as equal names are equal on all systems."""
    # macOS writes é as e and an accent, others as one letter.
    return unicodedata.normalize("NFC", Path(name).stem)


def pair(
    paths: Sequence[Path], readable: Iterable[str], unreadable: Iterable[str]
) -> tuple[list[tuple[Path, str]], list[Issue]]:
    """Find the image of each annotation, and report which have none.

    Args:
        paths: the annotations.
        readable: names of the images that can be used.
        unreadable: names of those that cannot, which is reported already.

    Returns:
        annotations and the names of their images; issues of all that is left.
    """
    readable = {*readable}
    images = _by_stem([*sorted(readable), *unreadable])
    annotations = _by_stem([path.name for path in paths])
    renamed = _differ_in_case(annotations.keys() - images.keys(), images.keys() - annotations)
    issues = [
        Issue(annotations[ours][0], None, "repaired", _differing(images[theirs][0]))
        for ours, theirs in renamed.items()
    ]
    pairs = []
    for path in paths:
        key = renamed.get(stem(path.name), stem(path.name))
        names = images.get(key, [])
        if len(names) == 1 and names[0] in readable and len(annotations[stem(path.name)]) == 1:
            pairs.append((path, names[0]))
        elif not names:
            issues.append(Issue(path.name, None, "error", _missing(key, images)))
    annotated = annotations.keys() | renamed.values()
    return pairs, issues + [
        Issue(name, None, "error", what)
        for name, what in _left(images, annotations, annotated)
        if name in readable
    ]


def _by_stem(names: Iterable[str]) -> dict[str, list[str]]:
    found = defaultdict(list)
    for name in dict.fromkeys(names):
        found[stem(name)].append(name)
    return dict(found)


def _differ_in_case(ours: Iterable[str], theirs: Iterable[str]) -> dict[str, str]:
    """Pair what differs in case alone, where just one is like just one."""
    alike: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for side, names in enumerate((ours, theirs)):
        for name in sorted(names):
            alike[name.casefold()][side].append(name)
    return {one[0]: other[0] for one, other in alike.values() if len(one) == len(other) == 1}


def _differing(image: str) -> str:
    return f"taken for the annotation of {image}: the names differ in case alone"


def _missing(key: str, images: dict[str, list[str]]) -> str:
    near = sorted(names[0] for other, names in images.items() if other.casefold() == key.casefold())
    if near:
        return (
            f"no image has this name, and {near[0]}, which differs in case alone, cannot be "
            "distinguished from others; rename or remove what is not meant"
        )
    return "its image is missing from the images; add it, or remove this file"


def _left(
    images: dict[str, list[str]], annotations: dict[str, list[str]], annotated: set[str]
) -> Iterator[tuple[str, str]]:
    """Yield images that have no annotation of their own, and why."""
    for key, names in images.items():
        files = annotations.get(key, [])
        if len(names) > 1:
            what = (
                f"{key}.xml can only be of one of {', '.join(names)}; remove the others, or rename "
                "them and give each an annotation of its name"
            )
        elif len(files) > 1:
            what = f"{len(files)} annotations have its name, {key}.xml; remove all but one"
        elif key not in annotated:
            what = (
                f"image without annotation; add {key}.xml, which may hold no object, or remove the "
                "image"
            )
        else:
            continue
        for name in names:
            yield name, what
