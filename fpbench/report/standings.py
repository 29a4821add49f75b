"""The tables of methods: one row for each, best first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from fpbench.report import show
from fpbench.report.kinds import PRESENCE
from fpbench.report.rankings import (
    ATTRIBUTION,
    BY_ATTRIBUTION,
    BY_DETECTION,
    OF_WEIGHTS,
    Table,
    home,
)
from fpbench.report.score import MethodScore
from fpbench.report.show import Notes, Shown
from fpbench.report.tables import MISSING, NONE, Board, MethodInfo, Number
from fpbench.report.tiers import DECIDING_COPIES, tiers_of

SOURCES = ("real", "host", "unregistered")
UP = "↑ 0–1"
RATES = {"0.01": "10⁻²", "0.001": "10⁻³", "1e-06": "10⁻⁶"}
"""Largest false positive rates: as records write them -> as people do."""


@dataclass(frozen=True)
class Column:
    """A column of a table of methods.

    Attributes:
        head: its name.
        hint: unit and better direction.
        read: method -> cell.
        better: "high", "low" or "" where neither end is.
        group: heading over several columns.
    """

    head: str
    hint: str
    read: Callable[[MethodInfo], Shown]
    better: str = ""
    group: str = ""


@dataclass(frozen=True)
class Row:
    """One method."""

    method: MethodInfo
    rank: Shown
    cells: Sequence[Shown]


@dataclass(frozen=True)
class Standings:
    """The table: ranked methods, then those in an order by score, then the others."""

    columns: Sequence[Column]
    groups: Sequence[tuple[str, int]]
    rows: Sequence[Row]
    notes: Sequence[tuple[int, str, str]]
    numbering: Notes


def standings(
    board: Board, scores: Mapping[str, MethodScore], table: Table = BY_ATTRIBUTION
) -> Standings:
    """Build a table from the scores of its methods."""
    columns = _columns(board, scores, table)
    rows = [
        Row(method, _rank(scores[method.label]), [column.read(method) for column in columns])
        for method in order(board, scores)
    ]
    rows = _mark_best(columns, rows, scores)
    notes = Notes()
    for row in rows:
        for shown in (row.rank, *row.cells):
            if shown.reason:
                notes.number(shown)
    groups: list[tuple[str, int]] = []
    for column in columns:
        if groups and groups[-1][0] == column.group:
            groups[-1] = (column.group, groups[-1][1] + 1)
        else:
            groups.append((column.group, 1))
    return Standings(columns, groups, rows, notes.listed(), notes)


def elsewhere(board: Board) -> list[tuple[MethodInfo, Table]]:
    """Methods that the first table leaves out, each with the table that it stands in."""
    return [(m, home(m)) for m in board.methods if not BY_ATTRIBUTION.holds(m)]


def order(board: Board, scores: Mapping[str, MethodScore]) -> list[MethodInfo]:
    """Scored methods, best first: by rank, by score without a rank; those without a place last."""

    def key(method: MethodInfo) -> tuple[bool, bool, int, float, int]:
        score = scores[method.label]
        rank = score.rank or 0
        return not score.placed, score.rank is None, rank, -(score.value or 0.0), method.index

    return sorted((m for m in board.methods if m.label in scores), key=key)


def rank_text(score: MethodScore) -> str:
    """The rank; "=" marks one that is shared."""
    if score.rank is None:
        return "–"
    return f"{score.rank}=" if score.ties else str(score.rank)


def _rank(score: MethodScore) -> Shown:
    if score.rank is not None:
        others = "other" if len(score.ties) == 1 else "others"
        sub = f"tied with {len(score.ties)} {others}" if score.ties else ""
        return Shown(rank_text(score), sub, score.rank)
    if score.placed:
        return Shown("–", score.unranked, css="name")
    converged = not any("did not converge" in problem for problem in score.problems)
    word = "no place" if converged else "did not converge"
    return Shown(word, outcome="unranked", reason=score.reason)


def _columns(board: Board, scores: Mapping[str, MethodScore], table: Table) -> list[Column]:
    reading = {BY_ATTRIBUTION: _traced, BY_DETECTION: _detected, OF_WEIGHTS: _read_from_weights}
    return [
        *_robustness(board, scores, table),
        *reading[table](board),
        *_quality(board),
        *_costs(board),
        *_basis(board, table),
    ]


def _robustness(board: Board, scores: Mapping[str, MethodScore], table: Table) -> Iterable[Column]:
    titles, group = tier_titles(board), "Robustness"
    yield Column("Score", UP, lambda m: _score(scores[m.label]), "high", group)
    for tier in tiers_of(board, table):
        yield Column(titles[tier], f"↑ {table.right}", _tier(scores, tier), "high", group)
    yield Column("Price of removal", "cheapest", lambda m: _price(scores[m.label]), "", group)
    yield Column(board.distance_name, "↓ to real", lambda m: _distance(board, m), "low", group)


def _traced(board: Board) -> Iterable[Column]:
    group = "Reading of untouched images"
    yield from _codes(board, group)
    yield Column("False accusation", "↓ worst source", lambda m: _accused(board, m), "low", group)


def _read_from_weights(board: Board) -> Iterable[Column]:
    yield from _codes(board, "Reading of untouched copies")


def _codes(board: Board, group: str) -> Iterable[Column]:
    yield Column("Bit accuracy", UP, _rate(board, "bit-accuracy"), "high", group)
    yield Column("Attribution", "↑ right", lambda m: _attribution(board, m), "high", group)
    for rate, power in RATES.items():
        yield Column(f"TPR at FPR ≤ {power}", UP, _verified(board, rate), "high", group)
    yield Column("Largest N", "↑ users", lambda m: _users(board, m), "high", group)


def _detected(board: Board) -> Iterable[Column]:
    group = "Reading of untouched images"
    yield Column("Detection", "↑ TPR at α", _rate(board, "detection"), "high", group)
    yield Column("AUROC", UP, lambda m: _area(board, m), "high", group)
    yield Column("AP", UP, _rate(board, "detection", "ap"), "high", group)
    for source in sources(board):
        yield Column(f"On {source}", "detected", _detected_on(board, source), "", group)


def _quality(board: Board) -> Iterable[Column]:
    group = tier_titles(board)["samples"]
    if not board.of_images:
        yield from _likeness(board, group)
        return

    def psnr(name: str) -> Callable[[MethodInfo], Shown]:
        return lambda method: _psnr(board.number(method.label, NONE, name, "psnr"))

    yield Column("PSNR to host", "↑ dB", psnr("imperceptibility"), "high", group)
    yield Column("SSIM to host", UP, _rate(board, "imperceptibility", "ssim"), "high", group)
    yield Column("Likeness between codes", "↑ dB", psnr("code-influence"), "high", group)
    for net in _perceptual(board):
        read = _rate(board, "imperceptibility", f"lpips-{net}")
        yield Column(f"LPIPS to host ({net})", "↓", read, "low", group)


def _likeness(board: Board, group: str) -> Iterable[Column]:
    """Of samples that are no images, what their modality compares them by."""

    def read(metric: str, name: str) -> Callable[[MethodInfo], Shown]:
        def shown(method: MethodInfo) -> Shown:
            number = board.number(method.label, NONE, metric, name)
            return show.cell(number, show.distance(number.value))

        return shown

    for name in board.likeness:
        title, unit = board.title(name)
        shown = read("imperceptibility", name)
        yield Column(f"{title} to host", f"↑ {unit}".rstrip(), shown, "high", group)
    for name in board.likeness[:1]:
        unit = f"↑ {board.title(name)[1]}".rstrip()
        yield Column("Likeness between codes", unit, read("code-influence", name), "high", group)


def _costs(board: Board) -> Iterable[Column]:
    for head, unit, name, text, scale in (
        ("Training", "s", "fit_s", show.seconds, 1.0),
        ("Per user", "s", "issue_s", show.seconds, 1.0),
        ("Extraction", "ms/image", "extract_s_per_image", show.milliseconds, 1e3),
        ("Peak memory", "MiB", "peak_memory_bytes", show.mebibytes, 2.0**-20),
    ):
        yield Column(head, f"↓ {unit}", _cost(board, name, text, scale), "low", "Cost")


def _rate(board: Board, metric: str, variant: str = "") -> Callable[[MethodInfo], Shown]:
    def read(method: MethodInfo) -> Shown:
        number = board.number(method.label, NONE, metric, variant)
        return show.cell(number, show.share(number.value), show.interval(number))

    return read


def _area(board: Board, method: MethodInfo) -> Shown:
    number = board.number(method.label, NONE, "detection", "auroc")
    gate = number.detail.get("gate")
    sub = f"gate {gate:g}" if isinstance(gate, int | float) else ""
    return show.cell(number, show.share(number.value), sub)


def sources(board: Board) -> list[str]:
    """Whose images are shown as shares detected: real and host, then what the suite adds."""
    on = (r["variant"] for r in board.records if r["metric"] == "detection")
    named = (variant.removeprefix("on ") for variant in on if variant.startswith("on "))
    return list(dict.fromkeys(("real", "host", *named)))


def _detected_on(board: Board, source: str) -> Callable[[MethodInfo], Shown]:
    return lambda method: detected_on(board, method, NONE, source)


def share_on(board: Board, method: MethodInfo, point: str, source: str) -> Number:
    """Share of a source's images that are called somebody's or generated."""
    number = board.number(method.label, point, "detection", f"on {source}")
    if number.outcome == MISSING and method.gives != PRESENCE:
        # Where an image of nobody is detected, a user is accused of it.
        return board.number(method.label, point, "false-accusation", source)
    return number


def detected_on(board: Board, method: MethodInfo, point: str, source: str) -> Shown:
    """The same as a cell, with its bound and count."""
    number = share_on(board, method, point, source)
    # Whoever tells users apart accuses one of them, whatever the source.
    free = method.gives == PRESENCE and number.detail.get("silent") is False
    sub = accusation_bound(number) + ("\nneed not be silent" if free else "")
    return show.cell(number, show.rate(number.value), sub)


def _basis(board: Board, table: Table) -> Iterable[Column]:
    """Counts, and how a board's numbers were checked; a run's own page has no such column."""
    known, group = board.inputs.checked, "Basis"

    def checked(method: MethodInfo) -> Shown:
        return Shown(known[method.label].status if method.label in known else "–", css="name")

    yield Column("Counts", "copies × images × seeds", lambda m: _counts(board, m, table), "", group)
    if known:
        yield Column("Checked", "", checked, "", group)


def tier_titles(board: Board) -> dict[str, str]:
    """Tier -> its column's head: samples are called what they are on this board."""
    return {
        "processing": "Processing",
        "samples": {"image": "Images", "audio": "Sounds"}.get(board.modality, "Samples"),
        "copy": "Copy",
        "training": "Training",
    }


