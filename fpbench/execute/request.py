"""A run as plain data: what a worker process needs to make the same plan again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from fpbench.plan import Plan, PlannedBackbone, make_plan, plan_backbones
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
        devices: devices that one training is spread over.
        weights: folder of backbone weights brought by hand; empty = only the libraries' own.
        backbones: name -> what was found out about the suite's published networks; what is not
            there is looked up.
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
    devices: int = 1
    weights: str = ""
    backbones: dict[str, dict[str, str]] = field(default_factory=dict)

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
        backbones = plan_backbones(suite.backbones, folder, self.backbones)
        return make_plan(suite, catalogue.metrics(), backbones), catalogue

    def knowing(self, backbones: Iterable[PlannedBackbone]) -> Request:
        """The same request, for which these networks' weights are not looked for again."""
        return replace(self, backbones={b.name: b.known for b in backbones})

    def portable(self) -> Request:
        """What may be told by a file: no code, and no folder to look into."""
        backbones = {name: {**known, "path": ""} for name, known in self.backbones.items()}
        return replace(self, plugins=(), store="", weights="", backbones=backbones)

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
