"""Attacks on sounds: noise, filters, codecs, level, rooms, time and pitch, masks."""
