"""A module that nobody can change here: around an exported graph, a program of other people."""

from __future__ import annotations

from typing import NoReturn, SupportsIndex

from torch import nn

__all__ = ["Opaque"]


class Opaque(nn.Module):
    """A module around something that is handed on as it is: never copied, never pickled."""

    opaque = True

    def __deepcopy__(self, memo: dict[int, object]) -> Opaque:
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__}: expected to be opened anew in each process, got a request to "
            "pickle it; make it again from the files of the method"
        )
