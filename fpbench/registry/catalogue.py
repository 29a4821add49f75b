"""From entry points to classes by kind and name.

Discovery reads metadata only. Loading imports the plugins' torch-free `plugin.py` modules; one
that fails to import, or breaks a contract, becomes *unavailable* with its error and matters only to
suites that name it. So does a name that two of them offer: it is nobody's. Beside what is installed
a plugin may be a module, or a single file, that is named.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pluggy

from fpbench.api import (
    Attack,
    Card,
    Cluster,
    Code,
    Component,
    Dataset,
    Executor,
    Host,
    Method,
    Metric,
    Modality,
    Params,
    PluginError,
    hooks,
)
from fpbench.api.errors import nearest
from fpbench.registry.files import is_file, module_of

LEFT_OUT = "no:"
"""Stands before the name of a plugin that is to be left out, among those that are to be loaded."""
NOT_INSTALLED = "what is not installed is named before the command: fpbench -p MODULE or ./FILE.py"
"""What ends a sentence about a name that is not there and like none that is."""
_CLOSE = 0.75
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
"""Of a component: words of lower case and digits, joined by hyphens."""

KINDS: Mapping[str, type[Component[Any]]] = {
    "modalities": Modality,
    "hosts": Host,
    "methods": Method,
    "codes": Code,
    "attacks": Attack,
    "datasets": Dataset,
    "metrics": Metric,
    "executors": Executor,
    "clusters": Cluster,
}


@dataclass(frozen=True)
class Unavailable:
    """A plugin that could not be loaded.

    Attributes:
        plugin: entry point name or module.
        distribution: what installed it.
        error: the exception, one line.
        trace: its traceback.
    """

    plugin: str
    distribution: str
    error: str
    trace: str


@dataclass
class Catalogue:
    """Loaded component classes by kind and name.

    Attributes:
        unavailable: plugins that failed to load.
        left_out: those that were to be left out.
        distributions: plugin name -> distribution and version, for all that loaded.
    """

    unavailable: list[Unavailable] = field(default_factory=list)
    left_out: list[Unavailable] = field(default_factory=list)
    distributions: dict[str, str] = field(default_factory=dict)
    _classes: dict[str, dict[str, type[Component[Any]]]] = field(
        default_factory=lambda: {kind: {} for kind in KINDS}
    )
    _origins: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    _relay: Any = None

    def names(self, kind: str) -> list[str]:
        """Names of a kind, sorted."""
        return sorted(self._classes[kind])

    def get(self, kind: str, name: str) -> type[Component[Any]] | None:
        """The class called `name`, or None."""
        return self._classes[kind].get(name)

    def component(self, kind: str, name: str) -> type[Component[Any]]:
        """The class called `name`.

        Raises:
            KeyError: there is none.
            PluginError: two plugins offer it.
        """
        if dispute := self.dispute(kind, name):
            raise PluginError(dispute)
        return self._classes[kind][name]

    def metrics(self) -> tuple[Metric[Any], ...]:
        """Every metric with default parameters, in order of registration.

        Raises:
            PluginError: two plugins offer one of them.
        """
        if disputes := self.disputes("metrics"):
            raise PluginError("\n".join(disputes))
        classes = self._classes["metrics"].values()
        return tuple(cls(cls.Params()) for cls in classes)  # type: ignore[misc]

    def origin(self, kind: str, name: str) -> str:
        """Distribution and version that offers a component."""
        return self._origins[kind, name][0]

    def dispute(self, kind: str, name: str) -> str:
        """One sentence about a name that several plugins offer; empty if they do not."""
        origins = self._origins.get((kind, name), [])
        if len(origins) < 2:
            return ""
        return (
            f"expected one {_one(kind)} '{name}', got {len(origins)}, from "
            f"{' and from '.join(origins)}; uninstall all but one, or leave its -p out"
        )

    def disputes(self, *kinds: str) -> list[str]:
        """Such sentences about all names of some kinds; of every kind if none is given."""
        asked = [each for each in self._origins if not kinds or each[0] in kinds]
        return [said for each in asked if (said := self.dispute(*each))]

    def unknown(self, kind: str, name: str) -> str:
        """One sentence about a name that is not there: why, nearest match, or broken plugins."""
        if dispute := self.dispute(kind, name):
            return dispute
        singular = _one(kind)
        text = f"unknown {singular} '{name}'{nearest(name, self.names(kind))}"
        # A guess may be far off: the plugin that is meant is then one that nobody has named.
        if not get_close_matches(name, self.names(kind), n=1, cutoff=_CLOSE):
            text += f"; {NOT_INSTALLED}"
        for broken in self.unavailable:
            text += f" (plugin '{broken.plugin}' could not be loaded: {broken.error})"
        return text

    def broken(self, name: str) -> Unavailable | None:
        """The plugin that is not loaded and, by its name, should have offered `name`."""
        wanted = _plain(name)
        for plugin in (*self.unavailable, *self.left_out):
            if wanted in _plain(plugin.plugin):
                return plugin
        return None

    def stage_finished(self, kind: str, label: str, outcome: str, seconds: float) -> None:
        """Tell observers that a stage ended."""
        if self._relay is not None:
            try:
                self._relay.fpbench_stage_finished(
                    kind=kind, label=label, outcome=outcome, seconds=seconds
                )
            except Exception as error:  # noqa: BLE001 - whoever looks on must not end the run
                said = f"{type(error).__name__}: {error}"
                warnings.warn(f"fpbench_stage_finished: an observer broke: {said}", stacklevel=2)

    def add(self, kind: str, cls: type[Component[Any]], origin: str) -> None:
        """Register one class; from the second on that has its name, nobody has it."""
        classes, origins = self._classes[kind], self._origins.setdefault((kind, cls.name), [])
        if not origins:
            classes[cls.name] = cls
        elif classes.get(cls.name) is cls:
            return
        else:
            classes.pop(cls.name, None)
        origins.append(origin)


def load(plugins: Iterable[str] = ()) -> Catalogue:
    """Load every installed plugin and those that are named.

    Args:
        plugins: dotted names of further plugin modules or paths of files, as `-p` gives them;
            "no:NAME" leaves out the installed plugin of that name, or all of that distribution.

    Raises:
        PluginError: a named one cannot be imported, or breaks its contract; or none is installed
            that is to be left out.
    """
    manager = pluggy.PluginManager(hooks.PROJECT)
    manager.add_hookspecs(hooks)
    catalogue = Catalogue(_relay=manager.hook)
    named = list(plugins)
    out = {name.removeprefix(LEFT_OUT) for name in named if name.startswith(LEFT_OUT)}
    for point in _points(out):
        origin = _origin_of(point)
        if out & _names_of(point):
            said = f"left out with -P {min(out & _names_of(point))}"
            catalogue.left_out.append(Unavailable(point.name, origin, said, ""))
        else:
            _register(manager, catalogue, point.name, origin, point.load)
    for name in named:
        if name.startswith(LEFT_OUT):
            continue
        before = len(catalogue.unavailable)
        origin = Path(name).name if is_file(name) else name
        _register(manager, catalogue, name, origin, functools.partial(imported, name))
        if len(catalogue.unavailable) > before:
            raise PluginError(
                f"plugin '{name}': expected a plugin that loads, got: "
                f"{catalogue.unavailable[-1].error}; mend it, or check the name given with -p"
            )
    return catalogue


def imported(name: str) -> ModuleType:
    """The module of a dotted name, or of the path of a file.

    Raises:
        PluginError: there is no such file, or another of its name was loaded.
    """
    return module_of(Path(name)) if is_file(name) else importlib.import_module(name)


def offered_by(module: ModuleType) -> dict[str, list[Any]]:
    """What the hooks of a plugin module give, by kind; what it is nobody has looked at.

    Raises:
        PluginError: it has none, or one that is no hook, or whose result is no list.
    """
    own = {name: each for name, each in vars(module).items() if name.startswith("fpbench_")}
    bare = [
        name
        for name, each in own.items()
        if isinstance(each, FunctionType) and not hasattr(each, f"{hooks.PROJECT}_impl")
    ]
    if bare:
        raise PluginError(
            f"expected `@hookimpl` above {bare[0]}(), got a plain function, which nobody calls; "
            "write `from fpbench.api import hookimpl`, and `@hookimpl` above it"
        )
    if not any(hasattr(each, f"{hooks.PROJECT}_impl") for each in own.values()):
        raise PluginError(
            "expected a hook such as fpbench_methods(), got a module without any; write one that "
            "returns your classes, with `@hookimpl` above it"
        )
    offered = {}
    for kind in KINDS:
        if (function := own.get(f"fpbench_{kind}")) is not None:
            given = function()
            if not isinstance(given, list | tuple):
                raise PluginError(
                    f"fpbench_{kind}(): expected a list of classes, got {type(given).__name__}; "
                    "return one"
                )
            offered[kind] = list(given)
    return offered


def _points(left_out: Set[str]) -> list[EntryPoint]:
    """All entry points; of one name fpbench's own come first.

    Raises:
        PluginError: none has a name that is to be left out.
    """
    points = sorted(
        entry_points(group=hooks.ENTRY_POINT_GROUP),
        key=lambda point: (point.name, not _is_own(point), _origin_of(point)),
    )
    known = {name for point in points for name in _names_of(point)}
    for name in sorted(left_out - known):
        raise PluginError(
            f"-P {name}: expected an installed plugin or distribution, got a name that none has"
            f"{nearest(name, sorted(known))}"
        )
    return points


def _names_of(point: EntryPoint) -> set[str]:
    """By which names it may be left out; what fpbench itself stands on may not."""
    if _is_own(point):
        return set() if point.name == "builtin" else {point.name}
    return {point.name} if point.dist is None else {point.name, point.dist.name}


def _is_own(point: EntryPoint) -> bool:
    return point.dist is not None and point.dist.name == hooks.PROJECT


def _register(
    manager: pluggy.PluginManager,
    catalogue: Catalogue,
    name: str,
    origin: str,
    importer: Callable[[], Any],
) -> None:
    try:
        module = importer()
        if manager.is_registered(module):
            return  # named twice
        if name in catalogue.distributions:
            raise PluginError(
                f"expected one plugin called '{name}', got two, from "
                f"{catalogue.distributions[name]} and from {origin}; rename the entry point of "
                "one, uninstall it, or leave its distribution out with -P"
            )
        offered = _offered(manager, module, name, origin)
    except GeneratorExit:
        raise
    except BaseException as error:  # noqa: BLE001 - it may fail in any way and must not stop others
        trace = traceback.format_exc()
        line = " ".join(f"{type(error).__name__}: {error}".split())
        catalogue.unavailable.append(Unavailable(name, origin, line, trace))
        return
    for kind, classes in offered.items():
        for cls in classes:
            catalogue.add(kind, cls, origin)
    catalogue.distributions[name] = origin


def _offered(
    manager: pluggy.PluginManager, module: Any, name: str, origin: str
) -> dict[str, list[type[Component[Any]]]]:
    """What a plugin offers by kind, checked; the manager knows it from now on."""
    offered = offered_by(module)
    for kind, classes in offered.items():
        for cls in classes:
            check_class(kind, cls, origin)
    try:
        manager.register(module, name)
        manager.check_pending()
    except pluggy.PluginValidationError:
        if manager.is_registered(module):
            manager.unregister(module)
        raise
    return offered


def _one(kind: str) -> str:
    """The name of a kind for one of them."""
    return "modality" if kind == "modalities" else kind.removesuffix("s")


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _origin_of(point: EntryPoint) -> str:
    dist = point.dist
    return f"{dist.name} {dist.version}" if dist is not None else point.value


def check_class(kind: str, cls: Any, origin: str) -> None:
    """That a class may be registered.

    Raises:
        PluginError: it is no finished class of its kind, or lacks a name, version, card or `Params`
            as they must be.
    """
    base = KINDS[kind]
    who = f"{kind}: {getattr(cls, '__name__', cls)!s} from {origin}"
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise PluginError(f"{who}: expected a subclass of {base.__name__}, got {cls!r}")
    missing = [a for a in ("name", "version", "Params", "card") if not hasattr(cls, a)]
    if missing:
        raise PluginError(f"{who}: expected the class attributes {missing}; add them")
    name: object = cls.name
    if not (isinstance(name, str) and NAME.fullmatch(name)):
        plain = "-".join(re.findall("[a-z0-9]+", str(cls.name).lower())) or "my-own"
        raise PluginError(
            f"{who}: expected a name of lower-case words joined by hyphens, got {cls.name!r}; call "
            f"it '{plain}'"
        )
    version: object = cls.version
    if not (isinstance(version, str) and version):
        raise PluginError(
            f'{who}: expected a version as text, got {cls.version!r}; write version = "1"'
        )
    params: object = cls.Params
    if not (isinstance(params, type) and issubclass(params, Params)):
        raise PluginError(f"{who}: expected Params to be a subclass of fpbench.api.Params")
    if not isinstance(cls.card, Card | property):
        raise PluginError(
            f"{who}: expected `card` to be a fpbench.api.Card, got {type(cls.card).__name__}"
        )
    if inspect.isabstract(cls):
        abstract = sorted(cls.__abstractmethods__)
        raise PluginError(f"{who}: expected a finished class, got abstract methods {abstract}")
