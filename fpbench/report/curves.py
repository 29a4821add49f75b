"""Strength curves: what is read and what the images are worth, on one axis."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fpbench.report import charts, show
from fpbench.report.kinds import BITS
from fpbench.report.rankings import BY_ATTRIBUTION, Table, tables_of
from fpbench.report.show import Notes, Shown
from fpbench.report.tables import NONE, AttackInfo, Board, MethodInfo, Number


@dataclass(frozen=True)
class Measure:
    """What a panel shows.

    Attributes:
        key: for identifiers.
        title: above the panel, with the better direction.
        axis: beside the panel.
        metric: of the records.
        variant: of the records.
        damage: show D of the distance, (attacked - untouched) / host.
        limits: of the axis.
        level: a line to draw.
        holds: of which methods; their numbers alone share an axis.
        ranked: whether methods are ranked by it.
    """

    key: str
    title: str
    axis: str
    metric: str
    variant: str = ""
    damage: bool = False
    limits: tuple[float, float] | None = None
    level: float | None = None
    holds: Callable[[MethodInfo], bool] = lambda method: True
    ranked: bool = False

    def shown(self, number: Number) -> Shown:
        """The number as a table cell."""
        if self.damage:
            return show.cell(number, show.damage(number.value))
        if self.metric == "damage":
            return show.cell(number, show.likeness(self.variant, number.value))
        return show.cell(number, show.share(number.value), show.interval(number))


@dataclass(frozen=True)
class Panel:
    """One chart with its heading, and whether it is of a rate that methods are ranked by."""

    title: str
    svg: str
    ranked: bool


@dataclass(frozen=True)
class Curves:
    """All panels of an attack and the numbers behind them.

    Attributes:
        attack: the attack.
        panels: charts.
        head: column heads of the table: measures.
        rows: (strength, method, cells).
        numbering: finds the note of a cell without a number.
        notes: why there is none.
    """

    attack: AttackInfo
    panels: Sequence[Panel]
    head: Sequence[str]
    rows: Sequence[tuple[str, str, Sequence[Shown]]]
    numbering: Notes
    notes: Sequence[tuple[int, str, str]]


def attack_curves(board: Board, attack: AttackInfo) -> Curves:
    """The curves of an attack, from untouched to its strongest point."""
    labels = [NONE, *(point.label for point in attack.points)]
    ticks = ["none", *(point.short for point in attack.points)]
    methods = [m for m in board.methods if not m.unavailable]
    measures = list(_measures(board, attack))
    panels = [
        panel
        for measure in measures
        if (panel := _panel(board, attack, measure, methods, labels, ticks)) is not None
    ]
    panels += _traded(board, attack, measures, methods, labels)
    rows = [
        (
            tick,
            method.label,
            [
                Shown("–")
                if (label == NONE and measure.metric == "damage") or not measure.holds(method)
                else measure.shown(read(board, measure, method.label, label))
                for measure in measures
            ],
        )
        for label, tick in zip(labels, ticks, strict=True)
        for method in methods
    ]
    notes = Notes()
    for _, _, cells in rows:
        for shown in cells:
            if shown.reason:
                notes.number(shown)
    heads = [measure.title for measure in measures]
    return Curves(attack, panels, heads, rows, notes, notes.listed())


def read(board: Board, measure: Measure, method: str, point: str) -> Number:
    """The number of a measure; of damage D is the value."""
    number = board.number(method, point, measure.metric, measure.variant)
    if not (measure.damage and number.done):
        return number
    value = 0.0 if point == NONE else number.detail.get("damage")
    seeds = () if value is None else (value,)
    return Number(number.outcome, number.reason, value, seeds=seeds, ids=number.ids)


def _measures(board: Board, attack: AttackInfo) -> Iterable[Measure]:
    for table in tables_of(board):
        if attack.kind != "image" or "samples" in table.tiers:
            yield _rate(board, table)
    bits = "bit accuracy ↑ (chance 0.5)"
    yield Measure(
        "bits", bits, "bit accuracy ↑", "bit-accuracy", limits=(0.4, 1), level=0.5,
        holds=lambda method: method.gives == BITS,
    )  # fmt: skip
    if board.of_images:
        yield Measure("psnr", "damage: PSNR to unattacked, dB", "PSNR, dB", "damage", "psnr")
    for name in () if board.of_images else board.likeness:
        title, unit = board.title(name)
        axis = f"{title}, {unit}" if unit else title
        yield Measure(name, f"damage: {title} to unattacked", axis, "damage", name)
    if attack.kind in ("model", "cross"):
        budget = board.budgets.damage
        title = f"damage D by {board.distance_name} (budget {budget:g})"
        yield Measure("damage", title, "D", *board.distance_key, damage=True, level=budget)
    elif not board.of_images:
        title = f"damage: {board.title('distance')[0]} (budget {board.budgets.samples:g})"
        yield Measure("distance", title, board.sample_damage, "damage", "distance")
    else:
        yield Measure("ssim", "damage: SSIM to unattacked", "SSIM", "damage", "ssim")


def _rate(board: Board, table: Table) -> Measure:
    """The rate that a table ranks by, of its methods."""
    key = "right" if table is BY_ATTRIBUTION else table.name
    title, axis = f"{table.share} ↑", f"{table.rate} ↑"
    if board.registered is not None and board.false_rate is not None:
        title = f"{table.rate}, N = {board.registered:,}, α = {board.false_rate:g} ↑"
    return Measure(
        key, title, axis, table.metric, limits=(0, 1), holds=table.holds, ranked=True
    )  # fmt: skip


def _panel(
    board: Board,
    attack: AttackInfo,
    measure: Measure,
    methods: Sequence[MethodInfo],
    labels: Sequence[str],
    ticks: Sequence[str],
) -> Panel | None:
    series = [_series(board, measure, m, labels) for m in methods if measure.holds(m)]
    series = [s for s in series if any(v is not None for v in s.values)]
    if not series:
        return None
    limits = measure.limits
    drawn = [v for s in series for v in (*s.values, *s.low) if v is not None]
    if limits and min(drawn) < limits[0]:
        limits = (min(drawn), limits[1])
    words = charts.Text(
        f"{attack.slug}-{measure.key}",
        f"{attack.label}: {measure.title}",
        f"Lines of {len(series)} methods over {', '.join(ticks)}; the numbers are in a table "
        "on the attack's page.",
        x=attack.knob or "strength",
        y=measure.axis,
    )
    svg = charts.curve(words, ticks, series, limits=limits, level=measure.level)
    return Panel(measure.title, svg, measure.ranked)


def _traded(
    board: Board,
    attack: AttackInfo,
    measures: Sequence[Measure],
    methods: Sequence[MethodInfo],
    labels: Sequence[str],
) -> Iterable[Panel]:
    """Rates and bit accuracy over the damage at which they were read: the same for all methods."""
    harm = next((m for m in measures if m.key in ("damage", "distance", "ssim")), None)
    if harm is None or len(labels) < 3:
        return
    for measure in (m for m in measures if m.ranked or m.key == "bits"):
        series = [
            charts.Series(
                method.index,
                [_value(read(board, measure, method.label, label)) for label in labels],
                places=[_harm(board, harm, method.label, label) for label in labels],
            )
            for method in methods
            if measure.holds(method)
        ]
        series = [s for s in series if sum(v is not None for v in s.values) > 1]
        drawn = [v for s in series for v in s.values if v is not None]
        if not drawn:
            continue
        low, high = measure.limits or (0.0, 1.0)
        axis = "1 - SSIM" if harm.key == "ssim" else harm.axis
        title = f"{measure.axis} over {harm.title.removeprefix('damage: ')}"
        if harm.key == "ssim":
            title = f"{measure.axis} over damage, 1 - SSIM"
        words = charts.Text(
            f"{attack.slug}-{measure.key}-traded",
            f"{attack.label}: {title}",
            f"Lines of {len(series)} methods, from untouched to the strongest attack, over the "
            "damage that it did to each; the numbers are in a table on the attack's page.",
            x=axis,
            y=measure.axis,
        )
        svg = charts.traded(
            words,
            series,
            limits=(min(low, *drawn), high),
            level=measure.level,
            budget=harm.level if harm.damage else None,
        )
        yield Panel(title, svg, ranked=False)


def _value(number: Number) -> float | None:
    return number.value if number.done else None


def _harm(board: Board, harm: Measure, method: str, label: str) -> float | None:
    """Damage of a point; untouched images have none."""
    if label == NONE:
        return 0.0
    value = _value(read(board, harm, method, label))
    return 1 - value if harm.key == "ssim" and value is not None else value


def _series(
    board: Board, measure: Measure, method: MethodInfo, labels: Sequence[str]
) -> charts.Series:
    numbers = [read(board, measure, method.label, label) for label in labels]
    banded = measure.metric != "damage" and not measure.damage

    def end(number: Number, which: str) -> float | None:
        if len(number.seeds) > 1:
            return min(number.seeds) if which == "low" else max(number.seeds)
        return (number.low if which == "low" else number.high) if banded else None

    return charts.Series(
        method.index,
        [number.value if number.done else None for number in numbers],
        [end(number, "low") for number in numbers],
        [end(number, "high") for number in numbers],
    )
