"""What samples are called: pages are written of images, and say "sound" where these are sounds.

What others wrote, such as labels, a suite's description or why a plugin refuses, stands in <bdi>
and stays.
"""

from __future__ import annotations

import re

from fpbench.plan.data import noun

# Whole scripts, styles, pieces of code, words of others and the title of a page (not of a chart),
# which stay; tags; text.
_PIECES = re.compile(r"(?s)<(script|style|code|pre|bdi|title(?=>))\b.*?</\1>|<[^>]*>|[^<]+")
# What is read aloud, or shown, of a tag.
_ATTRIBUTES = re.compile(r'\b(?:aria-label|alt|title|content|data-group)="[^"]*"')
# Not within the name of a component, such as image-folder.
_WORD = re.compile(r"(?<![-\w])(?:([Aa])n )?([Ii])mage(s?)(?![-\w])")


def called(page: str, modality: str) -> str:
    """A page with the word for samples of a modality where it says "image".

    Args:
        page: HTML.
        modality: name of the modality; of images the page stays as it is.
    """
    if modality == "image":
        return page
    one = noun(modality)

    def word(match: re.Match[str]) -> str:
        article, capital, plural = match.groups()
        said = one.capitalize() if capital == "I" else one
        return f"{article or ''}{' ' if article else ''}{said}{plural}"

    def piece(match: re.Match[str]) -> str:
        found = match.group()
        if match.group(1):
            return found
        if found.startswith("<"):
            return _ATTRIBUTES.sub(lambda part: _WORD.sub(word, part.group()), found)
        return _WORD.sub(word, found)

    return _PIECES.sub(piece, page)
