"""What another board found of the same methods, for example on images, beside this one's numbers.

A summary of the other board lies in `beside.json` in the folder of this one, so that pages are made
of this folder alone. Methods are the same where their labels and bits are; rates are compared only
where users, false rate and budgets are equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fpbench import stats
from fpbench.api import SpecError, StoreError
from fpbench.plan.data import noun
from fpbench.report import show
from fpbench.report.inputs import read_inputs
from fpbench.report.kinds import BITS
from fpbench.report.overview import Grid, grid
from fpbench.report.rankings import ATTRIBUTION, BY_ATTRIBUTION
from fpbench.report.score import REMOVED_BELOW, score_board
from fpbench.report.tables import NONE, Board
from fpbench.report.tiers import DECIDING_COPIES
from fpbench.store.objects import write_text

__all__ = ["FILE", "MARGIN", "Beside", "Found", "found", "read_beside", "stand", "summary"]

FILE = "beside.json"
MARGIN = 0.1
"""Loss of rate that must be excluded (95 % bound) before a method is said to carry over."""
_LEVEL = 0.95
_ASKED = {
    "untouched": "untouched",
    "processing": "under processing",
    "copy": "against whoever holds a copy and trains nothing",
    "training": "against whoever holds a copy and may train",
}
"""Question -> as sentences put it: untouched samples, and tiers of the score.

Of samples no budget is the same in two modalities, so the tier of who holds samples is none.
"""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Rates(_Strict):
    """Attribution of one method, one rate a copy."""

    by_copy: Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(min_length=1)]
    samples: Annotated[int, Field(ge=1)]

    @property
    def value(self) -> float:
        """Mean over copies."""
        return float(np.mean(self.by_copy))


class Method(_Strict):
    """One method of a board: how near its samples are to the host's, and what is traced."""

    bits: int
    trainings: int
    likeness: float | None
    rates: dict[str, Rates]


class Asked(_Strict):
    """What must be equal before two rates of attribution are compared."""

    registered: int | None
    false_rate: float | None
    damage_budget: float
    training_steps: int
    clean_samples: int


class Beside(_Strict):
    """A board in short."""

    format: Literal[1] = 1
    title: str
    samples: str
    likeness: tuple[str, str]
    asked: Asked
    methods: dict[str, Method]


@dataclass(frozen=True)
class Found:
    """What two boards say together.

    Attributes:
        other: the board beside this one.
        carried: sentences; "here" is this board, "there" the other.
        table: the numbers.
        apart: methods of one label that are not compared, with the reason.
        margin: loss that is excluded of what carries over.
    """

    other: Beside
    carried: Sequence[str]
    table: Grid
    apart: Sequence[str]
    margin: float = MARGIN


