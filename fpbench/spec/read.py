"""Reads and checks a suite."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from fpbench.api import (
    Access,
    Attack,
    Code,
    Component,
    Gives,
    Method,
    ModelAttack,
    Params,
    SampleAttack,
    SpecError,
)
from fpbench.api.errors import nearest
from fpbench.builtin.chain.attack import Chain
from fpbench.registry import Catalogue, load
from fpbench.spec import source
from fpbench.spec.boards import board_file, board_source
from fpbench.spec.model import (
    AttackOptions,
    Backbone,
    Cross,
    Header,
    Limits,
    MethodOptions,
    Negatives,
    Population,
    Score,
    Secrecy,
    Stranger,
    Suite,
    SuiteAttack,
    SuiteMethod,
    Training,
    UnavailableComponent,
    component_json,
    joint_label,
    point_label,
)

M = TypeVar("M", bound=Params)

_DETECTOR_COPIES = 4
_SOURCES = ("real", "host", "unregistered")
_COMPONENTS = {"dataset": "datasets", "host": "hosts"}
_TABLES = ["suite", "training", "population", "negatives", "secrecy", "score", "limits"]
_TOP = [*_TABLES, *_COMPONENTS, "methods", "attacks", "crosses", "backbones", "strangers"]


def suite_names() -> list[str]:
    """Names of the suites that come with fpbench."""
    folder = resources.files("fpbench.spec") / "suites"
    names = {p.name.removesuffix(".toml") for p in folder.iterdir()} if folder.is_dir() else set()
    checkout = _checkout_boards()
    if checkout is not None:
        names |= {path.parent.name for path in checkout.glob("*/suite.toml")}
    return sorted(names)


def suite_text(name_or_path: str, plugins: tuple[str, ...] = ()) -> str:
    """The source of a suite; of a board's folder, one with the settings of its numbers.

    Args:
        name_or_path: as `read_suite` takes it.
        plugins: further plugin modules, which a board may need.

    Raises:
        SpecError: there is none.
    """
    return _find(name_or_path, lambda: load(plugins))[1]


def read_suite(
    name_or_path: str,
    catalogue: Catalogue,
    *,
    assignments: tuple[str, ...] = (),
    methods: tuple[str, ...] = (),
    attacks: tuple[str, ...] = (),
    seeds: str | None = None,
) -> Suite:
    """Read a suite and check all of it.

    Args:
        name_or_path: a suite that comes with fpbench, the path of a `suite.toml`, or the folder of
            a board.
        catalogue: the components there are.
        assignments: `table.key=value` changes.
        methods: selectors; empty keeps all methods.
        attacks: selectors; empty keeps all attacks.
        seeds: training seeds as `0..4` or `0,2`.

    Raises:
        SpecError: with every mistake found.
    """
    place, text = _find(name_or_path, lambda: catalogue)
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SpecError([_not_toml(place, error)]) from None
    reader = _Reader(place, source.locate(text), catalogue)
    reader.assign(data, assignments)
    for key, chosen in (("methods", methods), ("attacks", attacks)):
        if isinstance(data.get(key, []), list):
            data[key] = reader.selected(key, data.get(key, []), chosen)
    if seeds is not None:
        try:
            numbers = source.parse_seeds(seeds)
        except ValueError as error:
            reader.problems.append(f"--seeds {seeds}: {error}")
        else:
            if problem := _repeated(numbers):
                reader.problems.append(f"--seeds {seeds}: {problem}")
            data.setdefault("training", {})["seeds"] = list(dict.fromkeys(numbers))
    return reader.read(data)


def read_attacks(catalogue: Catalogue, selectors: tuple[str, ...]) -> tuple[SuiteAttack, ...]:
    """Attacks outside a suite, as selectors like `jpeg[quality=90,50]` name them.

    Raises:
        SpecError: with every mistake found.
    """
    reader = _Reader("-a", {}, catalogue)
    entries = reader.selected("attacks", [], selectors)
    found = tuple(reader._attacks(entries).values())
    problems = [*reader.problems, *(each.reason for each in reader.unavailable)]
    if problems:
        raise SpecError(problems)
    return found


@dataclass
class _Reader:
    place: str
    lines: dict[source.Path, int]
    catalogue: Catalogue
    problems: list[str] = field(default_factory=list)
    unavailable: list[UnavailableComponent] = field(default_factory=list)
    texts: dict[source.Path, str | list[str]] = field(default_factory=dict)

    def assign(self, data: dict[str, Any], assignments: tuple[str, ...]) -> None:
        """Apply the changes of the command line."""
        for assignment in assignments:
            if problem := source.set_value(data, assignment):
                self.problems.append(problem)
            name, _, text = assignment.partition("=")
            self.texts[tuple(name.strip().split("."))] = text.strip()

    def selected(
        self, key: str, entries: list[dict[str, Any]], selectors: tuple[str, ...]
    ) -> list[dict[str, Any]]:
        """Of the tables `key`, completed by what they are like, those that selectors name."""
        whole, wrong = source.likened(entries)
        for number, text in wrong.items():
            self._problem((key, number, "like"), text)
        chosen = source.select(whole, selectors)
        self.lines = source.moved(self.lines, key, [number for number, _, _ in chosen])
        for place, (_, _, texts) in enumerate(chosen):
            self.texts |= {(key, place, name): text for name, text in texts.items()}
        return [entry for _, entry, _ in chosen]

    def read(self, data: dict[str, Any]) -> Suite:
        for key in data:
            if key not in _TOP:
                self._problem((key,), f"unknown table '{key}'{nearest(key, _TOP)}")
        header = self._table("suite", Header, data)
        training = self._table("training", Training, data)
        if training is not None and (problem := _repeated(training.seeds)):
            self._problem(("training", "seeds"), problem)
        population = self._table("population", Population, data)
        negatives = self._table("negatives", Negatives, data)
        secrecy = self._table("secrecy", Secrecy, data)
        limits = self._table("limits", Limits, data)
        score = self._table("score", Score, data)
        dataset = self._single("dataset", data)
        host = self._single("host", data)
        methods = self._methods(data.get("methods", []))
        placed = self._attacks(data.get("attacks", []))
        attacks = list(placed.values())
        crosses = self._crosses(data.get("crosses", []), attacks)
        strangers = self._strangers(data.get("strangers", []))
        self._points(placed, crosses)
        backbones = self._backbones(data.get("backbones", []), score)
        few = population is not None and population.copies < _DETECTOR_COPIES
        if secrecy is not None and secrecy.steps and few:
            text = (
                "a detector learns from half of the copies and is tried on the others: expected "
                f"[population] copies of at least {_DETECTOR_COPIES}"
            )
            self._problem(("secrecy", "steps"), text)
        if not methods and not self.problems and not self.unavailable:
            self._problem(("methods",), "expected at least one [[methods]] table, got none")
        if self.problems:
            raise SpecError(self.problems)
        # Whatever is None has left a problem behind.
        assert header is not None
        assert training is not None
        assert population is not None
        assert negatives is not None
        assert secrecy is not None
        assert limits is not None
        assert score is not None
        return Suite(
            header=header,
            training=training,
            population=population,
            negatives=negatives,
            secrecy=secrecy,
            limits=limits,
            score=score,
            dataset=dataset,
            host=host,
            methods=tuple(methods),
            attacks=tuple(attacks),
            crosses=tuple(crosses.values()),
            backbones=tuple(backbones),
            unavailable=tuple(self.unavailable),
            strangers=tuple(strangers),
        )

    # -- parts -------------------------------------------------------------------------------

    def _table(self, key: str, cls: type[M], whole: dict[str, Any]) -> M | None:
        data = whole.get(key, {})
        if not isinstance(data, dict):
            self._problem((key,), "expected a table")
            return None
        return self._validate((key,), cls, data)

    def _single(self, key: str, data: dict[str, Any]) -> Any:
        if not isinstance(data.get(key), dict):
            self._problem((key,), f"expected a table [{key}] with a key `use`, got none")
            return None
        return self._component((key,), _COMPONENTS[key], dict(data[key]))

    def _methods(self, entries: Any) -> list[SuiteMethod]:
        found: dict[source.Path, SuiteMethod] = {}
        for path, entry in self._entries("methods", entries):
            if self._broken("methods", entry):
                continue
            own = {key: entry.pop(key) for key in list(entry) if key in MethodOptions.model_fields}
            options = self._validate(path, MethodOptions, own)
            component = self._component(path, "methods", entry, also=MethodOptions)
            if component is None or options is None:
                continue
            code = self._code((*path, "codes"), component, options)
            if code is not None:
                label = options.label or component.name
                found[path] = SuiteMethod(label, component, code, options)
        self._distinct([(method.label, path) for path, method in found.items()])
        return list(found.values())

    def _code(
        self, path: source.Path, method: Method[Any], options: MethodOptions
    ) -> Code[Any] | None:
        chosen = options.codes
        table = {"use": chosen} if isinstance(chosen, str) else dict(chosen)
        code: Code[Any] | None = self._component(path, "codes", table)
        if code is None:
            return None
        if method.gives is not Gives.BITS and "codes" in options.model_fields_set:
            self._problem(path, f"expected a method that gives bits, got one of {method.gives}")
        elif method.gives is Gives.BITS and (objection := code.objection(method.bits)):
            self._problem(path, objection)
        return code

    def _strangers(self, entries: Any) -> list[Stranger]:
        found: dict[source.Path, Stranger] = {}
        for path, entry in self._entries("strangers", entries):
            label = entry.pop("label", entry.get("use"))
            component = self._component(path, "hosts", entry)
            if component is not None:
                found[path] = Stranger(str(label), component)
        self._distinct([(stranger.label, path) for path, stranger in found.items()])
        for path, stranger in found.items():
            if stranger.label in _SOURCES:
                text = f"expected another label: '{stranger.label}' is another source of images"
                self._problem((*path, "label"), text)
        return list(found.values())

    def _attacks(self, entries: Any) -> dict[source.Path, SuiteAttack]:
        found: dict[source.Path, SuiteAttack] = {}
        for path, entry in self._entries("attacks", entries):
            if self._broken("attacks", entry):
                continue
            own = {key: entry.pop(key) for key in list(entry) if key in AttackOptions.model_fields}
            options = self._validate(path, AttackOptions, own)
            attack = self._attack(path, entry)
            if attack is None or options is None:
                continue
            component, strengths = attack
            label = options.label or component.name
            for name, chosen in (("scored", options.scored), ("samples", options.samples)):
                if unknown := sorted(set(chosen) - set(strengths)):
                    text = f"{unknown} are not among the strengths {list(strengths)}"
                    self._problem((*path, name), text)
            if options.samples and not (
                isinstance(component, SampleAttack) and component.geometric
            ):
                text = (
                    "expected an image attack that moves pixels; the damage of any other is "
                    "measured, and [score] sample_budget says how much counts"
                )
                self._problem((*path, "samples"), text)
            if Access.CLEAN_IMAGES in component.access and not options.clean_images:
                self._problem(
                    (*path, "clean_images"),
                    "expected how many clean images the adversary owns, at least 1, got none",
                )
            candidates = self._candidates(path, component, options)
            found[path] = SuiteAttack(label, component, strengths, options, candidates)
            if label == joint_label():
                self._problem((*path, "label"), f"expected another label: '{label}' is no attack")
        self._distinct([(attack.label, path) for path, attack in found.items()])
        return found

    def _attack(
        self, path: source.Path, entry: dict[str, Any]
    ) -> tuple[Attack[Any], tuple[float, ...]] | None:
        """An attack and its strengths from what is left of its table without the options."""
        cls = self.catalogue.get("attacks", str(entry.get("use")))
        strengths = self._strengths(path, cls, entry)
        component = self._component(path, "attacks", entry, strength=cls)
        if isinstance(component, Chain):
            component = self._chain(path, component)
        return None if component is None else (component, strengths)

    def _candidates(
        self, path: source.Path, attack: Attack[Any], options: AttackOptions
    ) -> tuple[Attack[Any], ...]:
        if not options.tune:
            return ()
        if not isinstance(attack, ModelAttack):
            self._problem((*path, "tune"), "expected an attack on one copy, got another kind")
            return ()
        base = attack.params.model_dump(mode="json")
        candidates = []
        for values in itertools.product(*options.tune.values()):
            chosen = dict(zip(options.tune, values, strict=True))
            params = self._validate((*path, "tune"), type(attack.params), base | chosen)
            if params is not None:
                candidates.append(type(attack)(params))
        return tuple(candidates)

    def _chain(self, path: source.Path, chain: Chain) -> Chain | None:
        parts = []
        for number, entry in enumerate(chain.params.parts):
            place = (*path, "parts", number)
            attack = self._attack(place, dict(entry))
            if attack is None:
                continue
            component, strengths = attack
            if not isinstance(component, SampleAttack) or isinstance(component, Chain):
                self._problem((*place, "use"), "expected an image attack that is no chain itself")
            elif type(component).fit is not Attack.fit:
                self._problem((*place, "use"), "expected an attack that learns nothing before")
            elif component.strength is not None and len(strengths) != 1:
                name = component.strength.name
                self._problem((*place, name), f"expected one strength, got {list(strengths)}")
            else:
                parts.append((component, strengths[0] if strengths else None))
        resolved = tuple({**component_json(part), "strength": own} for part, own in parts)
        return Chain(Chain.Params(parts=resolved), parts) if resolved else None

    def _broken(self, kind: str, entry: dict[str, Any]) -> bool:
        name = entry.get("use")
        if not isinstance(name, str) or self.catalogue.get(kind, name) is not None:
            return False
        plugin = self.catalogue.broken(name)
        if plugin is None or self.catalogue.dispute(kind, name):
            return False
        reason = (
            f"plugin '{plugin.plugin}' ({plugin.distribution}) could not be loaded: "
            f"{plugin.error}; mend or reinstall it and run again"
        )
        self.unavailable.append(UnavailableComponent(kind, str(entry.get("label", name)), reason))
        return True

    def _strengths(
        self, path: source.Path, cls: type[Component[Any]] | None, entry: dict[str, Any]
    ) -> tuple[float, ...]:
        knob = cls.strength if cls is not None and issubclass(cls, Attack) else None
        if knob is None:
            return ()
        given = entry.pop(knob.name, list(knob.grid))
        values = given if isinstance(given, list) else [given]
        for value in values:
            ok = isinstance(value, int | float) and not isinstance(value, bool)
            if not (ok and knob.allows(value)):
                self._problem((*path, knob.name), f"expected {knob.legal}, got {value!r}")
                return ()
        return tuple(sorted({float(v) for v in values}, reverse=not knob.rising))

    def _crosses(self, entries: Any, attacks: list[SuiteAttack]) -> dict[source.Path, Cross]:
        image = [a.label for a in attacks if isinstance(a.component, SampleAttack)]
        other = [a.label for a in attacks if not isinstance(a.component, SampleAttack)]
        found: dict[source.Path, Cross] = {}
        for path, entry in self._entries("crosses", entries):
            good = True
            for key, labels in (("model", other), ("image", image)):
                if entry.get(key) not in labels:
                    near = nearest(str(entry.get(key)), labels)
                    self._problem(
                        (*path, key), f"expected the label of a listed {key} attack{near}"
                    )
                    good = False
            if good:
                found[path] = Cross(entry["model"], entry["image"])
        return found

    def _points(
        self, attacks: Mapping[source.Path, SuiteAttack], crosses: Mapping[source.Path, Cross]
    ) -> None:
        """Points that read the same would take each other's records."""
        labels = {
            attack.label: [point_label(attack.label, strength) for strength in attack.points]
            for attack in attacks.values()
        }
        if len(labels) < len(attacks):
            return  # those are the mistake, and named as such
        named: list[tuple[str, source.Path]] = []
        for path, attack in attacks.items():
            knob = attack.component.strength
            place = path if knob is None else (*path, knob.name)
            named += [(label, place) for label in labels[attack.label]]
        for path, cross in crosses.items():
            pairs = itertools.product(labels[cross.model], labels[cross.image])
            named += [(joint_label(*pair), path) for pair in pairs]
        self._distinct(named)

    def _backbones(self, entries: Any, score: Score | None) -> list[Backbone]:
        tables = self._entries("backbones", entries)
        checked = [self._validate(path, Backbone, entry) for path, entry in tables]
        found = [backbone for backbone in checked if backbone is not None]
        for use in sorted({b.use for b in found if [c.use for c in found].count(b.use) > 1}):
            self._problem(("backbones",), f"expected each network once, got '{use}' twice")
        inception = any(backbone.use == "inception" for backbone in found)
        if score is not None and score.damage_by == "fid" and not inception:
            text = 'expected a [[backbones]] table with use = "inception", got none'
            self._problem(("score", "damage_by"), text)
        return found

    def _entries(self, key: str, entries: Any) -> Iterable[tuple[source.Path, dict[str, Any]]]:
        if not isinstance(entries, list):
            self._problem((key,), f"expected [[{key}]] tables")
            return
        for index, entry in enumerate(entries):
            yield (key, index), dict(entry)

    def _component(
        self,
        path: source.Path,
        kind: str,
        data: dict[str, Any],
        *,
        strength: type[Component[Any]] | None = None,
        also: type[Params] | None = None,
    ) -> Any:
        name = data.pop("use", None)
        if not isinstance(name, str):
            near = nearest("use", list(data))
            self._problem(path, f"expected a key `use` that names one of the {kind}{near}")
            return None
        cls = self.catalogue.get(kind, name)
        if cls is None:
            self._problem((*path, "use"), self.catalogue.unknown(kind, name))
            return None
        extra = [*also.model_fields, "like"] if also is not None else []
        if strength is not None and issubclass(strength, Attack):
            extra = [strength.strength.name] if strength.strength else []
            extra += [*AttackOptions.model_fields, "like"]
        params = self._validate(path, cls.Params, data, also=extra)
        return None if params is None else cls(params)

    def _validate(
        self, path: source.Path, cls: type[M], data: dict[str, Any], also: Iterable[str] = ()
    ) -> M | None:
        texts = {key: self.texts[*path, key] for key in data if (*path, key) in self.texts}
        try:
            return source.parsed(cls, data, texts)
        except ValidationError as error:
            for item in error.errors():
                where = (*path, *item["loc"])
                if item["type"] == "extra_forbidden":
                    fields = [*cls.model_fields, *also]
                    name = str(item["loc"][-1])
                    self._problem(where, f"unknown parameter '{name}'{nearest(name, fields)}")
                elif item["type"] == "missing":
                    self._problem(where, "expected a value, got none")
                else:
                    message = item["msg"].removeprefix("Input should be ")
                    self._problem(where, f"expected {message}, got {item['input']!r}")
            return None

    def _distinct(self, named: Iterable[tuple[str, source.Path]]) -> None:
        """Report names that two places share, one of each two places."""
        first: dict[str, source.Path] = {}
        told: set[tuple[source.Path, source.Path]] = set()
        for name, path in named:
            other = first.get(name)
            if other is None:
                first[name] = path
            elif (other, path) not in told:
                told.add((other, path))
                self._problem(
                    path,
                    f"expected different names, got '{name}' twice, here and in "
                    f"{source.show(other)} ({self._place(other)}); leave one out, or give it "
                    "another `label`",
                )

    def _problem(self, path: source.Path, text: str) -> None:
        self.problems.append(f"{self._place(path)}: {source.show(path)}: {text}")

    def _place(self, path: source.Path) -> str:
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return f"{self.place}:{self.lines[path[:end]]}"
        return self.place


