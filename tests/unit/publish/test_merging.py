import copy
import json

import pytest

from fpbench.api import StoreError
from fpbench.publish.alike import unlike_records
from fpbench.publish.changes import changes, harmless
from fpbench.publish.merging import check_source, merge_strips, merged, more_attacks, unlike
from fpbench.publish.strips import problems_of

PNG = b"\x89PNG\r\n\x1a\n"


def part(label, **more):
    own = {"label": label, "name": label, "version": "1", "params": {}, "card": {"title": label}}
    return {**own, **more}


@pytest.fixture
def suite():
    return {
        "suite": {"name": "s", "version": 1, "seed": 0, "title": "A title"},
        "training": {"seeds": [0]},
        "population": {"copies": 5},
        "negatives": {"real": 20},
        "score": {"registered": 30},
        "dataset": part("faces", params={"path": "x.zip"}),
        "host": part("host"),
        "methods": [part("a"), part("b")],
        "attacks": [part("jpeg", strengths=[90.0, 50.0]), part("noise", strengths=[0.1])],
        "crosses": [{"model": "noise", "image": "jpeg"}],
        "backbones": [{"use": "inception", "layer": "2048"}],
    }


@pytest.fixture
def other(suite):
    return copy.deepcopy(suite)


def test_texts_places_and_further_entries_do_not_matter(suite, other):
    other["suite"]["title"] = "Another title"
    other["host"]["card"]["title"] = "Reworded"
    other["dataset"]["params"]["path"] = "y.zip"
    other["methods"] = [part("b", version="2"), part("c")]
    other["attacks"][0]["card"]["title"] = "Reworded"
    other["backbones"].append({"use": "lpips-alex"})
    assert unlike(suite, other, {"dataset.path"}) == []
    whole = merged(suite, other)
    assert whole["suite"]["title"] == "A title"
    assert [(m["label"], m["version"]) for m in whole["methods"]] == [
        ("a", "1"),
        ("b", "2"),
        ("c", "1"),
    ]
    assert whole["attacks"] == suite["attacks"]
    assert whole["host"] == suite["host"]
    assert whole["crosses"] == suite["crosses"]
    assert [b["use"] for b in whole["backbones"]] == ["inception", "lpips-alex"]


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("suite", "name", "t"),
        ("suite", "version", 2),
        ("suite", "seed", 1),
        ("training", "seeds", [0, 1]),
        ("population", "copies", 6),
        ("negatives", "real", 21),
        ("score", "registered", 31),
        ("dataset", "version", "2"),
    ],
)
def test_what_makes_numbers_another_quantity_is_said(suite, other, table, key, value):
    other[table][key] = value
    (problem,) = unlike(suite, other)
    assert problem.startswith(f"{table}.{key}: the board has ")
    assert problem.endswith(f"the bundle {value!r}")


def test_parameters_of_host_and_data_set_are_said_one_by_one(suite, other):
    other["host"]["params"] = {"steps": 3}
    other["dataset"]["params"] = {"path": "y.zip", "train": 40}
    assert unlike(suite, other, {"dataset.path"}) == [
        "dataset.train: the board has None, the bundle 40",
        "host.steps: the board has None, the bundle 3",
    ]


def test_an_attack_or_network_of_the_same_name_must_be_the_same(suite, other):
    other["attacks"][0]["strengths"] = [90.0]
    other["backbones"][0]["layer"] = "768"
    assert [p.partition(":")[0] for p in unlike(suite, other)] == [
        "attacks jpeg.strengths",
        "backbones inception.layer",
    ]


def test_a_table_that_only_one_suite_has_is_said(suite, other):
    other["secrecy"] = {"steps": 5}
    assert unlike(suite, other) == ["secrecy: the board has None, the bundle {'steps': 5}"]


def test_a_table_that_former_versions_did_not_have_may_be_empty(suite, other):
    other["strangers"] = []
    assert unlike(suite, other) == []
    other["strangers"] = [part("another")]
    assert unlike(suite, other)


