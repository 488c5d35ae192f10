"""Images and annotations: sources, what is wrong with them, crops, splits, arrays."""
