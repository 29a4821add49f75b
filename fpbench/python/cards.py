"""The card of a copy: what opens its file, and nothing that tells a secret or a place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from fpbench.api import Component, Params, SampleInfo, SpecError, StoreError
from fpbench.api.params import commands, local_names
from fpbench.registry import Catalogue
from fpbench.registry.catalogue import NOT_INSTALLED
from fpbench.spec.model import component_json

_MOST_BYTES = 2**20
_IN_PLUGINS = "what is not installed is named in `plugins`"
_NOWHERE = Path("not on this machine")
Count = Annotated[int, Field(ge=1)]


class Part(Params):
    """The method, or the host, of a copy.

    Attributes:
        name: of the component.
        version: of the component.
        params: all of them; of files on the machine that made the copy the names alone.
        digest: of these files; empty where there are none.
        distribution: what offers it.
    """

    name: str
    version: str
    params: dict[str, Any]
    digest: str = ""
    distribution: str = ""


class CopyCard(Params):
    """What lies beside the weights of a copy.

    Attributes:
        format: of this file.
        method: that the copy is of, as it is assembled.
        host: that the method was trained on.
        modality: of the samples.
        shape: of one, (3, H, W) of an image.
        dtype: of one.
        rate: of sounds, hertz.
        threads: of the CPU, with which the copy drew its samples.
        size_bytes: of the weights' file.
        sha256: of the weights' file.
    """

    format: Literal[1] = 1
    method: Part
    host: Part
    modality: str
    shape: Annotated[tuple[Count, ...], Field(min_length=1)]
    dtype: str
    rate: int | None = None
    threads: Count = 1
    size_bytes: Annotated[int, Field(ge=0)] = 0
    sha256: str = ""

    @property
    def info(self) -> SampleInfo:
        """What a sample is."""
        return SampleInfo(self.modality, self.shape, self.dtype, {}, rate=self.rate)

    def text(self) -> str:
        """As a file."""
        return json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"


def part_of(kind: str, component: Component[Any], catalogue: Catalogue) -> Part:
    """What a card says of a component.

    Raises:
        SpecError: it runs what the suite brings, which no card tells.
    """
    if told := commands(component.params):
        raise SpecError(
            [
                f"{kind} {component.name}: expected a copy that is made of weights, got one that "
                f"runs the suite's `{next(iter(told))}`; hand out the suite instead"
            ]
        )
    origin = catalogue.origin(f"{kind}s", component.name)
    return Part(**component_json(component), digest=component.digest(), distribution=origin)


def read_card(path: Path) -> CopyCard:
    """The card in a file.

    Raises:
        StoreError: there is none, or it is of a newer fpbench.
    """
    got = "none"
    if path.is_symlink():
        got = "a link, which is not followed"
    elif path.is_file() and path.stat().st_size > _MOST_BYTES:
        got = f"{path.stat().st_size:,} bytes"
    elif path.is_file():
        try:
            return CopyCard.model_validate_json(path.read_bytes())
        except ValidationError as error:
            fault = error.errors()[0]
            got = f"{'.'.join(map(str, fault['loc'])) or 'a text'}: {fault['msg']}"
    raise StoreError(
        f"copy {path.parent}: expected a card in {path.name}, as `Copy.save` writes it, got {got}; "
        "get the folder again, or the fpbench that made it",
        path=str(path),
    )


def component_of(
    kind: str,
    part: Part,
    places: Mapping[str, str | Path],
    catalogue: Catalogue,
    what: str = "copy",
) -> Component[Any]:
    """The component that a card tells of.

    A card comes from anywhere: it names neither a place of this machine nor anything to be run.
    Files that `places` does not say stay out of reach; those of a training alone nobody misses.

    Args:
        kind: "method" or "host".
        part: what the card says.
        places: parameter -> where on this machine its files are.
        catalogue: what is installed.
        what: the card is of, for messages.

    Raises:
        SpecError: it is not installed, in another version, or with parameters that do not fit.
    """
    who = f"{what}: {kind} {part.name}"
    if catalogue.get(f"{kind}s", part.name) is None:
        unknown = catalogue.unknown(f"{kind}s", part.name).replace(NOT_INSTALLED, _IN_PLUGINS)
        came = f"; it came with {part.distribution}" if part.distribution else ""
        raise SpecError([f"{what}: {unknown}{came}"])
    found = catalogue.component(f"{kind}s", part.name)
    if found.version != part.version:
        raise SpecError(
            [
                f"{who}: expected version {part.version}, which the {what} is of, got "
                f"{found.version}; install the {part.distribution or 'distribution'} that made it"
            ]
        )
    component = found(_params(who, found.Params, part, places, what))
    if told := commands(component.params):
        raise SpecError(
            [f"{who}: expected a card without anything to run, got `{next(iter(told))}`; refused"]
        )
    if not unplaced(kind, part, places, catalogue) and component.digest() != part.digest:
        raise SpecError(
            [
                f"{who}: expected the files that the {what} was made with, got others; see its "
                "`places`"
            ]
        )
    return component


def unplaced(
    kind: str, part: Part, places: Mapping[str, str | Path], catalogue: Catalogue
) -> list[str]:
    """The parameters whose files were at hand when the copy was made, and are not said now."""
    found = catalogue.component(f"{kind}s", part.name)
    return [name for name in _files(found.Params, part) if name not in places]


def _params(
    who: str, params: type[Params], part: Part, places: Mapping[str, str | Path], what: str
) -> Params:
    said = {
        name: str(places.get(name, _NOWHERE / PurePath(str(part.params[name])).name))
        for name in _files(params, part)
    }
    try:
        return params.model_validate_json(json.dumps(part.params | said))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        problem = f"{who}: expected the parameters of a {what}, got {where}: {fault['msg']}"
        raise SpecError([problem]) from None


def _files(params: type[Params], part: Part) -> list[str]:
    return [name for name in sorted(local_names(params)) if part.params.get(name)]
