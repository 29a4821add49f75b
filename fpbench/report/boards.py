"""The page over several boards: what each found, and what was never run."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fpbench.api import SpecError
from fpbench.report import overview, show, standings
from fpbench.report.inputs import read_inputs
from fpbench.report.rankings import BY_ATTRIBUTION, Table, home
from fpbench.report.score import MethodScore
from fpbench.report.show import Shown
from fpbench.report.site import STATIC, Pages, suite_header, write_board
from fpbench.report.verdict import verdict
from fpbench.store.names import Slugs


@dataclass(frozen=True)
class Entry:
    """One board on the page over all.

    Attributes:
        slug: its folder.
        title: of its suite.
        about: what its suite says of itself.
        facts: (name, value) of what was asked and measured; empty where nothing was.
        verdict: its first sentences.
        scores: method -> rank and score.
    """

    slug: str
    title: str
    about: str
    facts: Sequence[tuple[str, str]] = ()
    verdict: Sequence[str] = ()
    scores: Mapping[str, Shown] | None = None


_SENTENCES = 3


def write_boards(folders: Sequence[Path], output: Path, title: str) -> None:
    """Write a board for each folder, and a page over them.

    Args:
        folders: of runs or boards.
        output: an empty folder.
        title: of the page.

    Raises:
        StoreError: a file of a run is not what a run writes.
    """
    slugs, entries = Slugs("index.html", *STATIC), []
    for folder in folders:
        slug = slugs.make(folder.name)
        if (folder / "records.jsonl").is_file():
            (output / slug).mkdir()
            entries.append(_measured(folder, slug, output / slug))
        else:
            entries.append(_unmeasured(folder, slug))
    pages = Pages(output)
    done = [entry for entry in entries if entry.scores is not None]
    pages.globals |= {"title": title, "where": "", "home": ""}
    pages.write(
        "index.html",
        "boards.html.j2",
        done=done,
        open=[entry for entry in entries if entry.scores is None],
        methods=list(dict.fromkeys(label for e in done for label in e.scores or ())),
    )
    pages.static()


def folders_in(root: Path) -> list[Path]:
    """The boards below a folder: what holds records, or a suite that was not run yet.

    Raises:
        SpecError: there is none.
    """
    found = [
        path
        for path in sorted(root.iterdir())
        if not path.name.startswith(".")  # what a kill leaves beside a board
        and ((path / "records.jsonl").is_file() or (path / "suite.toml").is_file())
    ]
    if not found:
        raise SpecError(
            [f"report --all: expected boards or runs as folders in {root}, got none; name another"]
        )
    return found


def _measured(folder: Path, slug: str, output: Path) -> Entry:
    inputs = read_inputs(folder)
    board, ranked = write_board(inputs, output, home="../")
    header, covered = suite_header(board), overview.coverage(board)
    newest = max((r["created_utc"] for r in board.records if r.get("created_utc")), default="")
    facts = [
        ("Registered users N", show.count(board.registered)),
        ("False accusations α", show.rate(board.false_rate)),
        ("Methods", str(len(board.methods))),
        ("Attacks", str(len(board.attacks))),
        ("Training seeds", str(len(board.seeds))),
        ("Cells with numbers", f"{covered.done} of {covered.total}"),
        ("Checked", ", ".join(dict.fromkeys(s.status for s in inputs.checked.values()))),
        ("Newest record", newest[:10]),
    ]
    return Entry(
        slug,
        str(header.get("title") or header.get("name") or slug),
        str(header.get("description") or ""),
        [(name, value) for name, value in facts if value not in ("", "–")],
        verdict(board, ranked)[:_SENTENCES],
        {
            m.label: _place(scores[m.label], table)
            for table, scores in ranked.items()
            for m in standings.order(board, scores)
            if home(m) is table
        },
    )


def _place(score: MethodScore, table: Table) -> Shown:
    """Its score and rank in the table that says most of it."""
    among = "" if table is BY_ATTRIBUTION else f"\n{table.title.lower()}"
    if not score.placed:
        return Shown("no place", outcome="unranked", reason=score.reason)
    if score.rank is None:
        return Shown(show.share(score.value), f"{score.unranked}{among}", score.value)
    rank = f"rank {standings.rank_text(score)}{among}"
    return Shown(show.share(score.value), rank, score.value)


def _unmeasured(folder: Path, slug: str) -> Entry:
    header = _toml(folder / "suite.toml").get("suite", {})
    about = " ".join(str(header.get("description", "")).split())
    return Entry(slug, str(header.get("title") or folder.name), about)


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpecError(
            [f"{path}: expected a suite in TOML, got {error}; mend it or take the folder away"]
        ) from None
