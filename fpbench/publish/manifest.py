"""What a bundle says of itself: `manifest.json`, which names every other file and its digest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fpbench.api import StoreError, canonical_json, digest

MANIFEST = "manifest.json"
WEIGHTS = "weights"
"""Folder of trained states, which a bundle has where that was asked for."""
FORMAT = 1

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_WORDS = r"^[^\x00-\x1f\x7f-\x9f]*$"  # what a terminal or a page may print

_LONGEST = 120  # characters of a file's name; no file system takes much more

_HEX = r"[0-9a-f]"
_NAMES = re.compile(
    rf"""manifest\.json | records\.jsonl | suite\.json | suite\.toml | request\.json
       | environment\.json | samples/samples\.json | samples/[a-z0-9][a-z0-9.-]*\.(?:png|wav)
       | store/objects/{_HEX}{{2}}/{_HEX}{{64}}/(?:main|{_HEX}{{32}})/
         (?:manifest\.json|arrays\.safetensors)
       | {WEIGHTS}/(?:card\.json|host\.safetensors|(?:fit|enrol)-\d{{1,4}}\.safetensors)""",
    re.VERBOSE,
)
_REQUIRED = frozenset({"records.jsonl", "suite.json", "suite.toml", "request.json"})


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class FileFacts(_Strict):
    """Size and digest of a file.

    Attributes:
        sha256: of its content.
        bytes: its size.
    """

    sha256: Sha256
    bytes: Annotated[int, Field(ge=0)]


class Header(_Strict):
    """Which suite was run.

    Attributes:
        name: of the suite.
        version: of the suite.
        seed: of the suite.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    version: int
    seed: int


class Manifest(_Strict):
    """The content of `manifest.json`.

    Attributes:
        format: of the bundle.
        fpbench: version that made it.
        suite: what was run.
        submitter: who made it, as they want to be called.
        note: what they want to say.
        readings: whether the artefacts are there that numbers can be made of again.
        real: whether images of the data set are shown.
        files: name -> facts, of every file but this one.
        digest: SHA-256 of all of the above.
    """

    format: Literal[1]
    fpbench: Annotated[str, Field(max_length=100, pattern=_WORDS)]
    suite: Header
    submitter: Annotated[str, Field(max_length=200, pattern=_WORDS)]
    note: Annotated[str, Field(max_length=2000, pattern=_WORDS)]
    readings: bool
    real: bool
    files: dict[str, FileFacts]
    digest: Sha256


def make_manifest(facts: Mapping[str, Any]) -> Manifest:
    """A manifest with its digest.

    Args:
        facts: every field but `format` and `digest`, as plain data.

    Raises:
        StoreError: a field is not what it must be.
    """
    body = {"format": FORMAT, **facts}
    return _validated({**body, "digest": digest(body)})


def read_manifest(data: bytes) -> Manifest:
    """The manifest in a file.

    Raises:
        StoreError: it is none, or was edited.
    """
    manifest = _validated(data)
    body = manifest.model_dump(mode="json", exclude={"digest"})
    if digest(body) != manifest.digest:
        raise StoreError(
            f"bundle: expected the digest {digest(body)[:16]}… in {MANIFEST}, got "
            f"{manifest.digest[:16]}…; the manifest was edited. Export the run again"
        )
    return manifest


def manifest_text(manifest: Manifest) -> str:
    """The manifest as a file holds it."""
    return canonical_json(manifest.model_dump(mode="json")) + "\n"


def check_names(names: list[str]) -> None:
    """Refuse names that no bundle has, before anything is written anywhere.

    Raises:
        StoreError: a name leads out of the bundle, comes twice, or is not one that `fpbench export`
            gives.
    """
    seen: set[str] = set()
    for name in names:
        if problem := _problem(name):
            raise _refused(name, "a name of a file within it", problem)
        if name.casefold() in seen:
            raise _refused(name, "every name once", "it twice")
        seen.add(name.casefold())
        if not _NAMES.fullmatch(name):
            raise _refused(name, "files that `fpbench export` writes", "another one")


def check_listed(names: set[str], manifest: Manifest) -> None:
    """Compare the files that are there with those that the manifest lists.

    Raises:
        StoreError: one is missing or not listed, or the manifest lacks one that must be there.
    """
    listed = set(manifest.files)
    if extra := sorted(names - listed - {MANIFEST}):
        raise _refused(extra[0], f"only files that {MANIFEST} lists", f"{len(extra)} others")
    if missing := sorted((listed | _REQUIRED) - names):
        raise _refused(missing[0], "this file", f"none ({len(missing)} are missing)")


def _problem(name: str) -> str:
    if "\\" in name:
        return "a backslash"
    if name.startswith("/"):
        return "an absolute path"
    if re.match(r"[A-Za-z]:", name):
        return "the name of a drive"
    if ".." in name.split("/"):
        return "a way out of its folder"
    if len(name.rpartition("/")[2]) > _LONGEST:
        return f"one of more than {_LONGEST} characters"
    return ""


def _validated(data: bytes | dict[str, Any]) -> Manifest:
    try:
        if isinstance(data, bytes):
            return Manifest.model_validate_json(data)
        return Manifest.model_validate(data)
    except RecursionError:
        raise StoreError(
            f"bundle: expected a manifest of format {FORMAT}, got one that is nested too deeply. "
            "Export the run again"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise StoreError(
            f"bundle: expected a manifest of format {FORMAT}, got another one: {place[:200]}: "
            f"{first['msg']} ({error.error_count()} problems). Export the run again, or update "
            "fpbench"
        ) from None


def _refused(name: str, expected: str, got: str) -> StoreError:
    return StoreError(
        f"bundle: {name[:200]!r}: expected {expected}, got {got}; nothing was taken from the "
        "bundle. Ask its maker to run `fpbench export` again",
        path=name,
    )
