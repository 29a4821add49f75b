"""What the first page shows beside the main table, the heat map and the curves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fpbench.report import charts, show
from fpbench.report.rankings import ATTRIBUTION, BY_ATTRIBUTION, BY_DETECTION, Table
from fpbench.report.score import MethodScore
from fpbench.report.show import Notes, Shown
from fpbench.report.standings import SOURCES, accusation_bound, among, badness, order, rank_text
from fpbench.report.tables import NONE, Board, MethodInfo, Number

_LISTED = 6


@dataclass(frozen=True)
class Coverage:
    """How many cells there are numbers for, and why not for the others.

    Attributes:
        total: cells the suite asks for.
        done: cells with numbers.
        counts: (outcome, cells) of the others.
        reasons: (outcome, cells, reason, examples).
        unavailable: (what, reason) of components no plugin could offer.
    """

    total: int
    done: int
    counts: Sequence[tuple[str, int]]
    reasons: Sequence[tuple[str, int, str, str]]
    unavailable: Sequence[tuple[str, str]]


def coverage(board: Board) -> Coverage:
    """Count the cells by outcome and gather reasons."""
    counts: Counter[str] = Counter()
    cells: dict[tuple[str, str], list[str]] = {}
    for method, seed, point, number in board.cells():
        counts[number.outcome] += 1
        if not number.done:
            name = f"{method.label} under {point.label}"
            name += f" (training seed {seed})" if len(board.seeds) > 1 else ""
            cells.setdefault((number.outcome, number.reason), []).append(name)
    reasons = [
        (show.WORDS.get(outcome, outcome), len(names), reason, _examples(names))
        for (outcome, reason), names in cells.items()
    ]
    lacking = [(f"method {m.label}", m.unavailable) for m in board.methods if m.unavailable]
    lacking += [(f"attack {a.label}", a.unavailable) for a in board.attacks if a.unavailable]
    others = [(show.WORDS.get(o, o), n) for o, n in sorted(counts.items()) if o != "done"]
    return Coverage(counts.total(), counts["done"], others, reasons, lacking)


def _examples(names: Sequence[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")


# -- charts of scores --------------------------------------------------------------------------


def forest(board: Board, scores: Mapping[str, MethodScore], table: Table = BY_ATTRIBUTION) -> str:
    """Scores with intervals; empty where no method has a score."""
    rows = _estimates(board, scores)
    if not rows:
        return ""
    words = charts.Text(
        _key("forest", table),
        "Scores with intervals, best first",
        f"{len(rows)} methods; equal ranks are ties; the numbers are in the table below.",
        x=f"score: mean {table.share} over threat tiers",
    )
    return charts.forest(words, rows)


def plane(board: Board, scores: Mapping[str, MethodScore], table: Table = BY_ATTRIBUTION) -> str:
    """Fréchet distance against score; empty where no method has both."""
    points = [r for r in _estimates(board, scores) if r.x is not None]
    if not points:
        return ""
    hosts = [board.distance(m.label, NONE).detail.get("host") for m in board.methods]
    host = next((h for h in hosts if isinstance(h, int | float)), None)
    words = charts.Text(
        _key("plane", table),
        "Quality against robustness",
        f"{len(points)} methods; left is better images, up is more robust; the stairs join those "
        "that no other beats in both; the numbers are in the table below.",
        x=f"{board.distance_name}, copies to real (← better)",
        y="score (better →)",
    )
    line = None if host is None else (float(host), "host's own quality")
    return charts.plane(words, points, frontier(points), line)


def _key(chart: str, table: Table) -> str:
    return chart if table is BY_ATTRIBUTION else f"{chart}-{table.name}"


def frontier(points: Iterable[charts.Estimate]) -> list[tuple[float, float]]:
    """(distance, score) of those that no other beats in both, best quality first."""
    edge: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda p: (p.x or 0.0, -p.score)):
        if not edge or point.score > edge[-1][1]:
            edge.append((point.x or 0.0, point.score))
    return edge


def _estimates(board: Board, scores: Mapping[str, MethodScore]) -> list[charts.Estimate]:
    rows = []
    for method in order(board, scores):
        score = scores[method.label]
        if not score.placed or score.value is None:
            continue
        quality = board.distance(method.label, NONE)
        rows.append(
            charts.Estimate(
                method.label,
                method.index,
                score.value,
                score.low,
                score.high,
                quality.value if quality.done else None,
                score.seeds,
                rank_text(score),
            )
        )
    return rows


def score_rows(board: Board, scores: Mapping[str, MethodScore]) -> list[tuple[str, list[str]]]:
    """The numbers behind both charts: rank, score, interval and of what, ties, distance."""
    rows = []
    for method in order(board, scores):
        score = scores[method.label]
        quality = board.distance(method.label, NONE)
        cells = [
            rank_text(score),
            show.share(score.value),
            show.span(score.low, score.high) or "–",
            score.rule or "–",
            ", ".join(map(show.share, score.seeds)) or "–",
            ", ".join(score.ties) or "–",
            show.distance(quality.value),
        ]
        rows.append((method.label, cells))
    return rows


# -- attribution against N, false accusations --------------------------------------------------


@dataclass(frozen=True)
class Grid:
    """A table of cells with notes.

    Attributes:
        caption: of the table.
        heads: column heads.
        rows: (row head, cells).
        notes: reasons of cells without a number.
        numbering: finds the note of a cell.
    """

    caption: str
    heads: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Shown]]]
    notes: Sequence[tuple[int, str, str]]
    numbering: Notes


def grid(caption: str, heads: Sequence[str], rows: Iterable[tuple[str, Sequence[Shown]]]) -> Grid:
    """A grid with its notes numbered."""
    listed, notes = list(rows), Notes()
    for _, cells in listed:
        for shown in cells:
            if shown.reason:
                notes.number(shown)
    return Grid(caption, heads, listed, notes.listed(), notes)


def populations(board: Board) -> Grid:
    """Right-rate of untouched images against the number of registered users."""
    own = "the suite's N" if board.registered is None else f"N = {board.registered:,} (suite)"
    columns = {own: "", "N = 100": "n=100", "N = 10⁴": "n=10000", "N = 10⁶": "n=1000000"}
    columns |= {"10 images": "m=10", "100 images": "m=100", "closed set, issued only": "closed"}

    def cell(method: str, variant: str) -> Shown:
        number = board.number(method, NONE, ATTRIBUTION, variant)
        other = "" if variant else among(board, number)
        return show.cell(number, show.share(number.value), show.interval(number) + other)

    return grid(
        "Share of untouched images traced to their own user among N registered users (↑); of "
        "decisions from several images of one copy at the suite's N; of closed-set decisions",
        [*columns, "Largest N ↑", "Capacity ↑"],
        (
            (m.label, [*(cell(m.label, v) for v in columns.values()), *_capacity(board, m.label)])
            for m in _held(board, BY_ATTRIBUTION)
        ),
    )


def _held(board: Board, table: Table) -> list[MethodInfo]:
    return [method for method in board.methods if table.holds(method)]


def against_users(board: Board) -> str:
    """Right-rate of untouched images over the number of registered users; empty if unknown."""
    variants = {100: "n=100", 10**4: "n=10000", 10**6: "n=1000000"}
    if board.registered is not None:
        variants[board.registered] = ""
    series = []
    for method in _held(board, BY_ATTRIBUTION):
        numbers = [
            board.number(method.label, NONE, ATTRIBUTION, variants[n]) for n in sorted(variants)
        ]
        # Scores know the number of their own users alone, which has no place on this axis.
        if any(number.done for number in numbers) and not among(board, numbers[0]):
            series.append(
                charts.Series(
                    method.index,
                    [number.value for number in numbers],
                    [number.low for number in numbers],
                    [number.high for number in numbers],
                )
            )
    if not series:
        return ""
    words = charts.Text(
        "users-chart",
        "Share of untouched images traced to their own user, against the number of users",
        f"Lines of {len(series)} methods over {len(variants)} numbers of registered users; a line "
        "ends where a code is too short; the numbers are in the table below.",
        x="registered users N",
        y="traced right (↑)",
    )
    return charts.curve(words, [f"{n:,}" for n in sorted(variants)], series, limits=(0, 1))


def _capacity(board: Board, method: str) -> list[Shown]:
    """The largest N that the untouched copies bear, and the bits that get through."""
    users, bits = (board.number(method, NONE, "capacity", v) for v in ("users", ""))
    least = users.detail.get("least_traced")
    sub = f"{least:.0%} traced" if isinstance(least, float) else ""
    return [
        show.cell(users, show.count(users.value), sub),
        show.cell(bits, "–" if bits.value is None else f"{bits.value:.1f}", "bits an image"),
    ]


def deepfakes(board: Board) -> Grid:
    """Real or generated, and by which of the issued models, of untouched images."""
    columns = {
        "Real or generated": "detection",
        "AUROC": "auroc",
        "Which model, closed world": "closed",
        "Which model, open world": "open",
    }

    def cell(method: str, variant: str) -> Shown:
        number = board.number(method, NONE, "deepfake", variant)
        return show.cell(number, show.share(number.value), show.interval(number))

    held = _held(board, BY_DETECTION)
    return grid(
        "Deepfake detection and attribution (↑)",
        list(columns),
        ((m.label, [cell(m.label, v) for v in columns.values()]) for m in held),
    )


def secrecy(board: Board) -> Grid | None:
    """Whether a detector sees the fingerprint; None where the suite does not ask."""
    if not board.suite.get("secrecy", {}).get("steps"):
        return None

    def cells(method: str) -> list[Shown]:
        number = board.number(method, NONE, "secrecy")
        area = board.number(method, NONE, "secrecy", "auroc")
        own = number.detail.get("same_training") is False
        note = "own generator: may be seen instead" if own else ""
        return [
            show.cell(number, show.share(number.value), show.interval(number)),
            show.cell(area, show.share(area.value), note),
            show.cell(number, show.share(number.detail.get("seen_accuracy"))),
        ]

    return grid(
        "A detector of fingerprints on copies it has not seen (0.5 = found nothing)",
        ["Accuracy ↓", "AUROC ↓", "Copies it learnt from"],
        ((m.label, cells(m.label)) for m in board.methods),
    )


def fidelities(board: Board) -> Grid | None:
    """What published networks say of untouched copies; None where the suite names none."""
    columns: dict[str, tuple[str, str]] = {}
    for backbone in board.suite.get("backbones") or []:
        name, other = backbone["layer"], "" if backbone["sha256"] is None else " (other weights)"
        if backbone["use"].startswith("clip-"):
            head = f"CLIP score, {backbone['use'].removeprefix('clip-')}{other} ↑"
            columns[head] = ("clip-score", backbone["use"])
            continue
        if backbone["use"] in ("pesq", "stoi"):
            columns[f"{backbone['use'].upper()} ↑"] = ("imperceptibility", backbone["use"])
            continue
        if backbone["use"] != "inception":
            head = f"{backbone['use'].replace('lpips-', 'LPIPS, ')}{other} ↓"
            columns[head] = ("imperceptibility", backbone["use"])
            continue
        layer = "" if name == "2048" else f"-{name}"
        columns |= {
            f"FID{layer}{other} ↓": ("fid", name),
            f"KID{layer}{other} ↓": ("kid", name),
            f"Precision{layer} ↑": ("precision-recall", f"precision@{name}"),
            f"Recall{layer} ↑": ("precision-recall", f"recall@{name}"),
        }

    def cell(method: str, metric: str, variant: str) -> Shown:
        number = board.number(method, NONE, metric, variant)
        host = number.detail.get("host")
        sub = f"host {show.distance(host)}" if isinstance(host, int | float) else ""
        return show.cell(number, show.distance(number.value), sub)

    if not columns:
        return None
    return grid(
        "Untouched copies and host against real images, as many of each",
        list(columns),
        ((m.label, [cell(m.label, *key) for key in columns.values()]) for m in board.methods),
    )


def accusations(board: Board) -> Grid:
    """Methods by source of negatives: the rate of untouched images, and the worst of all points."""
    titles = {
        "real": "Real images",
        "host": "Images of the host",
        "unregistered": "Copies of users who are not registered",
    }

    def rate(number: Number, where: str = "") -> Shown:
        sub = "\n".join(filter(None, (where, accusation_bound(number))))
        return show.cell(number, show.rate(number.value), sub)

    def worst(method: str, source: str) -> Shown:
        found = [
            (number, point)
            for point in board.traced_points
            if (number := board.number(method, point.label, "false-accusation", source)).value
            is not None
        ]
        if not found:
            return Shown("–")
        number, point = max(found, key=lambda pair: badness(pair[0]))
        others = sum(each.value == number.value for each, _ in found) - 1
        return rate(number, point.title + (f", and {others} more alike" if others else ""))

    heads, rows = [], []
    for title in titles.values():
        heads += [f"{title}, untouched", f"{title}, worst point"]
    for method in _held(board, BY_ATTRIBUTION):
        cells = []
        for source in SOURCES:
            cells.append(rate(board.number(method.label, NONE, "false-accusation", source)))
            cells.append(worst(method.label, source))
        rows.append((method.label, cells))
    return grid(
        "Share of images of nobody that are traced to somebody (↓), bound, count", heads, rows
    )
