"""What all that is registered has in common."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Generic, TypeVar

from fpbench.api.params import Params, local_digest
from fpbench.api.types import Card, Needs

P = TypeVar("P", bound=Params)


class Component(ABC, Generic[P]):
    """A registered, stateless thing with a name, a version, parameters and a card.

    Class attributes a subclass sets:
        name: lower-case words joined by hyphens; how a suite asks for it.
        version: raised whenever its numbers change.
        Params: its parameter model.
        card: what the page says of it.
        assets: files that were trained elsewhere and are brought by hand, name -> SHA-256;
            `Context.asset` opens them, a plan says which are missing. May depend on parameters.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    Params: ClassVar[type[Params]]
    card: Card
    assets: Mapping[str, str] = MappingProxyType({})

    def __init__(self, params: P) -> None:
        self.params = params

    def needs(self) -> Needs:
        """Resources its heaviest stage asks for."""
        return Needs()

    def digest(self) -> str:
        """Identity of the files outside that its numbers depend on; empty where there are none.

        As it comes, SHA-256 over the contents of what its `Local` parameters name.
        """
        return local_digest(self.params)
