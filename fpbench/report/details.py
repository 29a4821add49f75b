"""The pages of single methods and attacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from fpbench.report import charts, pictures, show
from fpbench.report.blame import attack_costs
from fpbench.report.heat import damage, point_mark
from fpbench.report.inputs import MethodSamples, Record
from fpbench.report.kinds import BITS, GIVEN, PRESENCE, WEIGHTS, unasked
from fpbench.report.overview import Grid, grid
from fpbench.report.rankings import ATTRIBUTION, home
from fpbench.report.score import MethodScore
from fpbench.report.show import Shown
from fpbench.report.standings import (
    RATES,
    SOURCES,
    accusation_bound,
    detected_on,
    sources,
    tier_titles,
)
from fpbench.report.tables import NONE, AttackInfo, Board, MethodInfo, PointInfo


@dataclass(frozen=True)
class Strip:
    """A strip of sample images.

    Attributes:
        source: file name in the run's folder.
        caption: what it shows.
    """

    source: str
    caption: str

    @property
    def file(self) -> str:
        """File name in the page's folder."""
        return pictures.shown_name(self.source)


# -- a method ----------------------------------------------------------------------------------


def card(board: Board, method: MethodInfo) -> list[tuple[str, str]]:
    """What the records say about the method."""
    about = method.about
    facts = [
        *_described(board, "methods", method.label),
        ("Method", f"{about.get('name', method.label)} version {about.get('version', '?')}"),
        ("Placement", str(about.get("placement", ""))),
        ("Bits", str(about.get("bits", "")) if method.gives == BITS else ""),
        ("Gives", GIVEN.get(method.gives, "")),
        ("Reads", "weights, so that no attack on images reaches it" * (method.reads == WEIGHTS)),
        ("Parameters", show.plain(about.get("params", {}))),
        ("Training seeds", _trainings(board, method)),
        ("Checked", _checked(board, method)),
    ]
    return [(name, value) for name, value in facts if value]


def _trainings(board: Board, method: MethodInfo) -> str:
    if not method.trains:
        return "it trains nothing, so it was run once"
    return ", ".join(map(str, board.seeds_of(method.label)))


def _checked(board: Board, method: MethodInfo) -> str:
    """How a board's numbers of the method were checked, and who brought them."""
    found = board.inputs.checked.get(method.label)
    if found is None:
        return ""
    who = f"{found.status}, submitted by {found.submitter or 'somebody unnamed'}"
    return f"{who}: {'; '.join(found.reasons)}" if found.reasons else who


def _described(board: Board, kind: str, label: str) -> list[tuple[str, str]]:
    """The component's own words, from the resolved suite."""
    entries = board.suite.get(kind) or []
    card = next((e.get("card") or {} for e in entries if e.get("label") == label), {})
    names = {
        "title": "Title",
        "source": "Source",
        "summary": "What it does",
        "differs": "Differs from its source",
        "licence": "Licence of the code",
    }
    return [(name, str(card.get(key, ""))) for key, name in names.items()]


def tier_rows(board: Board, score: MethodScore) -> list[tuple[str, str, str]]:
    """(tier, right-rate, worst attack or what stands in) of a score."""
    titles = tier_titles(board)
    return [
        (titles[tier], show.share(part.value), part.stand_in or part.worst)
        for tier, part in score.tiers.items()
    ]


@dataclass(frozen=True)
class PointRow:
    """One point of a method."""

    point: PointInfo
    mark: str
    cells: Sequence[Shown]


@dataclass(frozen=True)
class PointTable:
    """All points of a method."""

    heads: Sequence[tuple[str, str]]
    rows: Sequence[PointRow]
    grid: Grid


def point_table(board: Board, method: MethodInfo) -> PointTable:
    """Every point with everything that is read there."""
    heads, readers = zip(*_point_columns(board, method), strict=True)
    rows = []
    for point in board.traced_points:
        cells = [read(point) for read in readers]
        mark = point_mark(board, method.label, point, home(method))
        rows.append(PointRow(point, mark, cells))
    numbered = grid("", [], ((row.point.label, row.cells) for row in rows))
    return PointTable(heads, rows, numbered)


