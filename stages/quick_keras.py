"""Import Keras without scikit-learn and matplotlib, which it loads for what no stage uses.

With the garbage collector at rest meanwhile, this takes two thirds of the time, and 25 stages of a
run wait for it.
"""

import gc
import sys

HIDDEN = ("matplotlib", "sklearn")

gc.disable()
for name in HIDDEN:
    sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # what import calls missing

import keras  # noqa: E402

for name in HIDDEN:
    if sys.modules[name] is None:
        del sys.modules[name]
gc.enable()

__all__ = ["keras"]
