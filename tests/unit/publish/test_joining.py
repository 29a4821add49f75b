"""What somebody is told to run so that his numbers fit a board."""

import json

import pytest

from fpbench.execute.request import Request
from fpbench.publish.joining import advice, places_of
from fpbench.registry import load
from fpbench.spec import read_suite
from fpbench.spec.boards import selector

FAKES = ("fpbench.testing.fakes",)
SUITE = """
[suite]
name = "shown"
[dataset]
use = "image-folder"
path = "faces.zip"
[host]
use = "tiny-host"
[[attacks]]
use = "jpeg"
quality = [50]
[[methods]]
use = "perfect"
"""


@pytest.fixture
def place(tmp_path):
    return tmp_path


def made(folder, text, request=None):
    """A folder with a suite as text, as JSON, and with what was asked."""
    folder.mkdir()
    (folder / "suite.toml").write_text(text)
    request = request or Request("suite.toml")
    suite = read_suite(str(folder / "suite.toml"), load(FAKES), methods=request.methods)
    (folder / "suite.json").write_text(json.dumps(suite.resolved()))
    (folder / "request.json").write_text(request.to_json())
    (folder / "submissions.json").write_text('{"submissions": []}')
    return folder


def told(place, ours, theirs, request=None, plugins=FAKES):
    board, bundle = made(place / "board", ours), made(place / "bundle", theirs, request)
    return advice(board, "my boards/shown", bundle, load(plugins))


PERFECT = '[[methods]]\nuse = "perfect"\n'
WRITTEN = {
    "as the board has it": ("", "perfect"),
    "another number of copies": ("[population]\ncopies = 7\n", "perfect"),
    "parameters": (f'{PERFECT}label = "b"\nbits = 12', "'perfect[label=b,bits=12]'"),
    "codes": (
        f'{PERFECT}label = "b"\nbits = 32\ncodes = "bch"',
        "'perfect[label=b,bits=32,codes=bch]'",
    ),
    "codes with parameters": (
        f'{PERFECT}label = "b"\nbits = 32\ncodes = {{ use = "bch", errors = 1 }}',
        None,
    ),
}


@pytest.mark.parametrize("what", WRITTEN)
def test_methods_are_named_with_all_they_say(place, what):
    more, words = WRITTEN[what]
    theirs = SUITE.replace(PERFECT, more if PERFECT in more else PERFECT + more)
    lines = told(place, SUITE, theirs)
    named = words or "b"
    assert lines[1] == (f"  fpbench run 'my boards/shown' -m {named} --set dataset.path=PATH")
    if words is None:
        assert lines[2] == (
            "The parameters of b cannot be written so: put its [[methods]] table into a copy, "
            "`fpbench show 'my boards/shown' > mine.toml`, and run that"
        )
    else:
        assert len(lines) == 2


def test_what_the_boards_method_of_that_name_says_is_unsaid(place):
    """A selector takes over the parameters of the board's entry, which were not submitted."""
    ours = SUITE + "bits = 12\n"
    theirs = SUITE.replace(PERFECT, f'{PERFECT}label = "b"\n')
    lines = told(place, ours, theirs)
    assert "-m 'perfect[label=b,bits=16," in lines[1]


def test_selectors_of_the_command_line_are_part_of_what_was_submitted(place):
    request = Request("suite.toml", methods=("perfect[label=b,bits=12]",))
    lines = told(place, SUITE, SUITE, request)
    assert "-m 'perfect[label=b,bits=12]'" in lines[1]


def test_methods_that_are_not_installed_here_are_named_as_they_are_written(place):
    theirs = SUITE.replace(PERFECT, f'{PERFECT}label = "b"\nbits = 12')
    lines = told(place, SUITE, theirs, plugins=())
    assert len(lines) == 2
    assert "-m 'perfect[label=b,bits=12]'" in lines[1]


@pytest.mark.parametrize(
    ("entry", "written"),
    [
        ({"use": "jpeg"}, "jpeg"),
        ({"use": "jpeg", "quality": [90, 50.5]}, "jpeg[quality=90,50.5]"),
        ({"use": "jpeg", "quality": [90]}, "jpeg[quality=[90]]"),
        ({"use": "a", "text": "444", "on": True}, 'a[text="444",on=true]'),
        ({"use": "a", "text": "one, two"}, None),
        ({"use": "a", "parts": [{"use": "b"}, {"use": "c"}]}, None),
    ],
)
def test_selectors_say_what_a_table_says_or_there_is_none(entry, written):
    assert selector(entry) == written


def suite(kind="image-folder", host="tiny-host", **params):
    return {
        "dataset": {"name": kind, "params": {"path": "x", "train": 3, **params}},
        "host": {"name": host, "params": {"path": "y"}},
    }


def test_what_says_where_things_lie_is_no_setting():
    catalogue = load(FAKES)
    known = suite()
    places = places_of(known, known, catalogue, [], [])
    assert places == {"dataset.path", "dataset.captions"}
    strange = suite("unheard-of", note="z")
    assert places_of(strange, strange, catalogue, [], []) == {"dataset.path", "dataset.note"}


def test_a_hosts_files_may_have_other_names_where_they_are_the_same():
    catalogue = load(FAKES)
    drawn = suite(host="originals")
    one = [{"metric": "m", "inputs": {"host": "a" * 64}}]
    other = [{"metric": "m", "inputs": {"host": "b" * 64}}]
    assert "host.path" in places_of(drawn, drawn, catalogue, one, one)
    assert "host.path" not in places_of(drawn, drawn, catalogue, one, other)
    assert "host.path" not in places_of(drawn, drawn, catalogue, [], [])
