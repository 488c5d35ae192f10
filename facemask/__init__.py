"""Detect a face and whether it wears a mask: from annotated photographs to measured networks."""
