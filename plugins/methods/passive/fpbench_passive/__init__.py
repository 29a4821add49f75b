"""Passive detection and attribution: nothing is put into a generator, its images are learnt."""
