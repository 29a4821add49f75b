"""The procedural data set `toy-speech`."""
