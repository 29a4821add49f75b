"""Attacks by comparison: several users' copies, or one copy and the public host."""
