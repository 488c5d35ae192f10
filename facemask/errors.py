"""The one error a user can cause and mend."""

import errno


class InputError(ValueError):
    """Something given to the pipeline is wrong.

    The message says what is wrong, where (file, key, value) and what to do about it; the stages
    print it alone, without a traceback.
    """


# What goes wrong with the place that is written to, whatever is written.
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
