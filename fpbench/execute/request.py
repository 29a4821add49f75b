"""A run as plain data: what a worker process needs to make the same plan again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fpbench.plan import Plan, make_plan, plan_backbones
from fpbench.registry import Catalogue, load
from fpbench.spec import read_suite


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line.

    Attributes:
        suite: name or path.
        assignments: `table.key=value` changes.
        methods: selectors.
        attacks: selectors.
        seeds: training seeds as text.
        plugins: further plugin modules.
        store: folder of artefacts.
        device: torch device name, or "auto".
        threads: CPU threads; None = all cores.
        jobs: jobs that run at the same time and share the threads.
        weights: folder of backbone weights brought by hand; empty = only the libraries' own.
        broken: name -> reason of backbones that were found not to work.
    """

    suite: str
    assignments: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    attacks: tuple[str, ...] = ()
    seeds: str | None = None
    plugins: tuple[str, ...] = ()
    store: str = "runs/store"
    device: str = "auto"
    threads: int | None = None
    jobs: int = 1
    weights: str = ""
    broken: dict[str, str] = field(default_factory=dict)

    def plan(self) -> tuple[Plan, Catalogue]:
        """Load the plugins, read the suite, key its stages.

        Raises:
            PluginError: a plugin breaks its contract.
            SpecError: the suite is wrong.
            MissingResource: the data set is not there.
            StageError: weights are not what they should be.
        """
        catalogue = load(self.plugins)
        suite = read_suite(
            self.suite,
            catalogue,
            assignments=self.assignments,
            methods=self.methods,
            attacks=self.attacks,
            seeds=self.seeds,
        )
        folder = Path(self.weights) if self.weights else None
        backbones = plan_backbones(suite.backbones, folder, self.broken)
        return make_plan(suite, catalogue.metrics(), backbones), catalogue

    def to_json(self) -> str:
        """As text for a worker."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Request:
        """The request of `to_json`."""
        data: dict[str, Any] = json.loads(text)
        lists = ("assignments", "methods", "attacks", "plugins")
        values: dict[str, Any] = {k: tuple(v) if k in lists else v for k, v in data.items()}
        return cls(**values)
