import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fpbench
from fpbench.api import SpecError, StoreError

ROOT = Path(__file__).parents[3]
BOARD = ROOT / "leaderboards" / "quickstart"


@pytest.fixture(scope="module")
def board():
    return fpbench.open_run(BOARD)


def lines():
    """The board's records, by brute force: it holds nothing that was superseded."""
    with (BOARD / "records.jsonl").open() as file:
        return [json.loads(line) for line in file]


def same(found, wanted):
    return pd.isna(found) if wanted is None else found == wanted


def test_every_record_is_one_row_of_what_it_says(board):
    frame, records = board.records(), {r["record_id"]: r for r in lines()}
    assert not any(r["supersedes"] for r in records.values())
    assert list(frame["record_id"]) == list(records)
    plain = ["level", "tier", "metric", "variant", "unit", "value", "low", "high", "rule"]
    plain += ["outcome", "reason", "n", "clusters", "damage", "budget", "effect", "training_seed"]
    plain += ["cell", "metric_version"]
    for row in frame.to_dict("records"):
        record = records[row["record_id"]]
        parts = [p for p in (record["point"]["model"], record["point"]["image"]) if p]
        strength = parts[0]["strength"] if len(parts) == 1 else None
        method = record["method"]
        assert all(same(row[name], record.get(name, "")) for name in plain), row
        assert same(row["higher_is_better"], record.get("higher_is_better"))
        assert row["attack"] == " + ".join(p["label"] for p in parts)
        assert same(row["strength"], strength)
        assert (row["method"], row["point"]) == (method["label"], record["point"]["label"])
        assert (row["bits"], row["gives"], row["reads"]) == (method["bits"], "bits", "samples")
        assert (row["placement"], row["suite"]) == (method["placement"], "quickstart")


def test_rows_are_asked_for_by_name(board):
    asked = {"metric": "imperceptibility", "variant": "psnr", "method": "hidden", "point": "none"}
    frame = board.records(**asked)
    assert len(frame) == 1
    assert (frame[list(asked)].iloc[0] == pd.Series(asked)).all()
    assert set(board.records(metric="")["outcome"]) == {"refused"}
    plain = board.records(metric="attribution", variant="")
    table = plain.pivot(index="point", columns="method", values="value")  # refuses two of a cell
    assert table.shape == (plain["point"].nunique(), 3)
    with pytest.raises(SpecError, match=r"unknown method 'hiden'; did you mean 'hidden'\?"):
        board.records(method="hiden")
    with pytest.raises(SpecError, match="unknown point 'jpeg'; did you mean"):
        board.records(point="jpeg")


def test_the_types_of_columns_hang_on_nothing_that_is_missing(board):
    some = board.records(metric="")
    assert some["value"].isna().all()
    assert (some.dtypes == board.records().dtypes).all()


def test_the_leaderboard_is_the_file_of_the_page(board):
    csv = (BOARD / "page" / "leaderboard.csv").read_text()
    assert board.leaderboard().to_csv(index=False, lineterminator="\n") == csv
    with pytest.raises(SpecError, match="expected a table of leaderboard, got 'detection'"):
        board.leaderboard("detection")


def test_a_curve_begins_untouched_and_says_damage_and_rate(board):
    curve = board.curves("hidden", "jpeg")
    records = board.records(method="hidden", metric="attribution", variant="")
    by_point = records.set_index("point")
    assert list(curve["point"]) == ["none", *by_point[by_point["attack"] == "jpeg"].index]
    for name, other in (("rate", "value"), ("low", "low"), ("high", "high")):
        assert list(curve[name]) == list(by_point.loc[curve["point"], other])
    damage = by_point.loc[curve["point"][1:], "damage"]
    np.testing.assert_allclose(curve["damage"], [0, *damage])
    assert np.isnan(curve["strength"][0])
    with pytest.raises(SpecError, match=r"attack 'jpg'; did you mean 'jpeg'\?"):
        board.curves("hidden", "jpg")


def test_a_comparison_is_that_of_the_command(board, command):
    frame = board.compare("hidden", "scalable-gan")
    code, out, _ = command("compare", "hidden", "scalable-gan", "--run", BOARD, "--json")
    told = json.loads(out)
    lines = [told["score"], *told["points"]]
    assert code == 0
    assert list(frame["point"]) == [line["label"] for line in lines]
    for name in ("a", "b", "difference", "low", "high", "p", "p_adjusted"):
        wanted = [np.nan if line[name] is None else line[name] for line in lines]
        np.testing.assert_array_equal(frame[name], wanted)
    assert list(frame["paired"]) == [line["paired"] for line in lines]
    assert list(frame["copies_a"]) == [line["copies_a"][0] for line in lines]
    assert frame.attrs == {"unpaired_because": "", "notes": told["notes"]}


def test_a_board_has_records_alone(board, tmp_path):
    with pytest.raises(SpecError, match=r"expected a run with request\.json and its store, got a"):
        board.method("hidden")
    with pytest.raises(SpecError, match="expected the folder of a run or a board"):
        fpbench.open_run(tmp_path)
    (tmp_path / "records.jsonl").write_text("{}\n")
    with pytest.raises(StoreError, match="expected a record_id"):
        fpbench.open_run(tmp_path).records()