def _score(score: MethodScore) -> Shown:
    if score.value is None:
        return Shown("no score", outcome="unranked", reason=score.reason)
    of = "this training" if len(score.seeds) == 1 and score.rank is None else ""
    ends = show.span(score.low, score.high)
    sub = "\n".join(filter(None, (ends, of)))
    # Without ranks nothing is the best.
    return Shown(show.share(score.value), sub, score.value, claim=score.rank is not None)


def _tier(scores: Mapping[str, MethodScore], tier: str) -> Callable[[MethodInfo], Shown]:
    def read(method: MethodInfo) -> Shown:
        score = scores[method.label]
        part = score.tiers.get(tier)
        if part is None:
            return Shown("–")
        # A rate that stands in for an attack is no achievement against it.
        sub = part.stand_in or part.worst
        claim = not part.stand_in and score.rank is not None
        claim = claim and part.by_copy.size >= DECIDING_COPIES
        return Shown(show.share(part.value), sub, part.value, claim=claim, css="name where")

    return read


def _price(score: MethodScore) -> Shown:
    if not score.placed:
        return Shown("–")
    price = score.price
    if price is None:
        return Shown("none found", "within the budgets", css="name where")
    spent = [f"{price.steps:,} steps" if price.steps else "no training"]
    spent += [f"{price.clean:,} clean"] if price.clean else []
    spent += [f"D = {show.damage(price.damage)}"] if price.damage is not None else []
    spent += [f"leaves {show.share(price.value)}"]
    return Shown(price.where, ", ".join(spent), css="name where")


