"""Runs a plan: stages in order, every outcome stored, nothing lost in a kill."""