_PointColumn = tuple[tuple[str, str], Callable[[PointInfo], Shown]]
"""Head and hint of a column, and what it shows at a point."""


def _point_columns(board: Board, method: MethodInfo) -> Iterable[_PointColumn]:
    if method.gives != PRESENCE:
        yield ("Right", "↑"), _rate_at(board, method, ATTRIBUTION)
        yield ("Wrong", "↓"), _part_at(board, method, "wrong")
        yield ("None", ""), _part_at(board, method, "none")
    if method.gives == BITS:
        yield ("Bit accuracy", "↑"), _rate_at(board, method, "bit-accuracy")
        yield ("Code accuracy", "↑"), _rate_at(board, method, "bit-accuracy", "code")
    if method.gives != PRESENCE:
        for variant, power in RATES.items():
            read = _rate_at(board, method, "verification", f"fpr={variant}")
            yield (f"TPR at FPR ≤ {power}", "↑"), read
    yield ("Detection", "↑"), _rate_at(board, method, "detection")
    yield ("AUROC", "↑"), _rate_at(board, method, "detection", "auroc")
    if board.of_images:
        yield ("Damage: PSNR", "dB"), lambda point: _damage(board, method, point, "psnr")
        yield ("Damage: SSIM", "0–1"), lambda point: _damage(board, method, point, "ssim")
    else:
        for name in (*board.likeness, "distance"):
            title, unit = board.title(name)
            yield (f"Damage: {title}", unit), partial(_damage, board, method, variant=name)
    yield (board.distance_name, "and D"), lambda p: _distance(board, method, p)
    yield ("Copies × images", ""), lambda point: _counts(board, method, point)


def _rate_at(
    board: Board, method: MethodInfo, metric: str, variant: str = ""
) -> Callable[[PointInfo], Shown]:
    def read(point: PointInfo) -> Shown:
        number = board.number(method.label, point.label, metric, variant)
        return show.cell(number, show.share(number.value), show.interval(number))

    return read


def _part_at(board: Board, method: MethodInfo, key: str) -> Callable[[PointInfo], Shown]:
    """A share of images that stands in the detail of attribution."""

    def read(point: PointInfo) -> Shown:
        number = board.number(method.label, point.label, ATTRIBUTION)
        value = number.detail.get(key)
        shown = Shown(show.share(value), sort=value, record=number.record)
        return shown if number.done else show.missing(number)

    return read


def _counts(board: Board, method: MethodInfo, point: PointInfo) -> Shown:
    # Bits are read where no N is supported, too.
    metric = "bit-accuracy" if method.gives == BITS else home(method).metric
    number = board.number(method.label, point.label, metric)
    if not number.clusters:
        return Shown("–")
    return Shown(f"{number.clusters} × {number.n / number.clusters:g}", sort=number.n)


def _damage(board: Board, method: MethodInfo, point: PointInfo, variant: str) -> Shown:
    if point.label == NONE:
        return Shown("–")
    number = board.number(method.label, point.label, "damage", variant)
    return show.cell(number, show.likeness(variant, number.value))


def _distance(board: Board, method: MethodInfo, point: PointInfo) -> Shown:
    if point.kind == "image":
        return Shown("–")
    number = board.distance(method.label, point.label)
    value = number.detail.get("damage")
    sub = (
        f"D {show.damage(value)}" if isinstance(value, int | float) and point.label != NONE else ""
    )
    return show.cell(number, show.distance(number.value), sub)


def why_no_bits(method: MethodInfo) -> str:
    """Why there is nothing to show of single bits; empty where there may be."""
    return unasked(method.gives, method.reads, "bit-accuracy", "")


def bit_errors(board: Board, method: MethodInfo) -> tuple[str, list[tuple[int, list[str]]]]:
    """Chart and numbers of the share of wrong readings of each bit, untouched; empty if unknown."""
    number = board.number(method.label, NONE, "bit-accuracy")
    values = number.detail.get("per_bit") if number.done else None
    if not values or None in values:
        return "", []
    words = charts.Text(
        "bits",
        f"{method.label}: error of each bit, untouched images",
        f"{len(values)} bars; chance is 0.5; the numbers are in the table below.",
        x="bit",
        y="share read wrong (↓)",
    )
    svg = charts.bars(words, values, method.index, level=0.5)
    return svg, [(place, [show.share(value)]) for place, value in enumerate(values, start=1)]


