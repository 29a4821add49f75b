import sys
from pathlib import Path

import pytest

from fpbench.api import Card, Cluster, NoSpace, Params
from fpbench.execute import careful, pilot
from fpbench.execute.attempt import Attempt


class Here(Cluster[Params]):
    """Runs each pilot in this process, one after the other."""

    name, version, Params = "here", "1", Params
    card = Card("Here", "own", "Apache-2.0", "For tests.")
    started = 0

    def keep(self, command, folder, needs, wanted):
        self.started += 1
        sys.argv = ["pilot", *command[3:]]
        try:
            pilot.main()
        except NoSpace:
            (folder / "1.txt").touch()
        return 1

    def close(self, *, cancel):
        pass


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr(sys, "argv", [])
    return Here(Params())


def test_the_full_disk_of_one_pilot_ends_the_run(run_suite, suite_file, here, monkeypatch):
    def full(worker, stage):
        raise NoSpace("store: no space left; free some")

    with monkeypatch.context() as patch:
        patch.setattr(careful.Careful, "run", full)
        with pytest.raises(NoSpace, match="no space left; free some"):
            run_suite(suite_file(), cluster=here)
    assert here.started == 1
    summary, _, _ = run_suite(suite_file())  # the next attempt knows nothing of it
    assert not summary.problems


def test_a_disk_too_full_for_a_message_is_told_by_an_empty_file(tmp_path):
    attempt = Attempt(tmp_path)
    assert attempt.lack() is None
    (tmp_path / "lack").touch()
    assert "free some space" in attempt.lack()


def test_where_nothing_can_be_written_nothing_is_said():
    Attempt(Path("/proc/nowhere")).give_up("full")
