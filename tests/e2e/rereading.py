"""A method with two ways to read one training; it counts in a file how often it is trained."""

import os
from pathlib import Path
from typing import Literal

from fpbench.api import hookimpl
from fpbench.testing.fakes import Perfect


class RereadParams(Perfect.Params):
    """As `perfect`, and the sign of what is read.

    Attributes:
        sign: "plain" or "turned".
    """

    sign: Literal["plain", "turned"] = "plain"


class Reread(Perfect):
    """As `perfect`; turned, every bit is read as the other."""

    name = "reread"
    Params = RereadParams
    afterwards = frozenset({"sign"})

    def fit(self, host, images, ctx):
        with Path(os.environ["FPBENCH_TRAINED"]).open("a") as file:
            file.write(f"{self.params.sign}\n")
        return super().fit(host, images, ctx)

    def extract(self, state, host, evidence, ctx):
        logits = super().extract(state, host, evidence, ctx)
        return -logits if self.params.sign == "turned" else logits


@hookimpl
def fpbench_methods():
    return [Reread]
