"""Adds a verified bundle to a board: a folder of one suite with the submissions of many.

    suite.toml, suite.json   the suite; the second names the methods of all submissions
    records.jsonl            every record there ever was; the last of each identity holds
    samples/                 strips of all methods
    submissions.json         who brought what, oldest first; of two that list one method the later
                             one holds; and which parameters are places that everybody names for
                             himself
    CHANGELOG.md             what every submission changed, newest first
    page/                    the board to look at

It is laid out like the folder of a run, so `fpbench report` draws it. No clock is read: the same
submissions in the same order give the same bytes.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fpbench.api import StoreError
from fpbench.execute.request import Request
from fpbench.publish import redact
from fpbench.publish.alike import unlike_records
from fpbench.publish.archive import RECORDS, Bundle
from fpbench.publish.changes import Changes, changes, harmless
from fpbench.publish.checks import Record, place_of, read_records
from fpbench.publish.joining import advice, places_of
from fpbench.publish.lock import locked
from fpbench.publish.merging import check_source, merge_strips, merged, unlike
from fpbench.publish.redact import SUITE_FILE
from fpbench.publish.suites import SUITE, SuiteJson, read_suite_json
from fpbench.publish.verify import REFUSED, RESCORED, SELF_REPORTED, Verification
from fpbench.registry import Catalogue, load
from fpbench.report.build import build_page
from fpbench.spec.boards import SUBMISSIONS, places
from fpbench.store import RecordLog
from fpbench.store.objects import replace_folder, restore_folder, write_text

CHANGELOG = "CHANGELOG.md"
_SHOWN = 20  # differences that a refusal names
_MARK = 12  # digits of a digest that stand for it

Submission = dict[str, Any]


@dataclass
class Added:
    """What adding a bundle did.

    Attributes:
        page: the page to open.
        changed: whether the board is another one now.
        changes: of its rows.
    """

    page: Path
    changed: bool
    changes: Changes = field(default_factory=Changes)


def add_to_board(
    bundle: Bundle,
    verified: Verification,
    board: Path,
    plugins: tuple[str, ...] = (),
    *,
    replace_checked: bool = False,
) -> Added:
    """Merge a bundle into a board and draw its page; a kill leaves the old board or the new one.

    Args:
        bundle: opened by `open_bundle`.
        verified: what `verify` found out about it.
        board: the board's folder; made if absent.
        plugins: further plugin modules.
        replace_checked: let self-reported numbers replace those of a method that were made again.

    Raises:
        StoreError: the bundle was refused, its numbers cannot be compared with those of the board,
            the board has newer or better checked ones of the same method, or somebody else changes
            it now.
    """
    if verified.status == REFUSED:
        raise StoreError(
            f"board {board}: expected a bundle that passes `fpbench verify`, got one with "
            f"{len(verified.problems)} problems; have its maker export it again"
        )
    named, board = board, board.resolve()
    if bundle.folder.resolve() == board:
        raise StoreError(
            f"board {board}: expected another folder than the bundle's own, got the same; name a "
            "board like leaderboards/NAME",
            path=str(board),
        )
    with locked(board):
        restore_folder(board)
        entry, catalogue = _entry(bundle, verified), load(plugins)
        submissions = read_submissions(board)
        if any(each == entry for each in submissions):
            return Added(build_page(board, board / "page"), changed=False)
        if problems := _differences(bundle, board, submissions, entry, catalogue):
            raise _refused(problems, board, named, bundle, catalogue)
        _check_history(board, submissions, entry, replace_checked=replace_checked)
        return _add(bundle, entry, board, submissions, catalogue)


def _add(
    bundle: Bundle,
    entry: Submission,
    board: Path,
    submissions: list[Submission],
    catalogue: Catalogue,
) -> Added:
    stage = board.with_name(f".{board.name}.new")
    shutil.rmtree(stage, ignore_errors=True)
    try:
        fresh = stage / board.name  # its own name, which the page may show
        if board.exists():
            shutil.copytree(board, fresh, symlinks=True)
        fresh.mkdir(parents=True, exist_ok=True)
        found = _merge(bundle, fresh, submissions, entry, catalogue)
        build_page(fresh, fresh / "page")
        replace_folder(fresh, board)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return Added(board / "page" / "index.html", changed=True, changes=found)


def read_submissions(board: Path) -> list[Submission]:
    """Who brought what, oldest first.

    Raises:
        StoreError: the file is not what `board add` writes.
    """
    file = board / SUBMISSIONS
    if not file.is_file():
        return []
    try:
        found: list[Submission] = json.loads(file.read_text(encoding="utf-8"))["submissions"]
        for each in found:
            _ = each["digest"], each["data"], each["newest_utc"], each["methods"], each["status"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise StoreError(
            f"board {board}: expected a list of submissions in {SUBMISSIONS}, got another file "
            f"({error!r}); take it from the last commit",
            path=str(file),
        ) from None
    return found


# -- what is compared first --------------------------------------------------------------------


def _entry(bundle: Bundle, verified: Verification) -> Submission:
    records = _records(bundle)
    request = Request.from_json((bundle.folder / "request.json").read_text(encoding="utf-8"))
    suite = read_suite_json(bundle.folder / SUITE)
    return {
        "digest": bundle.manifest.digest,
        "submitter": bundle.manifest.submitter,
        "note": bundle.manifest.note,
        "fpbench": bundle.manifest.fpbench,
        "status": verified.status,
        "reasons": [redact.text(reason) for reason in verified.reasons],
        "methods": [method["label"] for method in suite["methods"]],
        # The records' own dates: with a clock the same bundle would give other bytes.
        "newest_utc": max((r.get("created_utc", "") for r in records), default=""),
        "data": request.data.digest if request.data is not None else "",
    }


def _differences(
    bundle: Bundle,
    board: Path,
    submissions: list[Submission],
    entry: Submission,
    catalogue: Catalogue,
) -> list[str]:
    """Why the numbers of a bundle cannot be compared with a board's; empty if they can."""
    new = read_suite_json(bundle.folder / SUITE)
    if not (board / SUITE).is_file():
        check_source(board, new)
        return []
    old, theirs = read_suite_json(board / SUITE), _records(bundle)
    ours = RecordLog(board / RECORDS).read().values()
    found = unlike(old, new, places_of(old, new, catalogue, ours, theirs))
    staying = _staying(board, entry).values()
    found += unlike_records(staying, theirs, copies=not found)
    if others := {each["data"] for each in submissions} - {entry["data"]}:
        found.append(
            f"images: the board's have the digest {min(others)[:16]}…, the bundle's "
            f"{entry['data'][:16]}…"
        )
    return found


