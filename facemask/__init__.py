"""Detect a face and whether it wears a mask: from annotated images to measured networks."""
