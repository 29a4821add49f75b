"""Parameters of the method `self-marked`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from fpbench.api import Params
from fpbench.api.params import Command, Local


class SelfMarkedParams(Params):
    """What was marked, with which codes, and who reads it.

    Attributes:
        marked: folder or `.zip` file of the marked images, named as the originals are, whatever
            their suffixes.
        codes_file: CSV file with a line `name,code` for each image.
        bits: length of a code, K.
        folder: of the reader's program; all files in it are part of the method's key.
        function: `read.py:read`, a function of a file within `folder`: of an image (H, W, 3) uint8
            it gives K bits, or K logits that are above 0 where a bit is 1.
        command: instead, the words of a command that is started in `folder`, with the path of a
            folder of PNGs behind them; for each PNG it prints a line with its name and the bits as
            one word of 0 and 1, or K logits.
        timeout_s: seconds that a command may take for 64 images.
    """

    marked: Annotated[str, Field(min_length=1), Local()]
    codes_file: Annotated[str, Field(min_length=1), Local()]
    bits: Annotated[int, Field(ge=1, le=4096)]
    folder: Annotated[str, Field(min_length=1), Local()]
    function: Annotated[str, Command()] = ""
    command: Annotated[tuple[str, ...], Command()] = ()
    timeout_s: Annotated[float, Field(gt=0, le=86_400)] = 300.0

    @model_validator(mode="after")
    def _one_reader(self) -> SelfMarkedParams:
        if bool(self.function) == bool(self.command):
            raise ValueError(
                "expected either a `function` or a `command` that reads, got "
                + ("both" if self.function else "neither")
            )
        return self
