"""Images that were marked elsewhere, scored like those of every method."""
