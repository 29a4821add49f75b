"""The main table: one row for each method, and the same numbers as plain files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from fpbench.report import show
from fpbench.report.score import MethodScore
from fpbench.report.show import Notes, Shown
from fpbench.report.tables import NONE, Board, MethodInfo, Number
from fpbench.report.tiers import ATTRIBUTION, DECIDING_COPIES, tiers_of

SOURCES = ("real", "host", "unregistered")
RATES = {"0.01": "10⁻²", "0.001": "10⁻³", "1e-06": "10⁻⁶"}
"""Largest false positive rates: as records write them -> as people do."""


@dataclass(frozen=True)
class Column:
    """A column of the main table.

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


def standings(board: Board, scores: Mapping[str, MethodScore]) -> Standings:
    """Build the main table."""
    columns = _columns(board, scores)
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


def order(board: Board, scores: Mapping[str, MethodScore]) -> list[MethodInfo]:
    """Methods, best first: by rank, then by score without a rank; those without a place last."""

    def key(method: MethodInfo) -> tuple[bool, bool, int, float, int]:
        score = scores[method.label]
        rank = score.rank or 0
        return not score.placed, score.rank is None, rank, -(score.value or 0.0), method.index

    return sorted(board.methods, key=key)


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


def _columns(board: Board, scores: Mapping[str, MethodScore]) -> list[Column]:
    def rate(name: str, variant: str = "") -> Callable[[MethodInfo], Shown]:
        def read(method: MethodInfo) -> Shown:
            number = board.number(method.label, NONE, name, variant)
            return show.cell(number, show.share(number.value), show.interval(number))

        return read

    def psnr(name: str) -> Callable[[MethodInfo], Shown]:
        return lambda method: _psnr(board.number(method.label, NONE, name, "psnr"))

    reading, quality, cost = "Reading of untouched images", "Images", "Cost"
    up, down = "↑ 0–1", "↓ "
    titles = tier_titles(board)
    return [
        Column("Score", up, lambda m: _score(scores[m.label]), "high", "Robustness"),
        *(
            Column(titles[tier], "↑ right", _tier(scores, tier), "high", "Robustness")
            for tier in tiers_of(board)
        ),
        Column("Price of removal", "cheapest", lambda m: _price(scores[m.label]), "", "Robustness"),
        Column(
            board.distance_name, "↓ to real", lambda m: _distance(board, m), "low", "Robustness"
        ),
        Column("Bit accuracy", up, rate("bit-accuracy"), "high", reading),
        Column("Attribution", "↑ right", lambda m: _attribution(board, m), "high", reading),
        *(
            Column(f"TPR at FPR ≤ {power}", up, _verified(board, r), "high", reading)
            for r, power in RATES.items()
        ),
        Column("Largest N", "↑ users", lambda m: _users(board, m), "high", reading),
        Column("False accusation", "↓ worst source", lambda m: _accused(board, m), "low", reading),
        Column("PSNR to host", "↑ dB", psnr("imperceptibility"), "high", quality),
        Column("SSIM to host", up, rate("imperceptibility", "ssim"), "high", quality),
        Column("Likeness between codes", "↑ dB", psnr("code-influence"), "high", quality),
        *(
            Column(
                f"LPIPS to host ({net})",
                "↓",
                rate("imperceptibility", f"lpips-{net}"),
                "low",
                quality,
            )
            for net in _perceptual(board)
        ),
        *(
            Column(head, down + unit, _cost(board, name, text, scale), "low", cost)
            for head, unit, name, text, scale in (
                ("Training", "s", "fit_s", show.seconds, 1.0),
                ("Per user", "s", "issue_s", show.seconds, 1.0),
                ("Extraction", "ms/image", "extract_s_per_image", show.milliseconds, 1e3),
                ("Peak memory", "MiB", "peak_memory_bytes", show.mebibytes, 2.0**-20),
            )
        ),
        Column("Counts", "copies × images × seeds", lambda m: _counts(board, m), "", "Basis"),
        *_checked(board),
    ]


def _checked(board: Board) -> list[Column]:
    """How a board's numbers were checked; a run's own page has no such column."""
    known = board.inputs.checked

    def read(method: MethodInfo) -> Shown:
        return Shown(known[method.label].status if method.label in known else "–", css="name")

    return [Column("Checked", "", read, "", "Basis")] if known else []