Drawn = tuple[str, str, list[str], list[tuple[str, list[str]]]]
"""Caption, chart, and the heads and rows of the table behind it."""


def unmarked_bits(board: Board, method: MethodInfo) -> tuple[list[Drawn], list[tuple[str, str]]]:
    """Charts of bits of unmarked images, and (source, what follows) in words."""
    drawn, facts = [], []
    for source in ("real", "host"):
        number = board.number(method.label, NONE, "unmarked-bits", source)
        if not number.done or number.value is None:
            continue
        detail = number.detail
        steps, pairs = len(detail["correlations"]), sum(detail["correlations"])
        ones = charts.Text(
            f"unmarked-{source}",
            f"{method.label}: share of ones of each bit, {source} images",
            f"{len(detail['ones'])} bars; a fair bit has 0.5.",
            x="bit",
            y="share of ones",
        )
        together = charts.Text(
            f"correlation-{source}",
            f"{method.label}: correlation of pairs of bits, {source} images",
            f"{pairs:.0f} pairs in {steps} steps from -1 (left) to 1 (right).",
            x="correlation",
            y="share of pairs",
        )
        shares = [count / max(pairs, 1) for count in detail["correlations"]]
        drawn += [
            (
                f"{source} images: share of ones",
                charts.bars(ones, detail["ones"], method.index, level=0.5),
                ["Share of ones"],
                [(f"bit {n}", [show.share(v)]) for n, v in enumerate(detail["ones"], start=1)],
            ),
            (
                f"{source} images: correlation of pairs",
                charts.bars(together, shares, method.index, span=(-1, 1)),
                ["Share of pairs"],
                [
                    (f"from {2 * n / steps - 1:g}", [show.share(v)])
                    for n, v in enumerate(shares)
                    if v
                ],
            ),
        ]
        correlation, chance = (detail[f"square_correlation{end}"] for end in ("", "_by_chance"))
        shown = "–" if correlation is None else f"{correlation:.2g} (by chance {chance:.2g})"
        facts.append(
            (
                f"{source} images, {number.n:,}",
                f"{number.value:.1f} of {detail['bits']} bits effective; largest lean "
                f"{show.share(detail['largest_bias'])} from 0.5; mean squared correlation {shown}; "
                f"{detail['constant']} bits never change",
            )
        )
    control = board.number(method.label, NONE, "bit-accuracy", "wrong-key")
    if facts and control.done:
        shown = f"{show.share(control.value)} of the bits agree ({show.interval(control)})"
        facts.append(("Another user's code, copies", f"{shown}; chance is 0.5"))
    return drawn, facts


def accusations_of(board: Board, method: MethodInfo) -> Grid:
    """False accusations by point and source; of a presence, which accuses nobody, detections."""
    if method.gives == PRESENCE:
        return _detections_of(board, method)

    def cell(point: PointInfo, source: str) -> Shown:
        if source == "real" and point.kind in ("model", "cross"):
            return Shown("–")
        number = board.number(method.label, point.label, "false-accusation", source)
        return show.cell(number, show.rate(number.value), accusation_bound(number))

    return grid(
        "False accusations by source: realised rate (↓), bound, count",
        SOURCES,
        ((p.title, [cell(p, source) for source in SOURCES]) for p in board.traced_points),
    )


def _detections_of(board: Board, method: MethodInfo) -> Grid:
    def cell(point: PointInfo, source: str) -> Shown:
        if source != "host" and point.kind in ("model", "cross"):
            return Shown("–")
        return detected_on(board, method, point.label, source)

    listed = sources(board)
    return grid(
        "Share of images called marked or generated, by source; bound, count",
        listed,
        ((p.title, [cell(p, source) for source in listed]) for p in board.traced_points),
    )