def _repeated(numbers: Sequence[int]) -> str:
    """What is wrong where a number stands twice; empty where none does."""
    for place, number in enumerate(numbers):
        if number in numbers[:place]:
            first = numbers.index(number)
            return f"expected each seed once, got {number} at places {first + 1} and {place + 1}"
    return ""


def _find(name_or_path: str, catalogue: Callable[[], Catalogue]) -> tuple[str, str]:
    path = Path(name_or_path)
    if path.suffix == ".toml" or path.is_file():
        if not path.is_file():
            raise SpecError([f"{path}: no such file"])
        try:
            return str(path), path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise SpecError([_not_toml(path, error)]) from None
    # A name is a suite's wherever one stands, in the folder of boards, too.
    if name_or_path in suite_names():
        return f"{name_or_path}/suite.toml", _shipped(name_or_path)
    board = board_file(path)
    if board is not None and board.suffix == ".json":
        return str(path), board_source(board, catalogue())
    if board is not None:
        return _find(str(board), catalogue)
    raise SpecError(
        [
            f"unknown suite '{name_or_path}'{nearest(name_or_path, suite_names())}; "
            "or give the path of a suite.toml, or the folder of a board"
        ]
    )


def _shipped(name: str) -> str:
    packaged = resources.files("fpbench.spec") / "suites" / f"{name}.toml"
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    boards = _checkout_boards()
    assert boards is not None
    return (boards / name / "suite.toml").read_text(encoding="utf-8")


def _not_toml(place: object, error: Exception) -> str:
    return f"{place}: not valid TOML: {error}; mend it, or, if a run keeps it, run the suite again"


def _checkout_boards() -> Path | None:
    # An editable install runs from the checkout, where suites lie beside their boards.
    folder = Path(__file__).resolve().parents[2] / "leaderboards"
    return folder if folder.is_dir() else None
