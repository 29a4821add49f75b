"""Writes the files of a page: one index, one page for each method and each attack."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jinja2

from fpbench.report import blame, details, overview, training
from fpbench.report.charts import COLOURS, MOST_BANDS, marker
from fpbench.report.curves import Curves, attack_curves
from fpbench.report.heat import heat_map
from fpbench.report.inputs import Inputs
from fpbench.report.score import MethodScore, score_board
from fpbench.report.show import share
from fpbench.report.standings import csv, standings
from fpbench.report.tables import AttackInfo, Board, MethodInfo
from fpbench.report.verdict import verdict

_PACKAGE = Path(__file__).parent
_STATIC = ("style.css", "table.js")


def write_site(inputs: Inputs, folder: Path) -> None:
    """Write all files into an empty folder."""
    board = Board(inputs)
    scores = score_board(board)
    curves = [attack_curves(board, attack) for attack in board.tracing_attacks if attack.points]
    site = _Site(board, folder)
    site.page("index.html", "index.html.j2", _index(board, scores, curves))
    for method in board.methods:
        page = _method(board, method, scores[method.label])
        site.page(f"methods/{method.slug}.html", "method.html.j2", page)
    drawn = {curve.attack.label: curve for curve in curves}
    for attack in board.attacks:
        page = _attack(board, attack, drawn.get(attack.label))
        site.page(f"attacks/{attack.slug}.html", "attack.html.j2", page)
    site.file("leaderboard.csv", csv(board, scores))
    site.data(inputs)


def _index(board: Board, scores: dict[str, MethodScore], curves: list[Curves]) -> dict[str, Any]:
    return {
        "verdict": verdict(board, scores),
        "coverage": overview.coverage(board),
        "standings": standings(board, scores),
        "forest": overview.forest(board, scores),
        "plane": overview.plane(board, scores),
        "score_rows": overview.score_rows(board, scores),
        "heat": heat_map(board),
        "image_curves": [c for c in curves if c.attack.kind == "image"],
        "model_curves": [c for c in curves if c.attack.kind in ("model", "cross")],
        "populations": overview.populations(board),
        "deepfakes": overview.deepfakes(board),
        "fidelities": overview.fidelities(board),
        "secrecy": overview.secrecy(board),
        "accusations": overview.accusations(board),
        "coalitions": blame.coalitions(board),
        "forgeries": blame.forgeries(board),
        "sheets": details.sample_sheets(board),
        "reproducibility": overview.reproducibility(board),
        "earlier": board.inputs.earlier,
    }


def _method(board: Board, method: MethodInfo, score: MethodScore) -> dict[str, Any]:
    strips, attacked = details.method_strips(board, method)
    chart, bits = details.bit_errors(board, method)
    balance, unmarked = details.unmarked_bits(board, method)
    return {
        "method": method,
        "score": score,
        "card": details.card(board, method),
        "families": details.family_rows(score),
        "table": details.point_table(board, method),
        "strips": strips,
        "attacked": attacked,
        "bit_chart": chart,
        "bits": bits,
        "balance": balance,
        "unmarked": unmarked,
        "accusations": details.accusations_of(board, method),
        "costs": details.costs(board, method),
        "phases": list(training.phases(board, method)),
    }


def _attack(board: Board, attack: AttackInfo, curves: Curves | None) -> dict[str, Any]:
    return {
        "attack": attack,
        "card": details.attack_card(board, attack),
        "curves": curves,
        "coalitions": blame.coalitions(board, attack.points)
        if attack.kind == "coalition"
        else None,
        "forgeries": blame.forgeries(board, attack.points) if attack.kind == "forgery" else None,
        "strips": details.attack_strips(board, attack),
    }


class _Site:
    """Renders templates and writes files below one folder."""

    def __init__(self, board: Board, folder: Path) -> None:
        self._folder = folder
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_PACKAGE / "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        self._environment.filters["share"] = share
        header = board.suite.get("suite") or {}
        if not header and board.records:
            header = board.records[0]["suite"]
        self._environment.globals |= {
            "board": board,
            "title": header.get("title") or header.get("name") or "fpbench",
            "suite": header,
            "marker": marker,
            "colours": COLOURS,
            "most_bands": MOST_BANDS,
        }

    def page(self, path: str, template: str, context: dict[str, Any]) -> None:
        root = "../" * path.count("/")
        self.file(path, self._environment.get_template(template).render(root=root, **context))

    def file(self, path: str, text: str) -> None:
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        # Labels may hold what no encoding has; newlines stay as they are on every system.
        target.write_bytes(text.encode("utf-8", errors="replace"))

    def data(self, inputs: Inputs) -> None:
        """Copy what the page stands on, so that it can be read back beside it."""
        for name in _STATIC:
            shutil.copyfile(_PACKAGE / "static" / name, self._folder / name)
        # As the log writes them; what was read needs no second check of its keys.
        compact = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
        self.file("records.jsonl", "".join(f"{compact.encode(r)}\n" for r in inputs.records))
        self.file("suite.json", json.dumps(inputs.suite, indent=2, sort_keys=True) + "\n")
        if inputs.samples.files():
            (self._folder / "samples").mkdir()
        for name in inputs.samples.files():
            shutil.copyfile(inputs.samples.folder / name, self._folder / "samples" / name)
