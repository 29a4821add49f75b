"""What makes a component the same component: name, version, parameters and its source."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from fpbench.api.params import local_names
from fpbench.builtin.chain.attack import Chain
from fpbench.spec.model import component_json


def identity(component: Any) -> dict[str, Any]:
    """The part of a stage key that a component contributes."""
    own = {**component_json(component), "source": source_digest(type(component).__module__)}
    for name in local_names(type(component.params)):
        del own["params"][name]
    if isinstance(component, Chain):
        own["parts"] = [identity(attack) for attack, _ in component.parts]
    return own


@cache
def source_digest(module: str) -> str:
    """SHA-256 of the syntax trees of the package a module belongs to, docstrings left out.

    For a plugin that is its whole top-level package; for a part of fpbench the innermost one.
    """
    package = (
        module.rpartition(".")[0] if module.startswith("fpbench.") else module.partition(".")[0]
    )
    spec = importlib.util.find_spec(package or module)
    locations = list(spec.submodule_search_locations or []) if spec is not None else []
    if locations:
        files = [p for folder in locations for p in sorted(Path(folder).rglob("*.py"))]
        base = Path(locations[0])
    else:
        file = getattr(sys.modules.get(module), "__file__", None) or (spec.origin if spec else None)
        files, base = ([Path(file)], Path(file).parent) if file else ([], Path())
    return tree_digest(files, base)


@cache
def proxy_digest() -> str:
    """SHA-256 of the weights of the feature network that comes with fpbench."""
    file = resources.files("fpbench.nn") / "toy_features.safetensors"
    return hashlib.sha256(file.read_bytes()).hexdigest()


def tree_digest(files: list[Path], base: Path) -> str:
    """SHA-256 over (relative path, syntax tree without docstrings) of Python files."""
    total = hashlib.sha256()
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        _drop_docstrings(tree)
        total.update(file.relative_to(base).as_posix().encode())
        total.update(ast.dump(tree).encode())
    return total.hexdigest()


def _drop_docstrings(node: ast.AST) -> None:
    """Drop the docstrings of a tree; only statements are visited, since no other node has any."""
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        children = getattr(node, name, None)
        if isinstance(children, list):
            for child in children:
                _drop_docstrings(child)
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        first = node.body[0] if node.body else None
        if (
            isinstance(first, ast.Expr)
            and isinstance(first.value, ast.Constant)
            and isinstance(first.value.value, str)
        ):
            node.body = node.body[1:]
