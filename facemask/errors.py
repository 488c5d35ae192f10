"""The one error a user can cause and mend."""


class InputError(ValueError):
    """Something given to the pipeline is wrong.

    The message says what is wrong, where (file, key, value) and what to do about it; the stages
    print it alone, without a traceback.
    """
