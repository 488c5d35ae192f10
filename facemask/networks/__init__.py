"""Networks with two heads: `label` (with or without mask) and `box` (of the face)."""

from facemask.networks.heads import build
from facemask.networks.localizer import build_localizer
from facemask.networks.transfer import assemble, build_application, build_backbone, weights_digest

__all__ = [
    "assemble",
    "build",
    "build_application",
    "build_backbone",
    "build_localizer",
    "weights_digest",
]
