"""Find faces and whether they wear a mask: from annotated images to measured networks.

`facemask.detect(image)` finds the faces of an image; `facemask.class_names()` names its classes.
"""

from importlib import import_module
from typing import Any

__all__ = ["class_names", "detect"]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    # Found when it is wanted: the parts of the package do not wait for it.
    if name in __all__:
        return getattr(import_module("facemask.inference.runtime"), name)
    raise AttributeError(f"module 'facemask' has no attribute {name!r}")