def _refused(
    problems: list[str], board: Path, named: Path, bundle: Bundle, catalogue: Catalogue
) -> StoreError:
    many = f"{len(problems)} difference{'' if len(problems) == 1 else 's'}"
    said = [
        f"board {board}: expected a bundle whose numbers can be compared with the board's, got "
        f"one with {many}:",
        *(f"  {problem}" for problem in problems[:_SHOWN]),
        *([f"  … and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []),
        *advice(board, named, bundle.folder, catalogue),
        "Or name another board.",
    ]
    # What others wrote must not steer the terminal.
    lines = ("".join(c if c.isprintable() else "�" for c in line) for line in said)
    return StoreError("\n".join(lines), path=str(board))


def _check_history(
    board: Path, submissions: list[Submission], entry: Submission, *, replace_checked: bool
) -> None:
    """Refuse what is older, or less checked, than what the board has of the same methods."""
    for each in submissions:
        if set(each["methods"]) & set(entry["methods"]) and (
            each["newest_utc"] > entry["newest_utc"]
        ):
            shared = sorted(set(each["methods"]) & set(entry["methods"]))
            raise StoreError(
                f"board {board}: expected numbers of {', '.join(shared)} that are newer than those "
                f"of {each['newest_utc']}, got some of {entry['newest_utc'] or 'no date'}; bring a "
                "newer bundle, or one of other methods",
                path=str(board),
            )
    badges = _badges(submissions)
    checked = [label for label in entry["methods"] if badges.get(label) == RESCORED]
    if checked and entry["status"] == SELF_REPORTED and not replace_checked:
        raise StoreError(
            f"board {board}: expected re-scored numbers of {', '.join(checked)}, as the board has, "
            f"got {SELF_REPORTED} ones; verify the bundle where its numbers can be made again, or "
            "replace those that were checked with --replace-checked",
            path=str(board),
        )


def _badges(submissions: list[Submission]) -> dict[str, str]:
    """Method -> how its numbers were checked."""
    return {label: each["status"] for each in submissions for label in each["methods"]}


# -- how it is merged --------------------------------------------------------------------------


def _merge(
    bundle: Bundle,
    board: Path,
    submissions: list[Submission],
    entry: Submission,
    catalogue: Catalogue,
) -> Changes:
    """Write everything but the page into a copy of the board."""
    old = read_suite_json(board / SUITE) if (board / SUITE).is_file() else None
    new = read_suite_json(bundle.folder / SUITE)
    mine = set(entry["methods"])
    log = RecordLog(board / RECORDS)
    before = log.read()
    stay = _staying(board, entry)
    after = stay | _own(bundle, board, entry, stay)
    log.update(after.values())
    whole: SuiteJson = merged(old, new) if old is not None else new
    write_text(board / SUITE, _json(whole))
    if not (board / SUITE_FILE).is_file():
        write_text(board / SUITE_FILE, (bundle.folder / SUITE_FILE).read_text(encoding="utf-8"))
    mark = entry["digest"][:_MARK]
    merge_strips(board / "samples", bundle.folder / "samples", mine, mark)
    kept = [each for each in submissions if each["digest"] != entry["digest"]]
    write_text(
        board / SUBMISSIONS,
        _json({"places": places(whole, catalogue), "submissions": [*kept, entry]}),
    )
    found = changes(before, after, old, new)
    found.badges = _other_badges(submissions, entry)
    _log(board, entry, found)
    return found


def _records(bundle: Bundle) -> list[Record]:
    """Those of cells; what could not be loaded on one machine is nothing that a board tells."""
    return [record for record in read_records(bundle.folder / RECORDS).records if record["cell"]]


def _staying(board: Path, entry: Submission) -> dict[str, Record]:
    """The board's records of methods that a submission does not bring."""
    there = RecordLog(board / RECORDS).read()
    return {i: r for i, r in there.items() if place_of(r)[0] not in entry["methods"]}


def _own(
    bundle: Bundle, board: Path, entry: Submission, stay: dict[str, Record]
) -> dict[str, Record]:
    """The records of a submission, none of which is about a method of others."""
    own = {record["record_id"]: record for record in _records(bundle)}
    foreign = {place_of(record)[0] for record in own.values()} - set(entry["methods"])
    foreign |= {place_of(stay[identity])[0] for identity in own.keys() & stay.keys()}
    if foreign:
        raise StoreError(
            f"board {board}: expected records of {', '.join(entry['methods'])} alone, got some of "
            f"{', '.join(sorted(foreign))}; have the bundle's maker export it again",
            path=str(board),
        )
    return own


def _other_badges(submissions: list[Submission], entry: Submission) -> list[str]:
    former = _badges(submissions)
    return [
        f"The badge of {label} is another one: {former[label]} → {entry['status']}."
        for label in entry["methods"]
        if former.get(label, entry["status"]) != entry["status"]
    ]


def _log(board: Path, entry: Submission, found: Changes) -> None:
    """Put an entry before those of the change log."""
    file = board / CHANGELOG
    title = f"# Changes of {harmless(board.name)}\n"
    former = file.read_text(encoding="utf-8") if file.is_file() else title
    head, _, rest = former.partition("\n## ")
    who = harmless(entry["submitter"]) or "no name given"
    day = entry["newest_utc"][:10] or "no date"
    lines = [
        f"## {harmless(day)}, {who} (bundle {entry['digest'][:_MARK]})",
        "",
        f"- {entry['status'].capitalize()}"
        + ("." if not entry["reasons"] else f": {harmless('; '.join(entry['reasons']))}."),
        f"- Methods: {harmless(', '.join(entry['methods']))}.",
        *([f"- {harmless(entry['note'])}"] if entry["note"] else []),
        *found.lines(),
    ]
    text = head.rstrip("\n") + "\n\n" + "\n".join(lines) + "\n"
    write_text(file, text + (f"\n## {rest}" if rest else ""))


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"
