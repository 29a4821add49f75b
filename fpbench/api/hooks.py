"""The hooks a plugin implements. Each returns classes; nothing is instantiated at registration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from fpbench.api.components import (
        Attack,
        Cluster,
        Code,
        Dataset,
        Executor,
        Host,
        Method,
        Metric,
    )
    from fpbench.api.modality import Modality

PROJECT = "fpbench"
ENTRY_POINT_GROUP = "fpbench"

hookimpl = pluggy.HookimplMarker(PROJECT)
hookspec = pluggy.HookspecMarker(PROJECT)


@hookspec
def fpbench_modalities() -> Sequence[type[Modality[Any]]]:
    """Kinds of samples this plugin offers."""
    return ()


@hookspec
def fpbench_hosts() -> Sequence[type[Host[Any]]]:
    """Host generators this plugin offers."""
    return ()


@hookspec
def fpbench_methods() -> Sequence[type[Method[Any]]]:
    """Fingerprinting methods this plugin offers."""
    return ()


@hookspec
def fpbench_codes() -> Sequence[type[Code[Any]]]:
    """Ways to draw codes this plugin offers."""
    return ()


@hookspec
def fpbench_attacks() -> Sequence[type[Attack[Any]]]:
    """Attacks this plugin offers."""
    return ()


@hookspec
def fpbench_datasets() -> Sequence[type[Dataset[Any]]]:
    """Data sets this plugin offers."""
    return ()


@hookspec
def fpbench_metrics() -> Sequence[type[Metric[Any]]]:
    """Metrics this plugin offers."""
    return ()


@hookspec
def fpbench_executors() -> Sequence[type[Executor[Any]]]:
    """Executors this plugin offers."""
    return ()


@hookspec
def fpbench_clusters() -> Sequence[type[Cluster[Any]]]:
    """Clusters this plugin can send stages to."""
    return ()


@hookspec
def fpbench_stage_finished(kind: str, label: str, outcome: str, seconds: float) -> None:
    """Observe a stage's end; called once per executed stage, never for one found in the store."""
