"""A listing of a source's files, which tells at once whether any was added or changed."""

import os
from pathlib import Path

from facemask.io import user_path

File = tuple[str, int, int]


def files(source: str) -> list[File] | None:
    """Return name, size (bytes) and time of change (ns) of a source's files, sorted by name.

    Hidden files are left out. A source that is neither a folder nor a file is one without size and
    time, by its own name.

    Args:
        source: as for `sources.fetch`.

    Returns:
        None if it is a path where nothing is.
    """
    path = user_path(source)
    if path.is_dir():
        return sorted(_below(path))
    if path.is_file():
        return [_about(path, path.name)]
    return [(source, 0, 0)] if source.startswith(("synthetic:", "kaggle:")) else None


def _below(folder: Path) -> list[File]:
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [Path(root, name) for name in names if not name.startswith(".")]
        found += [_about(path, path.relative_to(folder).as_posix()) for path in paths]
    return found


def _about(path: Path, name: str) -> File:
    try:
        about = path.stat()
    except OSError:  # a link to nothing, of which fetch tells
        return name, 0, 0
    return name, about.st_size, about.st_mtime_ns
