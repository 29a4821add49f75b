"""The procedural data set `toy-faces`."""
