"""A plugin that is a single file, of no package and installed nowhere."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

from fpbench.api import PluginError

FILE_MODULE = "fpbench_file_"
"""How the names of modules begin that are single files."""

_DIGEST = "__fpbench_digest__"


def is_file(name: str) -> bool:
    """Whether the name of a plugin is the path of a file, not a dotted name."""
    return name.endswith(".py") or "/" in name or "\\" in name


def module_of(path: Path) -> ModuleType:
    """The module of a file, loaded once in a process.

    Its name, which is part of the keys of what its classes make, comes of the file's name alone:
    wherever the file lies it has the same results.

    Raises:
        PluginError: there is none, another of its name was loaded, or it has changed since.
    """
    place = path.resolve()
    if place.suffix != ".py" or not place.is_file():
        raise PluginError(
            f"expected a Python file, got {path}, which is none; name a file like ./mymethod.py, "
            "or the dotted name of a module that is installed"
        )
    name = FILE_MODULE + re.sub(r"\W", "_", place.stem)
    digest = hashlib.sha256(place.read_bytes()).hexdigest()
    known = sys.modules.get(name)
    if known is None:
        return _loaded(name, place, digest)
    if known.__file__ != str(place):
        raise PluginError(
            f"expected one file called {place.name}, got {known.__file__} and {place}; rename one"
        )
    if getattr(known, _DIGEST) != digest:
        raise PluginError(
            f"expected {path} as it was when this process loaded it, got another text; start "
            "Python anew"
        )
    return known


def _loaded(name: str, place: Path, digest: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    setattr(module, _DIGEST, digest)
    sys.modules[name] = module  # where models of parameters look for what their fields are
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
