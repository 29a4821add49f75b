"""What of a machine is as fpbench needs it, and what to do where it is not."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

from fpbench.api import FpbenchError, MissingResource
from fpbench.backbones import weights
from fpbench.execute.machine import gpus, processors
from fpbench.registry import Catalogue, load
from fpbench.store import Leases

_LEAST_FREE = 2**30
_LEAST_PYTHON = (3, 11)


class Grade(StrEnum):
    """How good a finding is."""

    GOOD = "good"
    NOTE = "note"
    MISSING = "missing"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        about: what.
        grade: good, worth a note, or missing: then nothing can be run here.
        text: what was found, and what to do where it is not good.
    """

    about: str
    grade: Grade
    text: str

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def findings(plugins: tuple[str, ...], store: Path, folder: Path | None) -> Iterator[Finding]:
    """Look at everything, without loading torch.

    Args:
        plugins: further plugin modules.
        store: folder of artefacts, there or not.
        folder: of weights brought by hand.
    """
    yield from _environment()
    yield from _devices()
    yield from _store(store)
    yield from _plugins(plugins)
    yield from _weights(folder)
    yield from _trouble()


def _good(about: str, text: str) -> Finding:
    return Finding(about, Grade.GOOD, text)


# -- environment -------------------------------------------------------------------------------


def _environment() -> Iterator[Finding]:
    python = platform.python_version()
    if sys.version_info >= _LEAST_PYTHON:
        yield _good("python", f"{python} at {sys.executable}")
    else:
        wanted = ".".join(map(str, _LEAST_PYTHON))
        text = f"expected {wanted} or newer, got {python}; install a newer one"
        yield Finding("python", Grade.MISSING, text)
    if os.name == "nt":
        text = "expected Linux or macOS, got Windows: boards can be read here; run suites in WSL"
        yield Finding("platform", Grade.MISSING, text)
    else:
        yield _good("platform", platform.platform())
    yield _good("fpbench", version("fpbench"))
    torch = _installed("torch")
    if torch:
        yield _good("torch", torch)
    else:
        text = "expected to be installed, got none; run: pip install torch"
        yield Finding("torch", Grade.MISSING, text)
    yield _good("compiler", "none is needed")


def _devices() -> Iterator[Finding]:
    share, whole = processors(), os.cpu_count() or 1
    yield _good("cpu", f"{share} of {whole} processors may be used")
    count, torch = gpus(), _installed("torch")
    if count and torch.endswith("+cpu"):
        text = f"{count}, which torch {torch} cannot use; install a torch with CUDA"
        yield Finding("gpu", Grade.NOTE, text)
    else:
        yield _good("gpu", f"{count} may be used" if count else "none; everything runs on the CPU")


def _installed(name: str) -> str:
    """Version of a distribution; empty if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


# -- store -------------------------------------------------------------------------------------


def _store(store: Path) -> Iterator[Finding]:
    place = next(each for each in (store, *store.absolute().parents) if each.is_dir())
    where = str(store) if place == store else f"{store} (not there yet, so {place} was looked at)"
    try:
        with tempfile.TemporaryDirectory(dir=place, prefix=".doctor.") as name:
            linked = _links(Path(name))
    except OSError as error:
        text = f"expected to write into {where}, got {error.strerror}; name another by --store"
        yield Finding("store", Grade.MISSING, text)
        return
    yield _good("store", f"{where} can be written to")
    if linked:
        yield _good("hard links", "they work, so runs can share the store")
    else:
        text = (
            "expected them, since leases are made by them, got a file system without; use another"
        )
        yield Finding("hard links", Grade.MISSING, text)
    free = shutil.disk_usage(place).free
    grade = Grade.GOOD if free >= _LEAST_FREE else Grade.MISSING
    text = f"{free / 2**30:.1f} GiB"
    if grade is Grade.MISSING:
        text += "; expected 1 GiB at least: free some, e.g. by `fpbench cache gc`"
    yield Finding("free space", grade, text)
    yield from _leases(store)


def _links(folder: Path) -> bool:
    first, second = folder / "a", folder / "b"
    first.write_text("", encoding="utf-8")
    try:
        os.link(first, second)
        os.link(first, second)  # a lease stands on this one's failing
    except FileExistsError:
        return True
    except OSError:
        return False
    return False


def _leases(store: Path) -> Iterator[Finding]:
    folder, leases = store / "leases", Leases(store)
    held = leases.all()
    damaged, gone = [], 0
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        holder = None if path.name.startswith(".") else leases.holder(path.name)
        if holder is not None and not holder.token:
            damaged.append(path)
        elif holder is not None and path.name not in held:
            gone += 1
    text = f"{len(held)} held, {gone} of processes that are gone, which the next run takes over"
    yield _good("leases", text)
    for path in damaged:
        text = f"expected {path} to be a lease, got what cannot be read; the next run takes it over"
        yield Finding("leases", Grade.NOTE, text)


# -- plugins and weights -----------------------------------------------------------------------


def _plugins(modules: tuple[str, ...]) -> Iterator[Finding]:
    try:
        catalogue: Catalogue = load(modules)
    except FpbenchError as error:
        yield Finding("plugins", Grade.MISSING, str(error))
        return
    yield _good("plugins", f"{len(catalogue.distributions)} loaded")
    for broken in catalogue.unavailable:
        own = broken.distribution.startswith("fpbench ")
        text = f"{broken.plugin} of {broken.distribution} could not be loaded: {broken.error}"
        yield Finding("plugins", Grade.MISSING if own else Grade.NOTE, text)
    for dispute in catalogue.disputes():
        yield Finding("plugins", Grade.NOTE, dispute)


def _weights(folder: Path | None) -> Iterator[Finding]:
    for name, file in weights.CATALOGUE.items():
        lacking = [package for package in file.packages if not _installed(package)]
        try:
            path = weights.find(name, folder)
        except MissingResource:
            text = f"{file.file} is not here; only suites that name the network need it: "
            yield Finding(f"weights {name}", Grade.NOTE, text + "`fpbench prepare SUITE`")
            continue
        except FpbenchError as error:
            yield Finding(f"weights {name}", Grade.NOTE, str(error))
            continue
        if lacking:
            text = f"{path}, but {', '.join(lacking)} is not installed; run in fpbench's folder: "
            yield Finding(
                f"weights {name}",
                Grade.NOTE,
                text + "uv sync --extra backbones (or pip install 'fpbench[backbones]')",
            )
        else:
            yield _good(f"weights {name}", str(path))


# -- known trouble -----------------------------------------------------------------------------


def _trouble() -> Iterator[Finding]:
    names = {(each.metadata["Name"] or "").lower() for each in distributions()}
    cv2 = sorted(name for name in names if name.startswith("opencv-"))
    if len(cv2) > 1:
        text = (
            f"expected one OpenCV, got {' and '.join(cv2)}, which write into one folder; uninstall "
            "all of them and install opencv-python-headless again"
        )
        yield Finding("opencv", Grade.NOTE, text)
    elif not cv2:
        text = "expected to be installed, got none; run: pip install opencv-python-headless"
        yield Finding("opencv", Grade.MISSING, text)
    else:
        yield _good("opencv", f"{cv2[0]} {_installed(cv2[0])}")
