"""What makes a component the same component: name, version, parameters and its source."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fpbench.api import Dataset
from fpbench.api.params import Command, local_names, marked_names
from fpbench.builtin.chain.attack import Chain
from fpbench.spec.model import component_json


def identity(component: Any, *, without: Collection[str] = ()) -> dict[str, Any]:
    """The part of a stage key that a component contributes.

    Args:
        component: any.
        without: parameters that the stage does not depend on.
    """
    own = {**component_json(component), "source": source_digest(type(component).__module__)}
    told = component.params.model_dump(mode="json")
    own["params"] |= {n: told[n] for n in marked_names(type(component.params), Command)}
    for name in local_names(type(component.params)) | set(without):
        del own["params"][name]
    # A data set's is among the facts of a plan, so that plans can be made where it is not.
    if not isinstance(component, Dataset) and (files := planned_files(component)):
        own["files"] = files
    if component.assets:
        own["assets"] = dict(component.assets)
    if isinstance(component, Chain):
        own["parts"] = [identity(attack) for attack, _ in component.parts]
    return own


@cache
def planned_files(component: Any) -> str:
    """The digest of a component's files as they were when it was first asked for, at plan time."""
    digest: str = component.digest()
    return digest


@cache
def proxy_digest() -> str:
    """SHA-256 of the weights of the feature network that comes with fpbench."""
    file = resources.files("fpbench.nn") / "toy_features.safetensors"
    return hashlib.sha256(file.read_bytes()).hexdigest()


# -- source ------------------------------------------------------------------------------------


_STAND_IN: ContextVar[Mapping[str, str]] = ContextVar("stand_in", default=MappingProxyType({}))


@contextmanager
def sources_as(digests: Mapping[str, str]) -> Iterator[None]:
    """A block in which keys are made as if modules had other source.

    Args:
        digests: module of a component -> what `source_digest` gave once.
    """
    token = _STAND_IN.set(digests)
    try:
        yield
    finally:
        _STAND_IN.reset(token)


def source_digest(module: str) -> str:
    """SHA-256 that stands for the source of a module; see `digest_of_source`."""
    return _STAND_IN.get().get(module) or digest_of_source(module)


@cache
def digest_of_source(module: str) -> str:
    """SHA-256 of the syntax trees of a module and of all that it imports of its own package.

    The package of a plugin is its top-level one, of a part of fpbench the innermost one. Another
    file of the package, which the module never imports, does not count; of a package that imports
    by computed names every file does.
    """
    package = (
        module.rpartition(".")[0] if module.startswith("fpbench.") else module.partition(".")[0]
    )
    files = _files(package)
    if not files:
        file = getattr(sys.modules.get(module), "__file__", None)
        return tree_digest({module: Path(file)} if file else {})
    needed = _closure(module, package, files)
    return tree_digest({name: files[name] for name in needed})


def tree_digest(files: dict[str, Path]) -> str:
    """SHA-256 over (module, syntax tree without docstrings and comments) of Python files."""
    total = hashlib.sha256()
    for name in sorted(files):
        total.update(f"{name}\0{_file_digest(files[name])}\n".encode())
    return total.hexdigest()


def _files(package: str) -> dict[str, Path]:
    """Module -> file, of a package on disk; empty for a single module."""
    spec = importlib.util.find_spec(package)
    found: dict[str, Path] = {}
    for place in (spec.submodule_search_locations or []) if spec is not None else []:
        folder = Path(place)
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            found[".".join((package, *parts))] = path
    return found


def _closure(module: str, package: str, files: dict[str, Path]) -> set[str]:
    found: set[str] = set()
    ahead = [module, package]
    while ahead:
        name = ahead.pop()
        if name in found or name not in files:
            continue
        found.add(name)
        imported, computed = _imports(files[name], name)
        if computed:
            return set(files)
        # What a name stands for, a module or something in it, is not known without running it.
        ahead += [each for one in imported for each in (one, one.rpartition(".")[0])]
    return found


@cache
def _imports(file: Path, module: str) -> tuple[tuple[str, ...], bool]:
    """Dotted names that a module imports, wherever it does; whether it computes others."""
    names: list[str] = []
    computed = False
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                names += (".".join(parts[: i + 1]) for i in range(len(parts)))
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = module.split(".")
                above = above[: len(above) - node.level + (file.name == "__init__.py")]
                base = ".".join([*above, *([base] if base else [])])
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Name | ast.Attribute):
            called = node.id if isinstance(node, ast.Name) else node.attr
            computed = computed or called in ("__import__", "import_module")
    return tuple(names), computed


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def _file_digest(file: Path) -> str:
    lines: list[str] = []
    _say(_tree(file), lines)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "backslashreplace")).hexdigest()


def _say(node: ast.AST, lines: list[str]) -> None:
    """Append a syntax tree as lines that every version of Python gives alike.

    `ast.dump` is not such a form: versions add fields. What is empty is left out, so that a field
    that a version does not know yet and one that nobody uses are the same.
    """
    docstring = _docstring(node)
    lines.append(type(node).__name__)
    for name, value in ast.iter_fields(node):
        if value is None or value == [] or name in ("type_comment", "kind", "ctx"):
            continue
        lines.append(f".{name}")
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, ast.AST):
                if item is not docstring:
                    _say(item, lines)
            else:
                lines.append(f"={type(item).__name__} {item!r}")
    lines.append("/")


def _docstring(node: ast.AST) -> ast.AST | None:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        return first if isinstance(first.value.value, str) else None
    return None
