"""The user's reader: a function of a file, or a command that prints."""

from __future__ import annotations

import importlib.util
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fpbench.api import ContractError, MissingResource, StageError

if TYPE_CHECKING:
    from fpbench.builtin.self_marked.params import SelfMarkedParams

__all__ = ["read"]

_TAIL = 300  # characters of what a program says


def read(who: str, pixels: np.ndarray, params: SelfMarkedParams) -> np.ndarray:
    """(N, K) float32 logits of images (N, H, W, 3) uint8.

    Raises:
        ContractError: the reader gives something else than K bits or logits an image.
        StageError: it fails, or takes too long.
        MissingResource: it is not there.
    """
    if params.function:
        reader = _function(who, params.folder, params.function)
        rows = [_called(who, params, reader, image) for image in pixels]
    else:
        rows = _printed(who, pixels, params)
    return np.array(rows, dtype=np.float32)


@lru_cache(maxsize=8)
def _function(who: str, folder: str, named: str) -> Callable[[np.ndarray], Any]:
    file, _, name = named.partition(":")
    path = Path(folder) / file
    if not name or not path.is_file():
        raise MissingResource(
            f"{who}: expected a function FILE.py:NAME in {folder}, got {named!r}; name one"
        )
    spec = importlib.util.spec_from_file_location(f"fpbench_reader_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = getattr(module, name, None)
    if not callable(found):
        raise MissingResource(f"{who}: expected a function {name} in {file}, got none; name one")
    function: Callable[[np.ndarray], Any] = found
    return function


def _called(
    who: str, params: SelfMarkedParams, reader: Callable[[np.ndarray], Any], image: np.ndarray
) -> np.ndarray:
    given = np.asarray(reader(image.copy()))
    if given.shape != (params.bits,) or given.dtype.kind not in "biuf":
        raise ContractError(
            f"{who}: expected {params.function} to give {params.bits} bits or logits, got "
            f"{given.dtype} {given.shape}; mend it"
        )
    return _logits(given)


def _logits(given: np.ndarray) -> np.ndarray:
    """Of bits ±1; logits as they are."""
    if given.dtype.kind == "f":
        return given.astype(np.float32)
    return np.where(given > 0, 1, -1).astype(np.float32)


def _printed(who: str, pixels: np.ndarray, params: SelfMarkedParams) -> list[np.ndarray]:
    from PIL import Image

    with tempfile.TemporaryDirectory(prefix="fpbench-read-") as place:
        names = [f"{number:06}.png" for number in range(len(pixels))]
        for name, image in zip(names, pixels, strict=True):
            Image.fromarray(image).save(Path(place) / name)
        said = _run(who, (*params.command, place), params)
    lines = dict(line.split(maxsplit=1) for line in said.splitlines() if len(line.split()) > 1)
    return [_parsed(who, name, lines.get(name, ""), params) for name in names]


def _run(who: str, command: Sequence[str], params: SelfMarkedParams) -> str:
    what = f"{who}: expected `{' '.join(params.command)}` to read a folder"
    try:
        ended = subprocess.run(  # noqa: S603 - the user's own command, which he has allowed
            command,
            cwd=params.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=params.timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise StageError(
            f"{what} within {params.timeout_s:g} s, got no end; mend it, or raise `timeout_s`"
        ) from None
    except OSError as error:
        raise MissingResource(
            f"{what}, got {error.strerror}; name a program that is there"
        ) from None
    if ended.returncode:
        raise StageError(
            f"{what}, got exit code {ended.returncode}: {ended.stderr.strip()[-_TAIL:]}; run it by "
            "hand on a folder of PNGs"
        )
    return ended.stdout


def _parsed(who: str, name: str, line: str, params: SelfMarkedParams) -> np.ndarray:
    words = line.split()
    if len(words) == 1 and len(words[0]) == params.bits and set(words[0]) <= {"0", "1"}:
        return _logits(np.array([bit == "1" for bit in words[0]]))
    try:
        logits = np.array([float(word) for word in words], dtype=np.float32)
    except ValueError:
        logits = np.empty(0, dtype=np.float32)
    if len(logits) != params.bits or not np.isfinite(logits).all():
        raise ContractError(
            f"{who}: expected a line `{name}` with {params.bits} bits as one word or as many "
            f"logits, got {line[:80]!r}; print one for each PNG"
        )
    return logits
