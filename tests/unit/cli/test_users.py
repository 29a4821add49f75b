import json
import stat

import pytest

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: uv sync --extra registry")


@pytest.fixture
def users(command, tmp_path):
    place = tmp_path / "users.db"

    def run(verb, *arguments):
        return command("users", verb, place, *arguments)

    assert run("init", "--model", "faces", "--bits", 32)[0] == 0
    return run


def test_a_user_is_added_shown_and_revoked_without_his_code(users):
    code, out, _ = users("add", "acme", "other", "--json")
    assert code == 0
    assert [json.loads(line)["number"] for line in out.splitlines()] == [0, 1]
    assert "0x" not in users("show", "acme")[1]
    (secret,) = json.loads(users("show", "acme", "--codes", "--json")[1])
    assert len(secret["code"]) == 10
    assert users("add", "acme", "--rotate", "--codes")[1].count("0x") == 1
    assert users("revoke", "acme", "--reason", "left")[0] == 0
    shown = [each["status"] for each in json.loads(users("show", "acme", "--json")[1])]
    assert shown == ["rotated", "revoked"]
    assert "1 active, 1 revoked, 1 rotated" in users("show")[1]


def test_a_table_goes_in_and_out_for_its_owner_alone(users, tmp_path):
    table, copy = tmp_path / "in.csv", tmp_path / "out.csv"
    table.write_text("\ufeffuser,code\na,0x00000001\nb,\n")
    assert "2 users added, 0 were there" in users("import", table)[1]
    assert "0 users added, 2 were there" in users("import", table)[1]
    assert users("export", "-o", copy)[0] == 0
    assert "0x" not in copy.read_text()
    assert users("export", "-o", copy, "--codes")[0] == 0
    assert "0x00000001" in copy.read_text()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


def test_an_audit_gives_a_head_that_later_ones_hold(users):
    users("add", "acme")
    head = json.loads(users("audit", "--json")[1])["head"]
    users("add", "other")
    assert users("audit", "--head", head)[0] == 0
    code, _, said = users("audit", "--head", "f" * 64)
    assert (code, "not among the 3 entries" in said) == (1, True)


def test_what_is_asked_wrongly_is_a_matter_of_usage(users, command, tmp_path):
    for verb, arguments, message in (
        ("add", ["a/b"], "path separator"),
        ("add", ["a", "-m", "face"], "did you mean 'faces'?"),
        ("revoke", ["nobody", "--reason", "x"], "who has none"),
        ("init", ["--model", "x"], "go together"),
    ):
        code, _, said = users(verb, *arguments)
        assert (code, message in said) == (2, True), said
    empty = tmp_path / "empty.db"
    assert command("users", "add", empty, "a")[0] == 2
    assert "enters a model" in command("users", "init", empty)[1]
    code, _, said = command("users", "add", empty, "a")
    assert (code, "got an empty one" in said) == (2, True)
    facts = tmp_path / "facts.json"
    facts.write_text("[1]")
    code, _, said = users("init", "--model", "x", "--bits", 8, "--facts", facts)
    assert (code, "a JSON object" in said) == (2, True)
