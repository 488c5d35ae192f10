"""Networks with two heads: `label` (with or without mask) and `box` (of the face)."""

from facemask.networks.heads import build
from facemask.networks.transfer import assemble, build_backbone, weights_digest

__all__ = ["assemble", "build", "build_backbone", "weights_digest"]
