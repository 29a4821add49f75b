"""Methods whose networks lie in files of other people; nobody can change them here. No torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, TypeVar

from fpbench.api import (
    Context,
    MissingResource,
    Params,
    PostHocMethod,
    SampleStream,
    StageError,
    State,
    TrainedHost,
)
from fpbench.api.params import local_names

__all__ = ["OpaqueMethod"]

P = TypeVar("P", bound=Params)
T = TypeVar("T")


class OpaqueMethod(PostHocMethod[P]):
    """A post-hoc method whose networks lie in files that `Local` parameters name.

    Nothing is trained. The files are part of its keys (`digest`), its state says which they were,
    and they are looked at again whenever something is opened of them.
    """

    opaque: ClassVar[bool] = True
    trains = False
    uses_host = False

    def fit(self, host: TrainedHost, images: SampleStream, ctx: Context) -> State:
        """The digest of the files, (32,) uint8.

        Raises:
            MissingResource: one of them is not there.
        """
        import torch

        del host, images
        for name in sorted(local_names(type(self.params))):
            place = getattr(self.params, name)
            if not Path(place).exists():
                raise MissingResource(
                    f"method {self.name}: expected its `{name}` at {place}, got nothing there; "
                    "bring it, or name another place in the suite"
                )
        digest = list(bytes.fromhex(self.digest()))
        return {"files": torch.tensor(digest, dtype=torch.uint8, device=ctx.device)}

    def check_files(self, state: State) -> None:
        """See that the files are those that the state is of.

        Raises:
            StageError: they have changed since.
        """
        known, found = _hex(state), self.digest()
        if found != known:
            raise StageError(
                f"method {self.name}: expected the files of the plan, with the digest {known}, "
                f"got {found or 'no file'}; run again, which plans with what is there now"
            )

    def opened(self, what: str, state: State, ctx: Context, make: Callable[[], T]) -> T:
        """What `make` opens of the files, once a process.

        Args:
            what: it is; names apart what one method opens.
            state: from `fit`.
            ctx: keeps it.
            make: opens it.

        Raises:
            StageError: the files have changed since `fit`.
        """

        def checked() -> T:
            self.check_files(state)
            return make()

        params = self.params.model_dump_json()
        return ctx.once(f"{self.name} {what} {params} {_hex(state)}", checked)


def _hex(state: State) -> str:
    return bytes(state["files"].tolist()).hex()
