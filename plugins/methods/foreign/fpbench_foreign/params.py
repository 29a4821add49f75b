"""Parameters of the method `foreign`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fpbench.api import Params
from fpbench.api.params import Command, Local


class ForeignParams(Params):
    """The program, and what it needs.

    Attributes:
        command: starts it, word by word; a relative path is one within `folder`.
        folder: it is started in, with the program, its checkpoints, and nothing that changes while
            it runs: all files in it are part of the method's key.
        bits: length of a code, K.
        timeout_s: seconds that an answer may take, the first one with the start.
    """

    command: Annotated[tuple[str, ...], Field(min_length=1), Command()]
    folder: Annotated[str, Field(min_length=1), Local()]
    bits: Annotated[int, Field(ge=1, le=4096)]
    timeout_s: Annotated[float, Field(gt=0, le=86_400)] = 300.0
