"""Writes the files of a board: leaderboard, protocol, records, each method, each attack."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from fpbench.report import (
    beside,
    blame,
    details,
    distributions,
    exports,
    overview,
    pictures,
    protocol,
    standings,
    training,
)
from fpbench.report.cells import cell, linked
from fpbench.report.charts import COLOURS, MOST_BANDS, shape
from fpbench.report.curves import Curves, attack_curves
from fpbench.report.heat import MARKS, heat_map
from fpbench.report.inputs import Inputs
from fpbench.report.packed import packing
from fpbench.report.rankings import Table
from fpbench.report.score import Scores, rankings
from fpbench.report.show import share
from fpbench.report.tables import AttackInfo, Board, MethodInfo
from fpbench.report.verdict import price_text, verdict
from fpbench.report.words import called

_PACKAGE = Path(__file__).parent
STATIC = ("style.css", "page.js")
"""Files beside every page; a board has more."""
_BOARD_STATIC = (*STATIC, "board.js", "viewer.js")


def write_board(
    inputs: Inputs, folder: Path, home: str = ""
) -> tuple[Board, Mapping[Table, Scores]]:
    """Write all files of a board into an empty folder; returns what they show.

    Args:
        inputs: of a run.
        folder: where to.
        home: way from there to a page over all boards, e.g. "../"; empty if there is none.
    """
    with packing(inputs.records, folder / "records.js"):
        board = Board(inputs)
        ranked = rankings(board)
        _write_pages(board, ranked, folder, home)
    return board, ranked


def _write_pages(board: Board, ranked: Mapping[Table, Scores], folder: Path, home: str) -> None:
    inputs = board.inputs
    curves = [attack_curves(board, attack) for attack in board.tracing_attacks if attack.points]
    header = suite_header(board)
    title = str(header.get("title") or header.get("name") or "fpbench")
    pages = Pages(folder, board.modality)
    pages.globals |= {
        "board": board,
        "suite": header,
        "title": title,
        "slug": re.sub(r"[^A-Za-z0-9._-]+", "-", str(header.get("name") or "records")),
        "where": " · version ".join(str(header[k]) for k in ("name", "version") if header.get(k)),
        "home": home,
        "sounds": pictures.sounds(inputs.samples.folder, inputs.samples.files()),
    }
    pages.write("index.html", "index.html.j2", **_index(board, ranked, curves))
    pages.write("protocol.html", "protocol.html.j2", **_protocol(board, title))
    pages.write("records.html", "records.html.j2")
    for method in board.methods:
        page = _method(board, method, ranked)
        pages.write(f"methods/{method.slug}.html", "method.html.j2", **page)
    drawn = {curve.attack.label: curve for curve in curves}
    for attack in board.attacks:
        page = _attack(board, attack, drawn.get(attack.label))
        pages.write(f"attacks/{attack.slug}.html", "attack.html.j2", **page)
    for table, scores in ranked.items():
        pages.file(f"{table.file}.csv", exports.csv(board, scores, table))
        pages.file(f"{table.file}.tex", exports.latex(board, scores, table))
    pages.file("suite.json", json.dumps(inputs.suite, indent=2, sort_keys=True) + "\n")
    pages.static(_BOARD_STATIC)
    _write_samples(inputs, folder)


def suite_header(board: Board) -> dict[str, Any]:
    """Name, version, seed, title and description of what was run."""
    header = board.suite.get("suite") or (board.records[0]["suite"] if board.records else {})
    return dict(header)


def static(name: str) -> str:
    """A style sheet or script."""
    return (_PACKAGE / "static" / name).read_text(encoding="utf-8")


class Pages:
    """Renders templates and writes files below one folder.

    Args:
        folder: where to.
        modality: of the samples that they are about.
    """

    def __init__(self, folder: Path, modality: str = "image") -> None:
        self._folder = folder
        self._modality = modality
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_PACKAGE / "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        self._environment.filters["share"] = share
        self.globals: dict[str, Any] = {
            "shape": shape,
            "cell": cell,
            "linked": linked,
            "colours": COLOURS,
            "most_bands": MOST_BANDS,
            "strip_images": pictures.IMAGES,
            "sounds": {},
            "inline": None,
            "marks": MARKS,
        }

    def write(self, path: str, template: str, **context: Any) -> None:
        """Render one page."""
        self.file(path, self.text(template, "../" * path.count("/"), **context))

    def text(self, template: str, root: str = "", **context: Any) -> str:
        """One page as it would be written.

        Args:
            template: its name.
            root: way from the page to the folder.
            context: what it shows.
        """
        page = self._environment.get_template(template).render(root=root, **self.globals, **context)
        return called(page, self._modality)

    def file(self, path: str, text: str) -> None:
        """Write a text file."""
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        # Labels may hold what no encoding has; newlines stay as they are on every system.
        target.write_bytes(text.encode("utf-8", errors="replace"))

    def static(self, names: tuple[str, ...] = STATIC) -> None:
        """Copy the style sheet and scripts."""
        for name in names:
            self.file(name, static(name))


def _index(board: Board, ranked: Mapping[Table, Scores], curves: list[Curves]) -> dict[str, Any]:
    other = beside.read_beside(board.inputs.folder)
    return {
        "ordered": any(
            score.placed and score.rank is None
            for scores in ranked.values()
            for score in scores.values()
        ),
        "ranked": any(s.rank for scores in ranked.values() for s in scores.values()),
        "samples_word": standings.tier_titles(board)["samples"].lower(),
        "verdict": verdict(board, ranked),
        "beside": beside.found(board, other) if other else None,
        "coverage": overview.coverage(board),
        "rankings": [_ranking(board, table, scores) for table, scores in ranked.items()],
        "elsewhere": standings.elsewhere(board),
        "image_curves": [c for c in curves if c.attack.kind == "image"],
        "model_curves": [c for c in curves if c.attack.kind in ("model", "cross")],
        "users_chart": overview.against_users(board),
        "populations": overview.populations(board),
        "deepfakes": overview.deepfakes(board),
        "fidelities": overview.fidelities(board),
        "secrecy": overview.secrecy(board),
        "accusations": overview.accusations(board),
        "coalitions": blame.coalitions(board),
        "forgeries": blame.forgeries(board),
        "real": pictures.shown_name(board.inputs.samples.real),
        "sheets": details.sample_sheets(board),
        "earlier": board.inputs.earlier,
    }


def _ranking(board: Board, table: Table, scores: Scores) -> dict[str, Any]:
    """What the first page shows of one table."""
    return {
        "table": table,
        "standings": standings.standings(board, scores, table),
        "forest": overview.forest(board, scores, table),
        "plane": overview.plane(board, scores, table),
        "score_rows": overview.score_rows(board, scores),
        "heat": heat_map(board, table),
    }


def _protocol(board: Board, title: str) -> dict[str, Any]:
    return {
        "asked": protocol.asked(board),
        "attacks": protocol.attack_rows(board),
        "repeat": protocol.repeat(board),
        "submissions": board.inputs.submissions,
        "joining": protocol.joining_command(board),
        "places": board.inputs.places,
        "bibtex": protocol.citation(board, title),
    }


def _method(board: Board, method: MethodInfo, ranked: Mapping[Table, Scores]) -> dict[str, Any]:
    strips, attacked = details.method_strips(board, method)
    chart, bits = details.bit_errors(board, method)
    balance, unmarked = details.unmarked_bits(board, method)
    return {
        "method": method,
        "card": details.card(board, method),
        "cite": details.citation(board, "methods", method.label),
        "places": [
            {
                "table": table,
                "score": (score := scores[method.label]),
                "tiers": details.tier_rows(board, score),
                "price": price_text(score.price, table) if score.price is not None else "",
            }
            for table, scores in ranked.items()
            if method.label in scores
        ],
        "table": details.point_table(board, method),
        "strips": strips,
        "attacked": attacked,
        "distributions": distributions.distributions(board, method),
        "why_no_bits": f": {why}" if (why := details.why_no_bits(method)) else "",
        "bit_chart": chart,
        "bits": bits,
        "balance": balance,
        "unmarked": unmarked,
        "accusations": details.accusations_of(board, method),
        "costs": details.costs(board, method),
        "phases": list(training.phases(board, method)),
        "repeat": details.repeat(board, method),
    }


def _attack(board: Board, attack: AttackInfo, curves: Curves | None) -> dict[str, Any]:
    coalitions, forgeries = None, None
    if attack.kind == "coalition":
        coalitions = blame.coalitions(board, attack.points)
    if attack.kind == "forgery":
        forgeries = blame.forgeries(board, attack.points)
    return {
        "attack": attack,
        "card": details.attack_card(board, attack),
        "cite": details.citation(board, "attacks", attack.label),
        "curves": curves,
        "coalitions": coalitions,
        "forgeries": forgeries,
        "strips": details.attack_strips(board, attack),
    }


def _write_samples(inputs: Inputs, folder: Path) -> None:
    samples = inputs.samples
    untouched = {samples.host, samples.real}
    for method in samples.methods.values():
        untouched |= {*method.codes, method.residual}
    if samples.files():
        (folder / "samples").mkdir()
    for name in samples.files():
        target = folder / "samples" / pictures.shown_name(name)
        exact = name in untouched
        pictures.write_picture(samples.folder / name, target, exact=exact)
        if pictures.sounds(samples.folder, [name]):
            pictures.write_sound(samples.folder / name, target, exact=exact)
