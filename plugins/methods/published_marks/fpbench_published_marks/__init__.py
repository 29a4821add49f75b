"""Published watermarks as their own libraries, each in an environment of its own."""
