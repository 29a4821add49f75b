import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpbench.api import SpecError
from fpbench.users import Registry, tables


@given(st.text())
def test_neutral_text_is_no_formula_and_comes_back(text):
    kept = tables.neutral(text)
    assert not kept.startswith(tuple("=+-@\t\r＝＋－＠"))
    assert tables.restored(kept) == text


def test_a_hostile_name_is_text_in_a_spreadsheet_and_itself_again(registry, tmp_path):
    names = [
        "=HYPERLINK(1)",
        "+1",
        "-2",
        "@x",
        "'quoted",
        'a","b',
        "Robert'); DROP TABLE code;--",
        "ünï",
    ]
    for name in names:
        registry.issue("faces", name)
    registry.revoke("faces", "+1", "=reason")
    file = io.StringIO()
    assert registry.export("faces", file) == len(names)
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert [row["user"] for row in rows[:5]] == ["'=HYPERLINK(1)", "'+1", "'-2", "'@x", "''quoted"]
    assert rows[1]["reason"] == "'=reason"
    assert "code" not in rows[0]
    with Registry.open(tmp_path / "other.db", create=True) as other:
        other.add_model("faces", {"bits": 32})
        lines = [line for line in io.StringIO(file.getvalue()) if "revoked" not in line]
        assert other.import_users("faces", lines).added == len(names) - 1
        assert other.of_user(names[-2])[0].status == "active"


def test_an_import_goes_on_where_it_was_stopped(registry):
    rows = ["user\n", *(f"user {n}\n" for n in range(10))]
    torn = [*rows[:8], "a/b\n", *rows[8:]]
    with pytest.raises(SpecError, match=r"line 9: user: .*path separator"):
        registry.import_users("faces", torn, chunk=3)
    assert registry.count("faces") == 6
    before = registry.codes("faces")[0].copy()
    done = registry.import_users("faces", rows, chunk=3)
    assert (done.added, done.present) == (4, 6)
    assert (registry.codes("faces")[0][:6] == before).all()
    assert registry.import_users("faces", rows).added == 0


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "column user, got nothing"),
        (["name\n"], "column user, got name"),
        (["user\n", "a,b\n"], "line 2: expected 1 cells, got 2"),
        (["user,code\n", "a,0x00\n"], "line 2: expected a code of 32 bits as 8 hex.* got 2"),
        (["user,code\n", "a,zz00zz00\n"], "line 2: expected a code of 32 bits .* something else"),
        (["user,code\n", "a,00000001\n", "b,0x00000001\n"], "user b: .* got that of a"),
        (["user,code\n", "b,00000001\n", "b,00000002\n"], "user b: got another code"),
        (["user,code\n", "known,00000001\n"], "user known: got another code"),
        (["user,status\n", "a,revoked\n"], "line 2: expected a user who is active"),
        (["user\n", '"a\n'], "expected CSV"),
        (["user\n", " a\n"], "begins or ends with a space"),
        (["user\n", "../a\n"], "path separator"),
        (["user\n", ".a\n"], "begins with a dot"),
        (["user\n", "a\u202eb\n"], "cannot be printed"),
        (["user\n", "a" * 201 + "\n"], "longer than 200 bytes"),
        (["user\n", '""\n'], "is empty"),
    ],
)
def test_what_cannot_be_imported_is_refused_in_a_sentence(registry, lines, message):
    registry.issue("faces", "known")
    with pytest.raises(SpecError, match=message):
        registry.import_users("faces", lines)
    assert registry.count("faces") == 1


def test_a_code_of_ten_bits_has_zeros_behind_it(registry):
    registry.add_model("ten", {"bits": 10})
    with pytest.raises(SpecError, match="zeros behind"):
        registry.import_users("ten", ["user,code\n", "a,ffff\n"])
    registry.import_users("ten", ["user,code\n", "a,0xffc0\n"])
    assert registry.code("ten", 0).all()
