"""Errors that a user can cause and correct."""

import errno


class InputError(ValueError):
    """Something given to the pipeline is wrong.

    The message says what is wrong, where (file, key, value) and what to do about it; the stages
    print it alone, without a traceback.
    """


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
