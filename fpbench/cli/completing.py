"""What a shell offers where a name is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
from click.shell_completion import CompletionItem


def component_names(*kinds: str) -> Callable[..., list[CompletionItem]]:
    """What a shell offers for a component of some kinds; of every kind if none is given."""

    def complete(
        context: click.Context, parameter: click.Parameter, begun: str
    ) -> list[CompletionItem]:
        from fpbench.registry import load
        from fpbench.registry.catalogue import KINDS

        root = context.find_root()
        catalogue = load(root.params.get("plugins") or ())
        return [
            CompletionItem(name)
            for kind in kinds or KINDS
            for name in catalogue.names(kind)
            if name.startswith(begun)
        ]

    return complete


def suite_names(
    context: click.Context, parameter: click.Parameter, begun: str
) -> list[CompletionItem]:
    """What a shell offers for SUITE: those that come with fpbench, else files."""
    from fpbench import spec

    named = [CompletionItem(name) for name in spec.suite_names() if name.startswith(begun)]
    return named or [CompletionItem(begun, type="file")]


def run_names(
    context: click.Context, parameter: click.Parameter, begun: str
) -> list[CompletionItem]:
    """What a shell offers for RUN: names in RUNS, else folders."""
    folder = Path(context.params.get("runs") or "runs")
    runs = sorted(path.parent.name for path in folder.glob("*/request.json"))
    named = [CompletionItem(name) for name in runs if name.startswith(begun)]
    return named or [CompletionItem(begun, type="dir")]
