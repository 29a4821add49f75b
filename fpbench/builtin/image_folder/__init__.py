"""Folders and archives of real images."""