def costs(board: Board, method: MethodInfo) -> list[tuple[str, str]]:
    """(what, how much), in the unit that it is printed in."""
    cost = board.number(method.label, NONE, "cost").cost
    facts = [
        ("Training the host (shared by all methods)", cost.get("host_fit_s"), "s", show.seconds),
        ("Training the method", cost.get("fit_s"), "s", show.seconds),
        ("Issuing one more copy", cost.get("issue_s"), "s", show.seconds),
        ("Extracting", cost.get("extract_s_per_image"), "ms/image", show.milliseconds),
        ("Peak memory of training", cost.get("peak_memory_bytes"), "MiB", show.mebibytes),
        ("Peak GPU memory of training", cost.get("peak_gpu_bytes"), "MiB", show.mebibytes),
    ]
    told = [(name, f"{text(v)} {unit}") for name, v, unit, text in facts if v is not None]
    if method.trained_elsewhere:
        elsewhere = f"trained elsewhere: {', '.join(sorted(method.about['assets']))}"
        told = [(name, elsewhere if name == "Training the method" else v) for name, v in told]
    return told


def method_strips(
    board: Board, method: MethodInfo
) -> tuple[list[Strip], list[tuple[str, list[Strip]]]]:
    """Strips of untouched copies beside the host, and of the images of each attack."""
    samples = board.inputs.samples
    own = samples.methods.get(method.label)
    if own is None:
        return [], []
    strips = [Strip(samples.host, "host")] if samples.host else []
    strips += [Strip(f, f"copy of user {user}") for user, f in enumerate(own.codes)]
    if own.residual:
        strips.append(Strip(own.residual, "copy of user 0 − host, × 10"))
    attacked = [
        (attack.label, listed)
        for attack in board.attacks
        if (listed := _attacked(board, method, attack, own))
    ]
    return strips, attacked


def _attacked(
    board: Board, method: MethodInfo, attack: AttackInfo, own: MethodSamples
) -> list[Strip]:
    return [
        Strip(own.points[p.label], _caption(board, method, p))
        for p in attack.points
        if p.label in own.points
    ]


def repeat(board: Board, method: MethodInfo) -> list[tuple[str, list[str]]]:
    """The card to reproduce a method's numbers: command, versions, keys of what was trained."""
    mine = [r for r in board.by_method.get(method.label, ()) if r["metric"]]
    if not mine:
        return []
    first = mine[0]
    inputs, packages = first.get("inputs") or {}, first.get("environment") or {}
    plugin = first["method"].get("distribution") or {}
    facts = [
        ("Command", list(dict.fromkeys(r.get("command", "") for r in mine))),
        ("Method", [f"{first['method'].get('name')} version {first['method'].get('version')}"]),
        ("Plugin", [f"{plugin.get('name', '')} {plugin.get('version', '')}".strip()]),
        ("Packages that it computes with", [show.plain(first["method"].get("packages") or {})]),
        ("Parameters", [show.plain(first["method"].get("params", {}))]),
        ("Stage key of the host", [inputs.get("host", "")]),
        ("Stage key of the training", list(dict.fromkeys(_fits(mine)))),
        ("Packages", [show.plain(packages.get("packages", {}))]),
        ("Measured on", [str(packages.get("device", ""))]),
        ("Records", [f"{len(mine):,}"]),
        ("Made with other source, which was vouched for", [_vouched(mine)]),
    ]
    return [(name, [v for v in values if v]) for name, values in facts if any(values)]


def _vouched(records: Iterable[Record]) -> str:
    count = sum(bool((r.get("inputs") or {}).get("accepted_source")) for r in records)
    return f"{count:,} records" if count else ""


def _fits(records: Iterable[Record]) -> Iterable[str]:
    return (str((r.get("inputs") or {}).get("fit", "")) for r in records)


# -- an attack ---------------------------------------------------------------------------------


