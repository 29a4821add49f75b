"""The tables of methods as plain files: CSV with full precision, LaTeX for a paper."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fpbench.report import show
from fpbench.report.kinds import BITS
from fpbench.report.rankings import ATTRIBUTION, BY_ATTRIBUTION, BY_DETECTION, OF_WEIGHTS, Table
from fpbench.report.score import MethodScore
from fpbench.report.standings import (
    RATES,
    SOURCES,
    order,
    rank_text,
    share_on,
    sources,
    tier_titles,
)
from fpbench.report.tables import NONE, Board, MethodInfo
from fpbench.report.tiers import tiers_of

if TYPE_CHECKING:
    from pandas import DataFrame


def csv(board: Board, scores: Mapping[str, MethodScore], table: Table = BY_ATTRIBUTION) -> str:
    """A table with full precision; what is missing is empty, its outcome beside it."""
    text: str = frame(board, scores, table).to_csv(index=False, lineterminator="\n")
    return text


def frame(
    board: Board, scores: Mapping[str, MethodScore], table: Table = BY_ATTRIBUTION
) -> DataFrame:
    """The same with a row for each method, best first."""
    import pandas as pd

    made = pd.DataFrame([_plain(board, m, scores[m.label], table) for m in order(board, scores)])
    if "rank" in made:
        made["rank"] = made["rank"].astype("Int64")  # unranked methods must not make it 1.0
    return made


def _plain(board: Board, method: MethodInfo, score: MethodScore, table: Table) -> dict[str, object]:
    checked = board.inputs.checked.get(method.label)
    row: dict[str, object] = {
        "method": _harmless(method.label),
        "placement": _harmless(str(method.about.get("placement", ""))),
        "bits": method.about.get("bits", "") if method.gives == BITS else "",
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
    for tier in tiers_of(board, table):
        part = score.tiers.get(tier)
        row[f"tier_{tier}"] = None if part is None else part.value
        row[f"tier_{tier}_worst"] = _harmless(part.worst) if part else ""
        row[f"tier_{tier}_stand_in"] = part.stand_in if part else ""
    for name, metric, variant in (*_READ[table], *_quality(board)):
        number = board.number(method.label, NONE, metric, variant)
        row |= {name: number.value, f"{name}_outcome": number.outcome}
        row |= {f"{name}_low": number.low, f"{name}_high": number.high}
    for source in sources(board) if table is BY_DETECTION else ():
        number = share_on(board, method, NONE, source)
        name = _harmless(f"detected_on_{source}")
        row |= {name: number.value, f"{name}_outcome": number.outcome, f"{name}_high": number.high}
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


_CODES = (
    ("largest_n", "capacity", "users"),
    ("capacity_bits", "capacity", ""),
    ("bit_accuracy", "bit-accuracy", ""),
    ("attribution_right", ATTRIBUTION, ""),
    *((f"tpr_at_fpr_{r}", "verification", f"fpr={r}") for r in RATES),
)
_READ = {
    BY_ATTRIBUTION: (*_CODES, *((f"false_accusation_{s}", "false-accusation", s) for s in SOURCES)),
    BY_DETECTION: (
        ("detected", "detection", ""),
        ("auroc", "detection", "auroc"),
        ("average_precision", "detection", "ap"),
    ),
    OF_WEIGHTS: _CODES,
}
_QUALITY = (
    ("psnr_to_host_db", "imperceptibility", "psnr"),
    ("ssim_to_host", "imperceptibility", "ssim"),
    ("psnr_between_codes_db", "code-influence", "psnr"),
)


def _quality(board: Board) -> Sequence[tuple[str, str, str]]:
    """(column, metric, variant) of how alike samples are, with the unit where it is known."""
    if board.of_images:
        return _QUALITY

    def column(name: str, what: str) -> str:
        words = filter(None, (name, what, board.title(name)[1]))
        return re.sub(r"[^a-z0-9]+", "_", "_".join(words).lower())

    return [
        *((column(name, "to host"), "imperceptibility", name) for name in board.likeness),
        *((column(n, "between codes"), "code-influence", n) for n in board.likeness[:1]),
    ]


def _harmless(text: str) -> str:
    """A label as a table's cell: on one line, and no formula to a spreadsheet."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line


def latex(board: Board, scores: Mapping[str, MethodScore], table: Table = BY_ATTRIBUTION) -> str:
    """A table as a LaTeX tabular in the style of booktabs; what is missing is a dash."""
    titles = tier_titles(board)
    tiers, columns = tiers_of(board, table), _TEX_COLUMNS[table]
    heads = ["Method", "Rank", "Score", "95\\,\\% interval", *(titles[tier] for tier in tiers)]
    heads += [*(head for head, _, _ in columns), _tex(board.distance_name)]
    lines = [
        "% needs \\usepackage{booktabs}",
        f"\\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
        "\\toprule",
        " & ".join(heads) + " \\\\",
        "\\midrule",
        *(
            " & ".join(_tex_cells(board, method, scores[method.label], table)) + " \\\\"
            for method in order(board, scores)
        ),
        "\\bottomrule",
        "\\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


_TEX_CODES = (
    ("Bit acc.", "bit-accuracy", ""),
    ("Attribution", ATTRIBUTION, ""),
    ("TPR@$\\leq 10^{-3}$", "verification", "fpr=0.001"),
)
_TEX_COLUMNS = {
    BY_ATTRIBUTION: _TEX_CODES,
    BY_DETECTION: (
        ("TPR@$\\alpha$", "detection", ""),
        ("AUROC", "detection", "auroc"),
        ("AP", "detection", "ap"),
    ),
    OF_WEIGHTS: _TEX_CODES,
}
"""Table -> (head, metric, variant) of what is read."""


def _tex_cells(board: Board, method: MethodInfo, score: MethodScore, table: Table) -> list[str]:
    def rate(metric: str, variant: str) -> str:
        return show.share(board.number(method.label, NONE, metric, variant).value)

    parts = [score.tiers.get(tier) for tier in tiers_of(board, table)]
    cells = [
        method.label,
        rank_text(score),
        show.share(score.value),
        show.span(score.low, score.high) or "–",
        *(show.share(None if part is None else part.value) for part in parts),
        *(rate(metric, variant) for _, metric, variant in _TEX_COLUMNS[table]),
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
