"""Ways to draw users' codes, and to say whom a reading accuses."""