def attack_card(board: Board, attack: AttackInfo) -> list[tuple[str, str]]:
    """What the records say about the attack."""
    about = attack.about
    level = {
        "image": "images",
        "model": "the copy",
        "cross": "the copy, then its images",
        "coalition": "several users' copies",
        "forgery": "clean images, to blame a user for them",
    }
    strengths = ", ".join(p.short for p in attack.points if p.strength is not None)
    clean = about.get("clean_images")
    facts = [
        *_described(board, "attacks", attack.label),
        ("Attack", f"{about.get('name', attack.label)} version {about.get('version', '?')}"),
        ("Changes", level.get(attack.kind, "")),
        ("Family", attack.family),
        ("Strength", f"{attack.knob}: {strengths}" if strengths else "done or not done"),
        ("Adversary holds", show.plain(about.get("access", []))),
        ("Clean images it owns", str(clean) if clean else ""),
        ("Training steps before", _learning(attack)),
        ("Parameters", show.plain(about.get("params", {}))),
        ("Tuned against each method", _tuned(board, attack)),
        ("Scored strengths", _scored(board, attack)),
        *attack_costs(board, attack.points),
    ]
    return [(name, value) for name, value in facts if value]


def _learning(attack: AttackInfo) -> str:
    """Steps that an attack on images was trained for; of others the costs tell."""
    steps = max((p.steps for p in attack.points if p.kind == "image"), default=0)
    return f"{steps:,}" if steps else ""


def _scored(board: Board, attack: AttackInfo) -> str:
    if attack.kind == "image":
        named = ", ".join(p.short for p in attack.points if p.scored) or "none"
        judged = f"others while {board.sample_damage} stays within {board.budgets.samples:g}"
        if any(p.geometric for p in attack.points):
            listed = ", ".join(p.short for p in attack.points if p.in_samples) or "none"
            judged = f"{listed}, named by the suite since no likeness judges it"
        return f"processing: {named}; against whoever holds images: {judged}"
    if attack.kind == "model":
        return f"while D by {board.distance_name} stays within {board.budgets.damage:g}"
    return "none: shown beside the score"


def _tuned(board: Board, attack: AttackInfo) -> str:
    """What the attack tried, and what served it best against each method."""
    tune = next(
        (a.get("tune") for a in board.suite.get("attacks") or [] if a["label"] == attack.label),
        None,
    )
    if not tune:
        return ""
    chosen = {
        label: show.plain(model["tuned"])
        for label, records in board.by_method.items()
        for record in records
        if (model := record["point"].get("model") or {}).get("label") == attack.label
        and model.get("tuned")
    }
    best = "; ".join(f"{label}: {params}" for label, params in chosen.items())
    return f"tried {show.plain(tune)} on copies that are not reported; best {best}"


def attack_strips(board: Board, attack: AttackInfo) -> list[tuple[str, list[Strip]]]:
    """(method, its strips: host, copy, difference, and attacked)."""
    samples = board.inputs.samples
    found = []
    for method in board.methods:
        own = samples.methods.get(method.label)
        if own is None:
            continue
        strips = [Strip(samples.host, "host")] if samples.host else []
        strips += [Strip(own.codes[0], "copy of user 0")] if own.codes else []
        strips += [Strip(own.residual, "copy − host, × 10")] if own.residual else []
        if attacked := _attacked(board, method, attack, own):
            found.append((method.label, strips + attacked))
    return found


def _caption(board: Board, method: MethodInfo, point: PointInfo) -> str:
    table = home(method)
    number = board.number(method.label, point.label, table.metric)
    right = f"{table.right} {show.share(number.value)}" if number.done else ""
    return ", ".join(filter(None, (point.label, right, damage(board, method.label, point))))


def sample_sheets(board: Board) -> dict[str, list[Strip]]:
    """Method -> host, copies, and the difference of one to the host."""
    sheets = {m.label: method_strips(board, m)[0] for m in board.methods}
    return {label: strips for label, strips in sheets.items() if strips}


def citation(board: Board, kind: str, label: str) -> str:
    """BibTeX of a component's source; empty if it gives none."""
    entries = board.suite.get(kind) or []
    card = next((e.get("card") or {} for e in entries if e.get("label") == label), {})
    return str(card.get("bibtex") or "")
