import json

import pytest
from click.testing import CliRunner

from fpbench.api import SpecError
from fpbench.cli.main import cli
from fpbench.execute.explaining import chain_of, lines_of
from fpbench.execute.reach import artefacts_of
from fpbench.plan import Kind
from fpbench.store import RecordLog

FAKES = ("-p", "fpbench.testing.fakes")


def record(opened, metric, point):
    return next(
        r
        for r in RecordLog(opened.folder / "records.jsonl").read().values()
        if (r["metric"], r["point"]["label"], r["variant"]) == (metric, point, "")
    )


def test_all_that_a_run_stores_is_reached(opened):
    kinds = artefacts_of(opened.plan)
    stored = set(opened.store.keys())
    assert stored <= kinds.keys()
    assert {kinds[key] for key in stored} == {
        "cell",
        "drawing",
        "host",
        "issue",
        "negatives",
        "reading",
        "reference",
        "sheet",
        "training",
        "training-images",
    }


def test_a_record_leads_to_the_data_by_way_of_every_plugin(opened):
    row = record(opened, "bit-accuracy", "weight-noise 0.1")
    chain = chain_of(opened, row["record_id"][:10])
    kinds = [link.kind for link in chain]
    assert kinds[:2] == ["record", "cell"]
    assert chain[1].key == row["cell"]
    assert {"reading", "negatives", "training", "issue", "host", "reference"} <= set(kinds)
    assert kinds.count("data set") == 1
    assert {part["name"] for link in chain for part in link.by} == {
        "bit-accuracy",
        "perfect",
        "tiny-host",
        "toy-faces",
        "weight-noise",
    }
    assert all(link.stored for link in chain if link.kind not in ("record", "data set"))
    known = {link.key for link in chain}
    assert all(set(link.inputs) <= known for link in chain)
    assert any("weight-noise 0.1" in line for line in lines_of(chain))


def test_what_is_gone_is_not_stored(opened):
    host = next(opened.graph.of(Kind.HOST))
    opened.store.drop(host.key)
    chain = chain_of(opened, host.key)
    assert [(link.kind, link.stored) for link in chain] == [("host", False), ("data set", None)]


@pytest.mark.parametrize(
    ("key", "said"),
    [("abc", "8 or more hex digits"), ("not-hex-at-all", "hex"), ("0" * 12, "a key of none")],
)
def test_what_is_no_key_is_refused(opened, key, said):
    with pytest.raises(SpecError, match=said):
        chain_of(opened, key)


def test_the_command_prints_whole_keys_as_json(made, opened):
    row = record(opened, "bit-accuracy", "none")
    done = CliRunner().invoke(
        cli, [*FAKES, "why", row["cell"], "--run", "run", "--runs", str(made), "--json"]
    )
    first = json.loads(done.output)[0]
    assert (first["kind"], first["key"], first["stored"]) == ("cell", row["cell"], True)
