"""Which distribution offers a component, and the packages that it computes with."""

from __future__ import annotations

import hashlib
import re
import sys
from functools import cache
from importlib.metadata import (
    Distribution,
    PackageNotFoundError,
    distribution,
    entry_points,
    packages_distributions,
    version,
)
from pathlib import Path
from typing import Any

from fpbench.api import hooks
from fpbench.plan import Cell, Plan
from fpbench.registry.files import FILE_MODULE

_NAME = re.compile(r"[A-Za-z0-9._-]+")

Origin = dict[str, Any]


def cell_origins(plan: Plan, cell: Cell) -> dict[str, Origin]:
    """What is installed of all that a cell is made of.

    Returns:
        "dataset", "host", "method", and where there are such "model" and "image" -> `distribution`
        with `name` and `version` (of a single file its name, and the start of its SHA-256), and of
        the method `packages`, name -> version.
    """
    parts: dict[str, Any] = {"dataset": plan.suite.dataset, "host": plan.suite.host}
    for name, point in (("model", cell.point.model), ("image", cell.point.image)):
        if point is not None:
            parts[name] = point.attack.component
    found: dict[str, Origin] = {
        name: {"distribution": _named(part)} for name, part in parts.items()
    }
    method = cell.fit.method.component
    return found | {"method": {"distribution": _named(method), "packages": _packages(_top(method))}}


def _named(component: Any) -> dict[str, str]:
    top = _top(component)
    if top.startswith(FILE_MODULE):
        file = Path(str(sys.modules[top].__file__))
        return {"name": file.name, "version": hashlib.sha256(file.read_bytes()).hexdigest()[:16]}
    found = _distribution(top)
    if found is None:
        return {"name": "", "version": ""}
    return {"name": found.name, "version": found.version}


def _top(component: Any) -> str:
    return type(component).__module__.partition(".")[0]


@cache
def _packages(package: str) -> dict[str, str]:
    """Versions of what a package's distribution itself asks for, extras left out."""
    found = _distribution(package)
    versions = {}
    for text in (found.requires or []) if found is not None else []:
        match = _NAME.match(text)
        if match is None or "extra ==" in text:
            continue
        try:
            versions[match[0]] = version(match[0])
        except PackageNotFoundError:  # asked for on other systems
            continue
    return versions


@cache
def _distribution(package: str) -> Distribution | None:
    """What installed a top-level package; None for modules that nobody installed."""
    if package == __package__.partition(".")[0]:
        return distribution(package)
    # An editable installation names no modules, but its entry points do.
    for entry in entry_points(group=hooks.ENTRY_POINT_GROUP):
        if entry.module.partition(".")[0] == package and entry.dist is not None:
            return entry.dist
    names = packages_distributions().get(package, [])
    return distribution(names[0]) if names else None