def _verified(board: Board, rate: str) -> Callable[[MethodInfo], Shown]:
    """TPR with the exact rate of its threshold, which whole bits rarely meet."""

    def read(method: MethodInfo) -> Shown:
        number = board.number(method.label, NONE, "verification", f"fpr={rate}")
        exact = number.detail.get("false_rate_exact")
        at = f"at {exact:.1e}" if isinstance(exact, float) else ""
        sub = "\n".join(filter(None, (show.interval(number), at)))
        return show.cell(number, show.share(number.value), sub)

    return read


def _users(board: Board, method: MethodInfo) -> Shown:
    number = board.number(method.label, NONE, "capacity", "users")
    least = number.detail.get("least_traced")
    sub = f"{least:.0%} traced" if isinstance(least, float) and number.done else ""
    return show.cell(number, show.count(number.value), sub)


def _perceptual(board: Board) -> list[str]:
    """The networks that LPIPS is asked of."""
    uses = [b["use"] for b in board.suite.get("backbones") or []]
    return [use.removeprefix("lpips-") for use in uses if use.startswith("lpips-")]


def _attribution(board: Board, method: MethodInfo) -> Shown:
    number = board.number(method.label, NONE, ATTRIBUTION)
    wrong, none = (number.detail.get(k) for k in ("wrong", "none"))
    sub = f"wrong {show.share(wrong)}\nnone {show.share(none)}{among(board, number)}"
    return show.cell(number, show.share(number.value), sub)


