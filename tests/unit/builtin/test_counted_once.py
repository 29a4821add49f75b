"""Matches are counted once a cell, whoever asks, and a few rows at a time."""

import gc
import weakref
from dataclasses import replace

import pytest
from evidence_factory import cell, rows

from fpbench.builtin.metrics import shared
from fpbench.builtin.metrics.blame import Collusion
from fpbench.builtin.metrics.reading import (
    BitAccuracy,
    Detection,
    FalseAccusation,
    Matches,
    Verification,
)
from fpbench.builtin.metrics.tracing import Attribution, Capacity, Deepfake
from fpbench.stats import Matching, matching

READ = (
    BitAccuracy,
    Verification,
    Detection,
    FalseAccusation,
    Matches,
    Attribution,
    Capacity,
    Deepfake,
)


def coalitions():
    found = cell(flip=0.3, users=12, level="coalition")
    return replace(found, users=[(0, 1, 2), (3, 4, 5)], copies=found.copies[:2], negatives={})


@pytest.mark.parametrize(
    ("metrics", "evidence"),
    [(READ, lambda: cell(flip=0.2)), ((Collusion,), coalitions)],
    ids=["copies", "coalitions"],
)
def test_the_number_of_rows_at_a_time_changes_no_row(metrics, evidence, monkeypatch):
    whole = [rows(metric, evidence()) for metric in metrics]
    monkeypatch.setattr(matching, "_PAIRS", 30)
    assert [rows(metric, evidence()) for metric in metrics] == whole


def test_however_many_measures_ask_matches_of_a_cell_are_counted_once(monkeypatch):
    counted, look = [], Matching._look

    def spied(self):
        counted.append(self.images)
        return look(self)

    monkeypatch.setattr(Matching, "_look", spied)
    found = cell(flip=0.2)
    for metric in READ:
        rows(metric, found)
    images, pooled = 12 * 20, 12 * (20 // 10)
    assert sorted(counted) == sorted([images, 300, 200, pooled])


def test_another_cell_has_its_own_matches():
    first = cell(flip=0.0)
    other = replace(first, copies=first.copies[::-1])
    assert rows(Detection, first)[""].value == 1
    assert shared.reading(first) is shared.reading(first)
    assert shared.reading(other).match.own.mean() < shared.reading(first).match.own.mean()


def test_what_was_counted_goes_with_the_cell():
    found = cell(flip=0.0)
    kept = weakref.ref(shared.reading(found))
    del found
    gc.collect()
    assert kept() is None
