"""A run as plain data: what a worker process needs to make the same plan again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError

from fpbench.api import SpecError
from fpbench.api.errors import nearest
from fpbench.plan import DataFacts, Plan, PlannedBackbone, make_plan, plan_backbones
from fpbench.plan.data import look_at, modality_of
from fpbench.registry import Catalogue, load
from fpbench.spec import read_suite
from fpbench.store.objects import write_text


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
        data: what was found out about the images; None = looked up.
    """

    # What a newer version asks for is not passed over.
    __pydantic_config__ = ConfigDict(extra="forbid")

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
    data: DataFacts | None = None

    def plan(self, progress: Callable[[int, int], None] | None = None) -> tuple[Plan, Catalogue]:
        """Load the plugins, read the suite, key its stages.

        Args:
            progress: is told of a long first look at the images; see `Dataset.look`.

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
        facts = self.data or look_at(suite, progress)
        modality = modality_of(suite, facts, catalogue)
        plan = make_plan(suite, catalogue.metrics(), backbones, facts, modality)
        return replace(plan, weights=folder), catalogue

    def knowing(self, backbones: Iterable[PlannedBackbone], data: DataFacts) -> Request:
        """The same request, for which neither weights nor images are looked for again."""
        return replace(self, backbones={b.name: b.known for b in backbones}, data=data)

    def portable(self) -> Request:
        """What may be told by a file: no code, and no folder to look into."""
        backbones = {name: {**known, "path": ""} for name, known in self.backbones.items()}
        return replace(self, plugins=(), store="", weights="", backbones=backbones)

    def to_json(self) -> str:
        """As text for a worker."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Request:
        """The request of `to_json`.

        Raises:
            ValueError: it is none.
        """
        request: Request = TypeAdapter(cls).validate_json(text)
        return request


def read_request(folder: Path, plugins: tuple[str, ...], store: Path) -> Request:
    """What made the run of a folder.

    Neither code nor artefacts are taken from where a file says: both are named by the caller.

    Args:
        folder: of the run.
        plugins: further plugin modules.
        store: folder of its artefacts.

    Raises:
        SpecError: the folder has no request that can be read.
    """
    request = kept_request(folder)
    # The suite as it was run, where the run has kept it; its file may have changed since.
    kept = folder / "suite.toml"
    suite = str(kept) if kept.is_file() else request.suite
    return replace(request, suite=suite, plugins=plugins, store=str(store))


def kept_request(folder: Path) -> Request:
    """What the file of a run says, and nothing more.

    Raises:
        SpecError: the folder has no request that can be read.
    """
    try:
        text = (folder / "request.json").read_text(encoding="utf-8")
        return Request.from_json(text).portable()
    except (OSError, ValueError, KeyError, RecursionError) as error:
        said = _first(error) if isinstance(error, ValidationError) else str(error)
        beside = [path.parent for path in folder.parent.glob("*/request.json")]
        near = nearest(folder.name, [path.name for path in beside]) if beside else ""
        if not folder.exists() and near.endswith("?"):
            raise SpecError([f"{folder}: expected the folder of a run, got none{near}"]) from None
        raise SpecError(
            [
                f"{folder}: expected the folder of a run with a request.json, got none that can be "
                f"read ({said}); run the suite again, or use the fpbench that wrote it"
            ]
        ) from None


def write_request(folder: Path, request: Request, plan: Plan, text: str) -> None:
    """Keep what makes a run: for who looks on, runs or scores it again, or publishes it.

    Args:
        folder: of the run.
        request: what was asked.
        plan: that it makes.
        text: of the suite.
    """
    request, kept = request.portable(), folder / "suite.toml"
    if kept.is_file() and Path(request.suite).resolve() == kept.resolve():
        # Run again from its own folder: the suite keeps the name that it had.
        with suppress(SpecError):
            request = replace(request, suite=kept_request(folder).suite)
    texts = {
        "suite.json": json.dumps(plan.suite.resolved(), indent=2, sort_keys=True) + "\n",
        "suite.toml": text,
        "request.json": request.to_json() + "\n",
    }
    for name, content in texts.items():
        target = folder / name
        if not target.is_file() or target.read_bytes() != content.encode():
            write_text(target, content)


def _first(error: ValidationError) -> str:
    """The first fault, in one line."""
    fault = error.errors()[0]
    return ": ".join([*map(str, fault["loc"]), fault["msg"]])
