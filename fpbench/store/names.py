"""Names of files and anchors made from labels that may hold anything."""

from __future__ import annotations

import re


class Slugs:
    """Makes a distinct, harmless name of each label, the same ones for the same order of labels.

    Args:
        taken: names that stand for something else.
    """

    def __init__(self, *taken: str) -> None:
        self._taken = set(taken)

    def make(self, label: str) -> str:
        """Lower-case letters, digits and hyphens; numbered where two labels would share one."""
        base = re.sub(r"[^a-z0-9.]+", "-", label.lower()).strip("-.")[:60] or "unnamed"
        slug, number = base, 1
        while slug in self._taken:
            number += 1
            slug = f"{base}-{number}"
        self._taken.add(slug)
        return slug
