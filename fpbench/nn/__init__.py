"""Building blocks that plugins share."""
