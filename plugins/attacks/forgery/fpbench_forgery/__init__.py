"""Attacks that get an innocent user blamed: copied residuals, public embedders, leaked codes."""
