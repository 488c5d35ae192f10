"""Import Keras without scikit-learn and matplotlib, which it loads for what no stage uses.

The garbage collector is off meanwhile and never scans what was imported. Together this saves a
quarter of the time of a short training, and 25 stages of a run are short. TensorFlow's notes on the
processor, which it writes before that can be switched off, are dropped.
"""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

HIDDEN = ("matplotlib", "sklearn")


@contextmanager
def without_notes() -> Iterator[None]:
    """Let what libraries in C++ write to stderr be dropped; exceptions are raised as ever."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


gc.disable()
for name in HIDDEN:
    sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # what import calls missing

with without_notes():
    import keras

for name in HIDDEN:
    if sys.modules[name] is None:
        del sys.modules[name]
gc.freeze()
gc.enable()

__all__ = ["keras"]