def test_other_attacks_or_crosses_are_said(suite, other):
    del other["attacks"][1]
    other["crosses"] = []
    assert [p.partition(":")[0] for p in unlike(suite, other)] == ["attacks", "crosses"]


def test_further_attacks_come_with_all_methods(suite, other):
    other["attacks"].append(part("blur", strengths=[1.0]))
    other["crosses"].append({"model": "noise", "image": "blur"})
    other["methods"].append(part("c"))
    assert unlike(suite, other) == []
    assert [a["label"] for a in merged(suite, other)["attacks"]] == ["jpeg", "noise", "blur"]
    assert len(merged(suite, other)["crosses"]) == 2
    assert more_attacks(suite, other) == {"blur"}
    del other["methods"][0]
    assert [p.partition(":")[0] for p in unlike(suite, other)] == ["attacks", "crosses"]


# -- records -------------------------------------------------------------------------------------


def reading(method, point="jpeg 50", metric="attribution", copies=3, version="1", **facts):
    image = {"name": "jpeg", "version": "1", "kind": "image", "family": "f", "scored": True}
    return {
        "method": {"label": method},
        "point": {"label": point, "model": None, "image": {**image, "tuned": {}, **facts}},
        "metric": metric,
        "variant": "",
        "metric_version": version,
        "by_copy": [1.0] * copies,
    }


def test_records_that_say_the_same_of_points_and_metrics_are_alike():
    others = [
        reading("b", tuned={"lr": 1}),
        reading("b", "new 1", kind="x"),
        reading("b", copies=0),
    ]
    assert unlike_records([reading("a")], others) == []


def test_numbers_of_copies_are_left_to_the_suite_where_that_says_them():
    assert unlike_records([reading("a")], [reading("b", copies=1)], copies=False) == []
    assert unlike_records([reading("a")], [reading("b", version="2")], copies=False)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (reading("b", scored=False), "point jpeg 50 (image.scored): the board has true"),
        (reading("b", family="g"), "point jpeg 50 (image.family)"),
        (reading("b", params={"q": 1}), "point jpeg 50 (image.params)"),
        (reading("b", version="2"), "version of metric attribution: the board has 1"),
        (reading("b", copies=1), "number of copies under jpeg 50: the board has 3, the bundle 1"),
    ],
)
def test_what_makes_records_another_quantity_is_said(other, named):
    (problem,) = unlike_records([reading("a")], [other])
    assert problem.startswith(named)


@pytest.mark.parametrize("text", ["x = [", "suite = 5", "x = " + "[" * 5000, "x" * 2**21])
def test_a_source_that_is_no_suite_is_said(tmp_path, text):
    (tmp_path / "suite.toml").write_text(text)
    with pytest.raises(StoreError, match=r"suite\.toml: expected the source of a suite in"):
        check_source(tmp_path, {"suite": {}})


# -- strips --------------------------------------------------------------------------------------


@pytest.fixture
def strips(tmp_path):
    """Writes a folder of strips; every file's content says whose it is."""

    def write(name, methods, **more):
        folder = tmp_path / name
        folder.mkdir()
        index = {"key": name, "host": "host.png", "methods": {}, **more}
        for label in methods:
            index["methods"][label] = {
                "codes": [f"{label}-copy-0.png"],
                "points": {"jpeg 50": f"{label}-jpeg-50.png"},
                "training": {"host start": {"0": "host-step-0.png"}},
            }
            for file in (f"{label}-copy-0.png", f"{label}-jpeg-50.png", "host-step-0.png"):
                (folder / file).write_bytes(PNG + name.encode())
        (folder / "host.png").write_bytes(PNG + name.encode())
        (folder / "samples.json").write_text(json.dumps(index))
        return folder

    return write


