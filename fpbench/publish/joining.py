"""What somebody has to run so that his numbers fit a board."""

from __future__ import annotations

import json
import shlex
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from fpbench.api import SpecError
from fpbench.api.params import local_names
from fpbench.execute.request import Request
from fpbench.publish import redact
from fpbench.publish.checks import Record
from fpbench.publish.merging import more_attacks
from fpbench.publish.redact import SUITE_FILE
from fpbench.publish.suites import SUITE, SuiteJson, read_suite_json, without_cards
from fpbench.registry import Catalogue
from fpbench.spec import read_suite, source
from fpbench.spec.boards import board_source, joining, places, selector


def places_of(
    board: SuiteJson,
    new: SuiteJson,
    catalogue: Catalogue,
    ours: Iterable[Record],
    theirs: Iterable[Record],
) -> set[str]:
    """`table.parameter` of what says where things lie, while what lies there is known otherwise.

    The data set's samples have a digest. The host's files have none but in its key, so they may
    have other names where the keys are the same.

    Args:
        board: the board's suite.
        new: that of a submission.
        catalogue: says which parameters are places.
        ours: records of the board.
        theirs: of the submission.
    """
    found = _local("dataset", "datasets", (board, new), catalogue)
    if (keys := _hosts(ours)) and keys == _hosts(theirs):
        found |= _local("host", "hosts", (board, new), catalogue)
    return found


def _local(table: str, kind: str, suites: Sequence[SuiteJson], catalogue: Catalogue) -> set[str]:
    found: set[str] = set()
    for part in (suite[table] for suite in suites):
        cls = catalogue.get(kind, part["name"])
        # Of what is not installed any text may be a place.
        texts = {k for k, v in part["params"].items() if isinstance(v, str)}
        found |= texts if cls is None else local_names(cls.Params)
    return {f"{table}.{name}" for name in found}


def _hosts(records: Iterable[Record]) -> set[str]:
    return {key for r in records if r["metric"] and (key := r.get("inputs", {}).get("host"))}


def advice(folder: Path, named: Path, bundle: Path, catalogue: Catalogue) -> list[str]:
    """What to run so that a submission fits, in lines.

    Args:
        folder: of the board.
        named: the same as people write it.
        bundle: the unpacked one.
        catalogue: the components there are.
    """
    board, new = read_suite_json(folder / SUITE), read_suite_json(bundle / SUITE)
    own = places(board, catalogue)
    asked = _Asked(str(folder), bundle, board, new, catalogue)
    methods = [asked.selector("methods", method["label"]) for method in new["methods"]]
    lines = [
        "Run the board's own settings, with your PATHs, and export that:"
        if own
        else "Run the board's own settings and export that:",
        f"  {joining(str(named), own, methods)}",
    ]
    if more := more_attacks(board, new):
        there = [method["label"] for method in board["methods"]]
        fresh = [
            word
            for method, word in zip(new["methods"], methods, strict=True)
            if method["label"] not in there
        ]
        attacks = [attack["label"] for attack in board["attacks"]]
        attacks += [asked.selector("attacks", label) for label in sorted(more)]
        all_methods = [*there, *fresh] if fresh else ()
        lines += [
            "Attacks that the board has not join with all of its methods at once:",
            f"  {joining(str(named), own, all_methods, attacks)}",
        ]
    lines += [
        f"The parameters of {label} cannot be written so: put its [[{kind}]] table into a copy, "
        f"`fpbench show {shlex.quote(str(named))} > mine.toml`, and run that"
        for kind, label in asked.unwritten
    ]
    return lines


@dataclass
class _Asked:
    """The methods and attacks of a submission, as a command adds them to a board.

    Attributes:
        folder: of the board.
        bundle: folder of the submission.
        board: suite of the board.
        new: suite of the submission.
        catalogue: the components there are.
        unwritten: (kind, label) of those that no command can name with all they say.
    """

    folder: str
    bundle: Path
    board: SuiteJson
    new: SuiteJson
    catalogue: Catalogue
    unwritten: list[tuple[str, str]] = field(default_factory=list)

    def selector(self, kind: str, label: str) -> str:
        """The shortest of the selectors which give what was submitted; else the label alone."""
        (wanted,) = (each for each in self.new[kind] if each["label"] == label)
        (written,) = (e for e in self._entries(kind) if e.get("label", e["use"]) == label)
        params = {k: v for k, v in wanted["params"].items() if v is not None}
        full = {"use": wanted["name"], "label": label, **params}
        choices = [each for each in (label, selector(written), selector(full)) if each]
        for choice in choices:
            if self._gives(kind, choice, wanted):
                return choice
        if self.catalogue.get(kind, wanted["name"]) is None or not self._readable:
            return selector(written) or label  # whoever has the plugins will see
        self.unwritten.append((kind, label))
        return label

    @cached_property
    def _readable(self) -> bool:
        """Whether all that the board needs is installed here."""
        try:
            board_source(Path(self.folder) / SUITE, self.catalogue)
        except SpecError:
            return False
        return True

    def _entries(self, kind: str) -> list[dict[str, Any]]:
        """As the submission's suite has them, once its own selectors were applied."""
        request = Request.from_json((self.bundle / "request.json").read_text(encoding="utf-8"))
        chosen = {"methods": request.methods, "attacks": request.attacks}[kind]
        data = tomllib.loads((self.bundle / SUITE_FILE).read_text(encoding="utf-8"))
        entries, _ = source.likened(data.get(kind, []))
        return [entry for _, entry, _ in source.select(entries, chosen)]

    def _gives(self, kind: str, choice: str, wanted: Mapping[str, Any]) -> bool:
        """Whether a selector makes of the board's suite what was submitted."""
        methods, attacks = ((choice,), ()) if kind == "methods" else ((), (choice,))
        try:
            suite = read_suite(self.folder, self.catalogue, methods=methods, attacks=attacks)
        except SpecError:
            return False
        found = redact.suite(json.loads(json.dumps(suite.resolved())))[kind]
        return list(map(_bare, found)) == [_bare(wanted)]


def _bare(part: Mapping[str, Any]) -> dict[str, Any]:
    """What a selector says; how many copies are issued follows from the population."""
    bare: dict[str, Any] = without_cards(dict(part))
    return {key: value for key, value in bare.items() if key != "copies"}
