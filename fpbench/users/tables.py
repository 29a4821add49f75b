"""CSV in and out. Text that a spreadsheet would compute with is made text, and back again."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

from fpbench.api import SpecError
from fpbench.users.issuing import Wanted
from fpbench.users.rows import name_of
from fpbench.users.schema import ACTIVE

COLUMNS = ("user", "number", "status", "issued_at", "changed_at", "reason")
CODE_COLUMN = "code"

# What spreadsheets take for a formula at the start of a cell (OWASP, CSV injection; the wide forms
# are those of East Asian keyboards), and the mark that says that it is none.
_FORMULA = "=+-@\t\r＝＋－＠"
_TEXT = "'"


def neutral(text: str) -> str:
    """Text that no spreadsheet computes with; `restored` gives it back."""
    return _TEXT + text if text[:1] in (*_FORMULA, _TEXT) else text


def restored(text: str) -> str:
    """The text that `neutral` was given."""
    return text[1:] if text[:1] == _TEXT and text[1:2] in (*_FORMULA, _TEXT) else text


def code_text(code: bytes) -> str:
    """A code as it stands in a file: "0x" keeps spreadsheets from reading a number."""
    return f"0x{code.hex()}"


def write(file: IO[str], rows: Iterable[Sequence[object]], *, codes: bool) -> int:
    """Write rows of `COLUMNS`, and codes if asked; how many."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*COLUMNS, CODE_COLUMN] if codes else COLUMNS)
    count = 0
    for row in rows:
        writer.writerow([neutral(each) if isinstance(each, str) else each for each in row])
        count += 1
    return count


def read(lines: Iterable[str], bits: int) -> Iterator[Wanted]:
    """Users, and codes where there is such a column, of a CSV with a header.

    Raises:
        SpecError: it has no column `user`, or a line is wrong; names the line.
    """
    table = csv.reader(lines, strict=True)
    try:
        header = [cell.strip().lower() for cell in next(table, [])]
        if header.count("user") != 1 or header.count(CODE_COLUMN) > 1:
            got = ", ".join(header)[:80] or "nothing"
            raise SpecError([f"import: expected a first line with the column user, got {got}"])
        for cells in table:
            if cells:
                try:
                    yield _wanted(header, cells, bits)
                except SpecError as error:
                    raise SpecError([f"import: line {table.line_num}: {error}"]) from error
    except csv.Error as error:
        raise SpecError([f"import: line {table.line_num}: expected CSV, got {error}"]) from error
    except UnicodeDecodeError as error:
        text = f"expected UTF-8 after line {table.line_num}, got something else"
        raise SpecError([f"import: {text}"]) from error


def _wanted(header: Sequence[str], cells: Sequence[str], bits: int) -> Wanted:
    if len(cells) != len(header):
        raise SpecError([f"expected {len(header)} cells, got {len(cells)}"])
    row = dict(zip(header, cells, strict=True))
    status, code = row.get("status", "").strip(), row.get(CODE_COLUMN, "").strip()
    if status not in ("", ACTIVE):
        text = f"expected a user who is active, got {status[:20]!a}; leave the line out"
        raise SpecError([f"{text}, or move a whole registry by copying its database"])
    name = name_of(restored(row["user"]), "user")
    return Wanted(name, code_of(code, bits) if code else None)


def code_of(text: str, bits: int) -> bytes:
    """The code of `code_text`; the 0x may be absent.

    Raises:
        SpecError: it is of another length, or no hexadecimal number.
    """
    digits = text.lower().removeprefix("0x")
    width = -(-bits // 8)
    try:
        code = bytes.fromhex(digits)
    except ValueError:
        code = b""
    if len(digits) != 2 * width or len(code) != width:
        text = f"got {len(digits)} characters" if code or not digits else "got something else"
        raise SpecError(
            [f"expected a code of {bits} bits as {2 * width} hexadecimal digits, {text}"]
        )
    if code[-1] & ((1 << (8 * width - bits)) - 1):
        raise SpecError(
            [f"expected a code of {bits} bits with zeros behind them, got a longer one"]
        )
    return code
