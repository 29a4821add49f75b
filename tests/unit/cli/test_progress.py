import io

import pytest
from rich.console import Console

from fpbench.api import Outcome
from fpbench.cli import progress
from fpbench.cli.progress import Lines, Live


def go_through(reporter):
    reporter.planned(3, "about 2 min with 2 at a time")
    reporter.started("train a[b]")
    reporter.progress("train a[b]", 500, 1000, "step 500")
    reporter.progress("train a[b]", 900, 1000, "step 900")
    reporter.ended()
    reporter.finished("train a[b]", Outcome.DONE, 12.0, "")
    reporter.started("read c")
    reporter.finished("read c", Outcome.FAILED, 1.0, "method c: [red]broke[/red]")


def test_lines_say_what_changes(capsys):
    go_through(Lines())
    assert capsys.readouterr().err.splitlines() == [
        "3 stages to be done: about 2 min with 2 at a time",
        "train a[b] …",
        "train a[b] — done in 12.0 s",
        "read c …",
        "read c — failed in 1.0 s",
        "  method c: [red]broke[/red]",
    ]
    go_through(Lines(quiet=True))
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_minute_without_news_is_told(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_HEARTBEAT_S", 0.0)
    go_through(Lines())
    assert "train a[b]  900/1000  about 0 s left  step 900" in capsys.readouterr().err


@pytest.mark.parametrize("width", [60, 120])
def test_a_terminal_shows_a_table_and_what_has_ended_above_it(width):
    out = io.StringIO()
    live = Live(Console(file=out, force_terminal=True, width=width, color_system=None))
    with live:
        live.planned(3, "")
        live.started("train a[b]")
        live.progress("train a[b]", 500, 1000, "step 500")
        live._table.refresh()
        go_through(live)
    shown = out.getvalue()
    assert "train a[b]" in shown
    assert "500/1000" in shown
    assert ("step 500" in shown) == (width == 120)
    assert "all stages" in shown
    assert "train a[b] — done in 12.0 s" in shown
    assert "method c: [red]broke[/red]" in shown
