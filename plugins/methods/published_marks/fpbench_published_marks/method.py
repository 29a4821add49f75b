"""What the published marks have in common. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

from fpbench.api import MissingResource, SampleStream, State, TrainedHost
from fpbench.nn.programs import ProgramMethod
from fpbench_published_marks.environments import Environment
from fpbench_published_marks.params import LibraryParams

if TYPE_CHECKING:
    from fpbench.api import Context
    from fpbench.nn.foreign import Program

P = TypeVar("P", bound=LibraryParams)
_PROGRAMS = Path(__file__).with_name("programs")


class LibraryMethod(ProgramMethod[P]):
    """A library that marks and reads samples, run as it is in an environment of its own.

    Class attributes beside the method's:
        environment: of the library.
        module: the program in `programs` that calls it.
    """

    environment: ClassVar[Environment]
    module: ClassVar[str]

    def brought(self) -> tuple[tuple[str, ...], str]:
        """Names of files that no package brings, in the folder `weights`; how to get them."""
        return (), ""

    def lacks(self) -> str:
        """See `Method.lacks`: its environment, and weights that no package brings."""
        if not self.environment.found():
            return (
                f"expected the environment of its library at {self.environment.folder}, got none "
                "there; run `fpbench prepare SUITE`"
            )
        names, how = self.brought()
        place = getattr(self.params, "weights", "")
        if not place and names:
            return f"expected `weights`, a folder with {', '.join(names)}, got none named; {how}"
        absent = [name for name in names if not (Path(place) / name).is_file()]
        if absent:
            return f"expected {', '.join(names)} in {place}, got no {', '.join(absent)}; {how}"
        return ""

    def prepare(self) -> str:
        """See `Method.prepare`: makes the environment."""
        if not self.environment.found():
            self.environment.make()
        return f"{self.environment.folder} ({', '.join(self.environment.pins)})"

    def digest(self) -> str:
        """Of the library's versions, the program that calls it, and the weights."""
        total = hashlib.sha256(f"{self.environment.digest}\n{super().digest()}\n".encode())
        for name in ("serving", "sounding", self.module):
            total.update((_PROGRAMS / f"{name}.py").read_bytes())
        return total.hexdigest()

    def fit(self, host: TrainedHost, images: SampleStream, ctx: Context) -> State:
        """See `ProgramMethod.fit`.

        Raises:
            MissingResource: the environment is not there, or weights are not.
        """
        if missing := self.lacks():
            raise MissingResource(f"method {self.name}: {missing}")
        return super().fit(host, images, ctx)

    def program(self, before: Callable[[], None]) -> Program:
        """See `ProgramMethod.program`."""
        from fpbench.nn.foreign import Program

        place = getattr(self.params, "weights", "")
        strength = getattr(self.params, "strength", 1.0)
        asked = {
            "module": self.module,
            "variant": getattr(self.params, "variant", ""),
            "weights": str(Path(place).resolve()) if place else "",
            "options": {} if strength == 1 else {"strength": strength},
            "pins": self.environment.pins,
        }
        # -E, -s: nothing of fpbench's own environment gets in. -B: nothing is written beside it.
        command = (
            *(str(self.environment.python), "-E", "-s", "-B"),
            *(str(_PROGRAMS / "serving.py"), json.dumps(asked)),
        )
        folder, timeout_s = str(self.environment.folder), self.params.timeout_s
        return Program(f"method {self.name}", command, folder, timeout_s, before)
