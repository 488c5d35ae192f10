"""Boxes, losses and networks."""
