"""Finds the cluster that a command line names."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from fpbench.api import Cluster, SpecError
from fpbench.registry import Catalogue
from fpbench.spec.source import parsed, selected


def cluster_named(selector: str, catalogue: Catalogue) -> Cluster[Any] | None:
    """The cluster of `--executor`; None for this machine.

    Raises:
        SpecError: there is none of this name, or it does not take what it is given.
    """
    try:
        name, params, texts = selected(selector)
    except ValueError as error:
        raise SpecError([f"--executor: {error}"]) from None
    if name == "local":
        if params:
            raise SpecError(["--executor local: expected no parameters; use --jobs and --threads"])
        return None
    try:
        cls = catalogue.component("clusters", name)
    except KeyError:
        raise SpecError([f"--executor: {catalogue.unknown('clusters', name)}"]) from None
    try:
        cluster = cls(parsed(cls.Params, params, texts))  # partitions may look like numbers
    except ValidationError as error:
        problems = [
            f"--executor {name}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()
        ]
        raise SpecError(problems) from None
    assert isinstance(cluster, Cluster)
    return cluster