def summary(board: Board, title: str) -> Beside:
    """A board in short; methods without a place are left out.

    Args:
        board: of a run.
        title: of its suite.
    """
    first = board.likeness[0] if board.likeness else ""
    methods = {}
    for label, score in score_board(board, BY_ATTRIBUTION).items():
        method = board.by_label[label]
        if not score.placed or method.gives != BITS:
            continue
        untouched = board.number(label, NONE, ATTRIBUTION)
        rates = {
            name: Rates(by_copy=tuple(np.clip(tier.by_copy, 0, 1).tolist()), samples=tier.images)
            for name, tier in score.tiers.items()
            if name in _ASKED
        }
        if untouched.by_copy:
            each = max(1, untouched.n // untouched.clusters)
            rates["untouched"] = Rates(by_copy=untouched.by_copy, samples=each)
        methods[label] = Method(
            bits=method.about["bits"],
            trainings=len(score.seeds) if method.trains else 0,
            likeness=board.number(label, NONE, "imperceptibility", first).value,
            rates=rates,
        )
    return Beside(
        title=title,
        samples=f"{noun(board.modality)}s",
        likeness=("PSNR", "dB") if board.of_images else board.title(first),
        asked=_asked(board),
        methods=methods,
    )


def stand(folder: Path, other_folder: Path) -> None:
    """Write the summary of another run or board into the folder of a run or board.

    Raises:
        SpecError: the two ask different things, or no method is the same.
        StoreError: a file is not what a run writes.
    """
    board, there = Board(read_inputs(folder)), Board(read_inputs(other_folder))
    header = there.suite.get("suite") or {}
    other = summary(there, str(header.get("title") or header.get("name") or other_folder.name))
    problems = [f"{folder}: {text}" for text in _differences(_asked(board), other.asked)]
    if not problems and not _shared(board, other):
        ours = ", ".join(f"{m.label} ({m.about.get('bits', 0)})" for m in board.methods)
        theirs = ", ".join(f"{label} ({m.bits})" for label, m in other.methods.items())
        problems = [
            f"{folder}: expected a method that has the same label and bits on both boards, got "
            f"{ours or 'none'} here and {theirs or 'none'} there; set `label` or `bits` of one"
        ]
    if problems:
        raise SpecError(problems)
    write_text(folder / FILE, other.model_dump_json(indent=1) + "\n")


def read_beside(folder: Path) -> Beside | None:
    """What stands beside a board; None if nothing does.

    Raises:
        StoreError: the file is not what `stand` writes.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        return Beside.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise StoreError(
            f"page: expected a board's summary in {path}, got {place or 'no JSON'}: "
            f"{first['msg']}; write it again with `fpbench report --beside`",
            path=str(path),
        ) from None


def found(board: Board, other: Beside) -> Found:
    """Compares a board with what stands beside it.

    Of what is traced there in half of the cases, a method carries over where a loss of more than
    `MARGIN` is excluded, and does not where its rate is significantly smaller here (Welch over
    copies; Holm over all that is compared).
    """
    here = summary(board, "")
    apart = _differences(here.asked, other.asked)
    shared = [] if apart else _shared(board, other)
    for label in sorted(here.methods.keys() & other.methods.keys()):
        bits, others = here.methods[label].bits, other.methods[label].bits
        if bits != others:
            apart.append(f"{label}: {bits} bits here, {others} there")
    pairs = {
        (question, label): (mine, theirs)
        for label in shared
        for question in _ASKED
        if (mine := here.methods[label].rates.get(question))
        and (theirs := other.methods[label].rates.get(question))
    }
    tests = {
        place: stats.compare_independent(_parts(mine), _parts(theirs), _LEVEL)
        for place, (mine, theirs) in pairs.items()
    }
    adjusted = dict(zip(tests, stats.holm([t.p for t in tests.values()]), strict=True))
    judged = {
        place: _judged(pairs[place], test, float(adjusted[place])) for place, test in tests.items()
    }
    return Found(other, _sentences(pairs, judged), _table(here, other, pairs, tests), apart)


def _asked(board: Board) -> Asked:
    budgets = board.budgets
    return Asked(
        registered=board.registered,
        false_rate=board.false_rate,
        damage_budget=budgets.damage,
        training_steps=budgets.training_steps,
        clean_samples=budgets.clean_samples,
    )


def _differences(here: Asked, there: Asked) -> list[str]:
    ours, theirs = here.model_dump(), there.model_dump()
    return [
        f"expected the other board's {name} ({theirs[name]}), got {value}; run one of the two "
        f"again with --set score.{name}=…"
        for name, value in ours.items()
        if value != theirs[name]
    ]


def _shared(board: Board, other: Beside) -> list[str]:
    return [
        m.label
        for m in board.methods
        if m.label in other.methods and m.about.get("bits") == other.methods[m.label].bits
    ]


def _parts(rates: Rates) -> Mapping[str, stats.Sample]:
    return {"rate": stats.Sample(np.array(rates.by_copy), rates.samples)}


def _judged(pair: tuple[Rates, Rates], test: stats.Comparison, p: float) -> str:
    """What is said of a pair: "carries", "lost", "open", or "none" where nothing is to carry."""
    if pair[1].value < REMOVED_BELOW:
        return "none"
    if min(len(rates.by_copy) for rates in pair) < DECIDING_COPIES:
        return "open"
    if test.low >= -MARGIN:
        return "carries"
    return "lost" if p <= 1 - _LEVEL and test.difference < 0 else "open"


def _sentences(
    pairs: Mapping[tuple[str, str], tuple[Rates, Rates]], judged: Mapping[tuple[str, str], str]
) -> list[str]:
    """One for what carries over, what does not, what is open, and where nothing is to carry."""
    begins = {
        "carries": f"Carries over (a rate that is more than {MARGIN:g} smaller here is excluded)",
        "lost": "Does not carry over (a significantly smaller rate here)",
        "open": "Not decided",
        "none": "Nothing to carry over (under one half there)",
    }
    said = []
    for outcome, begin in begins.items():
        clauses = []
        for question, words in _ASKED.items():
            listed = [
                f"{label} ({show.share(pairs[place][0].value)} here, "
                f"{show.share(pairs[place][1].value)} there)"
                for place in judged
                if judged[place] == outcome and place[0] == question
                for label in place[1:]
            ]
            if listed:
                clauses.append(f"{words}, {', '.join(listed)}")
        if clauses:
            said.append(f"{begin}: {'; '.join(clauses)}.")
    return said


def _table(
    here: Beside,
    other: Beside,
    pairs: Mapping[tuple[str, str], tuple[Rates, Rates]],
    tests: Mapping[tuple[str, str], stats.Comparison],
) -> Grid:
    questions = [q for q in _ASKED if any(place[0] == q for place in pairs)]
    labels = dict.fromkeys(label for _, label in pairs)

    def cell(question: str, label: str) -> show.Shown:
        place = (question, label)
        if place not in pairs:
            return show.Shown("–")
        mine, theirs = pairs[place]
        test = tests[place]
        sub = f"{show.share(theirs.value)} there; {show.span(test.low, test.high)}"
        return show.Shown(show.share(mine.value), sub, mine.value)

    def alike(label: str) -> show.Shown:
        mine, theirs = here.methods[label].likeness, other.methods[label].likeness
        text = show.distance(mine) + " " + here.likeness[1]
        return show.Shown(text, f"{show.distance(theirs)} {other.likeness[1]} there", mine)

    return grid(
        "Share traced to the own user here, there, and the 95 % interval of the difference",
        [f"{here.likeness[0]} here, {other.likeness[0]} there", *map(str.capitalize, questions)],
        ((label, [alike(label), *(cell(q, label) for q in questions)]) for label in labels),
    )
