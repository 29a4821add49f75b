"""Folders and archives of real sounds."""
