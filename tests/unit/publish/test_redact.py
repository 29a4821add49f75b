import json
import re

import pytest

from fpbench.execute.request import Request
from fpbench.publish import redact

PATHS = ["/home/me/x.zip", "~/data/x.zip", "~me/x.zip", "C:\\Users\\me\\x.zip", "D:/me/x.zip"]
PATHS += ["\\\\server\\me\\x.zip", "file:///home/me/x.zip"]
ABSOLUTE = re.compile(r"""(^|[\s"'=:,(\[])(file:/+|/|~\w*/|[A-Za-z]:[/\\]|\\\\)[^\s/\\]""")
"""Written apart from what it tests: where an absolute path may begin."""


@pytest.mark.parametrize("path", PATHS)
def test_the_pattern_of_these_tests_finds_paths(path):
    assert ABSOLUTE.search(path)
    assert ABSOLUTE.search(f"no file at {path}; set it")
    assert ABSOLUTE.search(f"--set dataset.path={path}")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "text", ["{}", "no file at {}; set it", "got '{}' (2 files)", "at:{}", "x={},y", "[{}]", '"{}"']
)
def test_of_a_path_in_a_text_its_last_part_is_left(path, text):
    assert redact.text(text.format(path)) == text.format("x.zip")


@pytest.mark.parametrize(
    "text",
    [
        "see https://www.cs.toronto.edu/~kriz/cifar.html in that folder",
        "250 images/s, 1 / 2, I/O, runs/quickstart, ../x, and/or",
        "a regular expression like \\d+ or \\n",
        "jpeg 50: 30.1 dB ~ 3 %",
    ],
)
def test_what_is_no_absolute_path_stays(text):
    assert redact.text(text) == text
    assert redact.text(redact.text(text)) == redact.text(text)


@pytest.mark.parametrize("path", ["/home/me/my data/x.zip", "C:\\My Data\\me\\x.zip"])
def test_a_path_with_spaces_is_known_by_its_quotes(path):
    assert redact.text(f"no file at '{path}'") == "no file at 'x.zip'"
    assert redact.command(f"fpbench run 'dataset.path={path}'") == (
        "fpbench run dataset.path=x.zip"
    )


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "line",
    [
        "fpbench run quickstart --set dataset.path={}",
        "fpbench run quickstart --weights {} -j 2",
        "fpbench run {}",
        "fpbench run quickstart --store={}",
        "fpbench run quickstart -m 'x[path={},bits=3]'",
        "fpbench run it's broken {}",
    ],
)
def test_of_a_path_in_a_command_its_last_part_is_left(path, line):
    assert redact.command(line.format(path)) == line.format("x.zip")


def test_a_path_may_stand_right_behind_a_short_option():
    assert redact.command("fpbench export run -o/home/me/x.zip") == "fpbench export run -ox.zip"


def test_in_a_suite_values_that_are_paths_and_comments_are_cut():
    suite = """# from /home/me/suites
[suite]
name = "x"  # as in /home/me/suites
title = "A <b>/bold</b> word, images/s" # it's /home/me's
[dataset]
path = "/home/me/my data/x.zip"
parts = ["~/a.npy", 'C:\\b.npy']
"""
    assert (
        redact.source(suite)
        == """# from suites
[suite]
name = "x"  # as in suites
title = "A <b>/bold</b> word, images/s" # it's me's
[dataset]
path = "x.zip"
parts = ["a.npy", 'b.npy']
"""
    )


def test_the_fields_of_a_record_that_tell_of_machines():
    path = "/home/me/x.zip"
    record = {
        "record_id": "a" * 64,
        "method": {"label": "/odd/label", "params": {"file": path, "list": [path]}},
        "point": {"label": "none", "model": {"strength_unit": "/px", "params": {"p": path}}},
        "unit": "/image",
        "reason": f"no file at {path}",
        "environment": {"python": "3.11.7", "data": path},
        "detail": {"note": f"from {path}", "n": 3, "values": [0.5, None]},
        "command": f"fpbench run {path}",
        "supersedes": "b" * 64,
    }
    kept = redact.record(record)
    assert kept["record_id"] == record["record_id"]
    # Names are part of what a record is: its identity is made of them.
    assert (kept["method"]["label"], kept["unit"]) == ("/odd/label", "/image")
    assert kept["point"]["model"]["strength_unit"] == "/px"
    assert "supersedes" not in kept
    assert "/home" not in json.dumps(kept)
    assert kept["detail"] == {"note": "from x.zip", "n": 3, "values": [0.5, None]}
    assert redact.record(kept) == kept


def test_a_request_names_no_place():
    request = Request(
        suite="/home/me/suite.toml",
        assignments=("dataset.path=/home/me/x.zip", "population.copies=5"),
        methods=("x[path=/home/me/w.bin]",),
        plugins=("mine",),
        store="/home/me/store",
        weights="/home/me/weights",
        backbones={"2048": {"path": "/w/x.pth", "digest": "", "reason": "none at /home/me/w"}},
    )
    kept = redact.request(request)
    assert not ABSOLUTE.search(kept.to_json().replace('""', ""))
    assert kept.suite == "suite.toml"
    assert kept.assignments == ("dataset.path=x.zip", "population.copies=5")
    assert kept.backbones["2048"]["reason"] == "none at w"


def test_strips_of_photographs_go_and_others_stay():
    strips = {"codes": ["a.png"], "points": {"jpeg 50": "b.png", "leaked-code": "c.png"}}
    index = {"key": "k", "host": "host.png", "real": "real.png", "methods": {"m": strips}}
    kept = redact.samples(index, {"leaked-code"})
    assert kept == {
        "key": "k",
        "host": "host.png",
        "methods": {"m": {"codes": ["a.png"], "points": {"jpeg 50": "b.png"}}},
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/home/John Smith/faces.zip", "faces.zip"),
        (r"C:\Users\John Smith\faces.zip", "faces.zip"),
        ("../../home/alice/faces.zip", "faces.zip"),
        ("/home/John Smith/faces.zip: no such file", "faces.zip: no such file"),
        ("no faces in ../alice/faces.zip", "no faces in faces.zip"),
        ("a/b and 3../4", "a/b and 3../4"),
    ],
)
def test_whole_values_and_paths_that_lead_up(value, expected):
    assert redact.record({"reason": value})["reason"] == expected


def test_what_a_suite_says_of_itself_is_cut_too():
    toml = '[suite]\ndescription = """Of /home/alice/x.zip,\nsee http://h/home/y"""\n'
    cut = '[suite]\ndescription = """Of x.zip,\nsee http://h/home/y"""\n'
    assert redact.source(toml) == cut
    said = {"suite": {"name": "s", "description": "Of /home/alice/x.zip"}}
    assert redact.suite(said) == {"suite": {"name": "s", "description": "Of x.zip"}}