def tier_titles(board: Board) -> dict[str, str]:
    """Tier -> its column's head: samples are called what they are on this board."""
    records = board.records
    images = not records or records[0].get("modality", "image") == "image"
    return {
        "processing": "Processing",
        "samples": "Images" if images else "Samples",
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
    sub = f"wrong {show.share(wrong)}\nnone {show.share(none)}"
    return show.cell(number, show.share(number.value), sub)


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
        return replace(
            show.cell(number, text(value)), sort=None if value is None else value * scale
        )

    return shown


def _counts(board: Board, method: MethodInfo) -> Shown:
    number = board.number(method.label, NONE, ATTRIBUTION)
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


# -- as a file ---------------------------------------------------------------------------------


def csv(board: Board, scores: Mapping[str, MethodScore]) -> str:
    """The main table with full precision; what is missing is empty, its outcome beside it."""
    import pandas as pd

    frame = pd.DataFrame([_plain(board, m, scores[m.label]) for m in order(board, scores)])
    if "rank" in frame:
        frame["rank"] = frame["rank"].astype("Int64")  # unranked methods must not make it 1.0
    text: str = frame.to_csv(index=False, lineterminator="\n")
    return text


def _plain(board: Board, method: MethodInfo, score: MethodScore) -> dict[str, object]:
    checked = board.inputs.checked.get(method.label)
    row: dict[str, object] = {
        "method": _harmless(method.label),
        "placement": _harmless(str(method.about.get("placement", ""))),
        "bits": method.about.get("bits", ""),
        "checked": _harmless(checked.status) if checked else "",
        "rank": score.rank,
        "not_ranked_because": _harmless("; ".join(score.problems) or score.unranked),
        "score": score.value,
        "score_low": score.low,
        "score_high": score.high,
        "score_interval_of": score.rule,
        **{f"score_seed_{n}": v for n, v in zip(board.seeds, score.seeds, strict=False)},
        **_plain_price(score),
    }
    for tier in tiers_of(board):
        part = score.tiers.get(tier)
        row[f"tier_{tier}"] = None if part is None else part.value
        row[f"tier_{tier}_worst"] = _harmless(part.worst) if part else ""
        row[f"tier_{tier}_stand_in"] = part.stand_in if part else ""
    for name, metric, variant in _PLAIN:
        number = board.number(method.label, NONE, metric, variant)
        row |= {name: number.value, f"{name}_outcome": number.outcome}
        row |= {f"{name}_low": number.low, f"{name}_high": number.high}
    quality = board.distance(method.label, NONE)
    row |= {"distance": board.distance_name, "distance_to_real": quality.value}
    row |= {"distance_to_real_outcome": quality.outcome}
    return row | dict(sorted(board.number(method.label, NONE, "cost").cost.items()))


def _plain_price(score: MethodScore) -> dict[str, object]:
    price = score.price
    if price is None:
        return dict.fromkeys(("removed_by", "removal_steps", "removal_clean_samples"))
    return {
        "removed_by": _harmless(price.where),
        "removal_steps": price.steps,
        "removal_clean_samples": price.clean,
    }


_PLAIN = (
    ("largest_n", "capacity", "users"),
    ("capacity_bits", "capacity", ""),
    ("bit_accuracy", "bit-accuracy", ""),
    ("attribution_right", ATTRIBUTION, ""),
    *((f"tpr_at_fpr_{r}", "verification", f"fpr={r}") for r in RATES),
    *((f"false_accusation_{s}", "false-accusation", s) for s in SOURCES),
    ("psnr_to_host_db", "imperceptibility", "psnr"),
    ("ssim_to_host", "imperceptibility", "ssim"),
    ("psnr_between_codes_db", "code-influence", "psnr"),
)


def _harmless(text: str) -> str:
    """A label as a table's cell: on one line, and no formula to a spreadsheet."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line


def latex(board: Board, scores: Mapping[str, MethodScore]) -> str:
    """The main table as a LaTeX tabular in the style of booktabs; what is missing is a dash."""
    titles = tier_titles(board)
    tiers = tiers_of(board)
    heads = ["Method", "Rank", "Score", "95\\,\\% interval", *(titles[tier] for tier in tiers)]
    heads += ["Bit acc.", "Attribution", "TPR@$\\leq 10^{-3}$", _tex(board.distance_name)]
    lines = [
        "% needs \\usepackage{booktabs}",
        f"\\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
        "\\toprule",
        " & ".join(heads) + " \\\\",
        "\\midrule",
        *(
            " & ".join(_tex_cells(board, method, scores[method.label], tiers)) + " \\\\"
            for method in order(board, scores)
        ),
        "\\bottomrule",
        "\\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _tex_cells(
    board: Board, method: MethodInfo, score: MethodScore, tiers: Sequence[str]
) -> list[str]:
    def rate(metric: str, variant: str = "") -> str:
        return show.share(board.number(method.label, NONE, metric, variant).value)

    parts = [score.tiers.get(tier) for tier in tiers]
    cells = [
        method.label,
        rank_text(score),
        show.share(score.value),
        show.span(score.low, score.high) or "–",
        *(show.share(None if part is None else part.value) for part in parts),
        rate("bit-accuracy"),
        rate(ATTRIBUTION),
        rate("verification", "fpr=0.001"),
        show.distance(board.distance(method.label, NONE).value),
    ]
    return [_tex(cell) for cell in cells]


def _tex(text: str) -> str:
    """Text with what LaTeX takes for commands written out."""
    out = "".join(_TEX.get(c, c) if c.isprintable() else " " for c in text)
    line = " ".join(out.split())
    return f"{{}}{line}" if line.startswith(("[", "*")) else line  # after \\\\ these are options


_TEX = {
    "\\": "\\textbackslash{}", "{": "\\{", "}": "\\}", "$": "\\$", "&": "\\&", "#": "\\#",
    "%": "\\%", "_": "\\_", "^": "\\^{}", "~": "\\~{}", "–": "--", "<": "$<$", ">": "$>$",
    "é": "\\'e", "−": "$-$",
}  # fmt: skip
