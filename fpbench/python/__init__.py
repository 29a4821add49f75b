"""The commands as Python: runs as frames, copies and readings as arrays."""