def among(board: Board, number: Number) -> str:
    """A line that says N where it is not the suite's; else empty."""
    users = number.detail.get("registered")
    return "" if users in (None, board.registered) else f"\namong {users:,} users"


def _accused(board: Board, method: MethodInfo) -> Shown:
    """The worse of real and host images; of unregistered users the rate is mostly arithmetic."""
    numbers = {s: board.number(method.label, NONE, "false-accusation", s) for s in SOURCES[:2]}
    for number in numbers.values():
        if not number.done or number.value is None:
            return show.missing(number)
    source, number = max(numbers.items(), key=lambda pair: badness(pair[1]))
    return show.cell(number, show.rate(number.value), f"{source}\n{accusation_bound(number)}")


def badness(number: Number) -> tuple[float, float]:
    """What a rate of accusations is ordered by: of equal ones the weaker evidence is worse."""
    value = 0.0 if number.value is None else number.value
    return value, max(number.seeds, default=value) if number.high is None else number.high


def accusation_bound(number: Number) -> str:
    """Upper bound and count behind a realised rate."""
    if len(number.seeds) > 1:
        return f"seeds to {show.rate(max(number.seeds))}, n = {number.n:,} each"
    bound = f"≤ {show.rate(number.high)}, " if number.high is not None else ""
    accused, mark = number.detail.get("accused"), ""
    if number.detail.get("no_claim"):
        mark = ", not a claim"
    hits = f"{accused:g} of " if isinstance(accused, int | float) else "n = "
    return f"{bound}{hits}{number.n:,}{mark}"


def _psnr(number: Number) -> Shown:
    ends = (number.low, number.high)
    if len(number.seeds) > 1:
        ends = (min(number.seeds), max(number.seeds))
    sub = "" if None in ends else " – ".join(map(show.decibel, ends))
    return show.cell(number, show.decibel(number.value), sub)


def _distance(board: Board, method: MethodInfo) -> Shown:
    number = board.distance(method.label, NONE)
    host = number.detail.get("host")
    sub = ""
    if number.value is not None and isinstance(host, int | float):
        sub = f"host {show.distance(host)}\nΔ {number.value - host:+.2g}"
    return show.cell(number, show.distance(number.value), sub)


def _cost(
    board: Board, name: str, text: Callable[[float | None], str], scale: float
) -> Callable[[MethodInfo], Shown]:
    def shown(method: MethodInfo) -> Shown:
        number = board.number(method.label, NONE, "cost")
        value = number.cost.get(name)
        if name == "fit_s" and method.trained_elsewhere:
            return Shown("elsewhere")
        return replace(
            show.cell(number, text(value)), sort=None if value is None else value * scale
        )

    return shown


def _counts(board: Board, method: MethodInfo, table: Table) -> Shown:
    number = board.number(method.label, NONE, table.metric)
    if not number.n:
        number = board.number(method.label, NONE, "bit-accuracy")
    if not number.clusters:
        return Shown("–")
    images = number.n / number.clusters
    seeds = len(board.seeds_of(method.label))
    text = f"{number.clusters} × {images:g} × {seeds}"
    return Shown(text, sort=number.n * seeds, css="name")


def _mark_best(
    columns: Sequence[Column], rows: Sequence[Row], scores: Mapping[str, MethodScore]
) -> list[Row]:
    """Mark the best of each column, and all that print the same; ranks decide for the score.

    What few copies, too few trainings or a stand-in show is never marked.
    """
    marked = [list(row.cells) for row in rows]
    for place, column in enumerate(columns):
        eligible = [
            (cells[place].sort, cells[place].text)
            for row, cells in zip(rows, marked, strict=True)
            if _eligible(cells[place], scores[row.method.label])
        ]
        if not column.better or len({text for _, text in eligible}) < 2:
            continue  # nothing is better than anything
        pick = max if column.better == "high" else min
        best = pick(eligible, key=lambda pair: pair[0] or 0.0)[1]
        for row, cells in zip(rows, marked, strict=True):
            score = scores[row.method.label]
            leads = score.rank == 1 if column.head == "Score" else cells[place].text == best
            if leads and _eligible(cells[place], score):
                cells[place] = replace(cells[place], best=True)
    return [replace(row, cells=cells) for row, cells in zip(rows, marked, strict=True)]


def _eligible(shown: Shown, score: MethodScore) -> bool:
    return shown.sort is not None and shown.claim and score.placed
