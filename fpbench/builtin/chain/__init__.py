"""Several image attacks as one, declared in a suite."""