def test_strips_of_other_methods_and_the_boards_host_stay(strips):
    board, new = strips("board", ["a", "b"]), strips("new", ["b", "c"])
    (board / "raw").mkdir()
    (board / "README.md").write_text("by hand")
    merge_strips(board, new, {"b", "c"}, "mark")
    index = json.loads((board / "samples.json").read_text())
    assert "key" not in index
    assert index["host"] == "host.png"
    assert (board / "host.png").read_bytes().endswith(b"board")
    owners = {
        label: (board / strips["codes"][0]).read_bytes()[len(PNG) :].decode()
        for label, strips in index["methods"].items()
    }
    assert owners == {"a": "board", "b": "new", "c": "new"}
    # Both hosts were trained: each method shows its own.
    steps = {m: s["training"]["host start"]["0"] for m, s in index["methods"].items()}
    assert steps == {
        "a": "host-step-0.png",
        "b": "mark-host-step-0.png",
        "c": "mark-host-step-0.png",
    }
    shown = {"samples.json", "host.png", "README.md", "raw", *steps.values()}
    shown |= {f"{m}-{end}" for m in "abc" for end in ("copy-0.png", "jpeg-50.png")}
    assert {p.name for p in board.iterdir()} == shown


def test_strips_that_are_no_longer_shown_go(strips, tmp_path):
    board = strips("board", ["a", "b"])
    merge_strips(board, tmp_path / "none", {"b"}, "mark")
    assert not [p for p in board.iterdir() if p.name.startswith("b-")]


def test_sounds_go_where_their_strips_go(strips):
    board, new = strips("board", ["a", "b"]), strips("new", ["b"])
    for folder in (board, new):
        for path in list(folder.glob("*.png")):
            path.with_suffix(".wav").write_bytes(b"RIFF" + folder.name.encode())
    merge_strips(board, new, {"b"}, "mark")
    index = json.loads((board / "samples.json").read_text())
    assert problems_of(index, board, ["a", "b"]) == []
    heard = {path.stem: path.read_bytes() for path in board.glob("*.wav")}
    assert {path.stem for path in board.glob("*.png")} == set(heard)
    assert heard["a-copy-0"] == b"RIFFboard"
    assert heard["b-copy-0"] == heard["mark-host-step-0"] == b"RIFFnew"
    (board / "a-copy-0.wav").write_bytes(b"no sound")
    (board / "other.wav").write_bytes(b"RIFF")
    assert problems_of(index, board, ["a", "b"]) == [
        "samples: 'other.wav' is there and not listed",
        "samples: expected a WAV file, got another file: 'a-copy-0.wav'",
    ]


# -- changes -------------------------------------------------------------------------------------


def row(identity, value, **more):
    place = {"method": {"label": "a"}, "training_seed": 0, "point": {"label": "none"}}
    return {"record_id": identity, "value": value, "metric": "m", "variant": "", **place, **more}


def test_rows_are_counted_by_what_became_of_them(suite):
    before = {i: row(i, 0.5) for i in ("same", "moved", "reworded", "gone")}
    after = {
        "same": {**before["same"], "created_utc": "later", "cost": {"wall_s": 3}},
        "moved": row("moved", 0.25),
        "reworded": row("reworded", 0.5, reason="another"),
        "new": row("new", 1.0),
    }
    found = changes(before, after, suite, suite)
    assert (found.added, found.superseded, found.unchanged, found.withdrawn) == (1, 2, 1, 1)
    assert found.moved == [("a under none: m", 0.5, 0.25)]
    assert found.redefined == []


def test_no_more_than_twenty_values_are_named(suite):
    before = {str(i): row(str(i), 0.0) for i in range(30)}
    after = {str(i): row(str(i), 1.0) for i in range(30)}
    lines = changes(before, after, suite, suite).lines()
    assert len([line for line in lines if "→" in line]) == 20
    assert lines[-1] == "- … and 10 more values."


def test_markup_of_others_is_text():
    assert harmless("<b>*x*</b>\n# y [z](w)") == r"&lt;b&gt;\*x\*&lt;/b&gt; \# y \[z\](w)"
