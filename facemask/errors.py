"""Errors that a user can cause and correct."""

import difflib
import errno
import re
from collections.abc import Iterable, Sequence


class InputError(ValueError):
    """Something given to the pipeline is wrong.

    The message says what is wrong, where (file, key, value) and what to do about it; the stages
    print it alone, without a traceback.
    """


# What installs the packages that predict and serve do without.
TRAIN = 'pip install "facemask[train]"'
SHOWN = 10  # of a list in a message


def listed(lines: Sequence[str]) -> str:
    """Return the first ten lines of a message, indented, and how many more there are."""
    more = [f"and {len(lines) - SHOWN:,} more"] if len(lines) > SHOWN else []
    return "\n  ".join([*lines[:SHOWN], *more])


def nearest(word: str, words: Iterable[str]) -> str:
    """Return a hint at the word that was probably meant, if one is near; case does not count."""
    plain = {_plain(str(each)): str(each) for each in words if str(each) != word}
    near = difflib.get_close_matches(_plain(word), plain, n=1)
    return f" (did you mean {plain[near[0]]!r}?)" if near else ""


def _plain(word: str) -> str:
    """A word as it is remembered: blanks, hyphens and underscores are one, and none at the end."""
    return re.sub(r"[\s_-]+", "_", word.casefold()).strip("_")


# What can be done about a file that cannot be written.
REMEDIES = {
    errno.ENOSPC: (
        "Make room (dvc gc -w deletes all cached results that the current workspace does not use, "
        "those of other commits too)"
    ),
    errno.EDQUOT: "Make room within your quota",
    errno.EROFS: "Put the project where you may write",
    errno.EACCES: "Put the project where you may write, or change the permissions",
    errno.EPERM: "Put the project where you may write, or change the permissions",
}
# Of these, what is never the fault of a file that is read.
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
