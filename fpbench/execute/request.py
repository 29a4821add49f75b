"""A run as plain data: what a worker process needs to make the same plan again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from fpbench.plan import Plan, make_plan
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

    def plan(self) -> tuple[Plan, Catalogue]:
        """Load the plugins, read the suite, key its stages.

        Raises:
            PluginError: a plugin breaks its contract.
            SpecError: the suite is wrong.
            MissingResource: the data set is not there.
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
        return make_plan(suite, catalogue.metrics()), catalogue

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
