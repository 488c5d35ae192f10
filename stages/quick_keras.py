"""Import Keras without scikit-learn and matplotlib, which it loads for what no stage uses.

The garbage collector rests meanwhile and never looks at what was imported again. Together a short
training takes two thirds of the time, and 25 stages of a run are short.
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
gc.freeze()
gc.enable()

__all__ = ["keras"]
