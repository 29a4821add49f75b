import pytest

from fpbench.cli.main import cli
from fpbench.cli.options import How
from fpbench.cli.running import retry, run

FAKES = ("-p", "fpbench.testing.fakes")


def test_what_run_takes_for_an_attempt_retry_takes_too():
    mine, theirs = ({option.name for option in command.params} for command in (run, retry))
    assert set(How.__dataclass_fields__) <= mine & theirs


def test_what_run_takes_plan_takes_too():
    mine, theirs = (
        {o for p in each.params for o in p.opts} for each in (run, cli.commands["plan"])
    )
    assert mine <= theirs


@pytest.mark.parametrize("option", ["-p", "--plugin"])
def test_a_plugin_that_is_named_behind_the_command_is_told_its_place(command, option):
    code, _, err = command("run", option, "./mine.py", "quickstart")
    assert (code, f"before the command: fpbench {option} … run …" in err) == (2, True)


@pytest.mark.parametrize("hours", ["0", "-1", "nan", "inf", "soon"])
@pytest.mark.parametrize("option", ["--stage-hours", "--max-hours"])
def test_hours_that_are_no_limit_are_refused(command, suite_file, option, hours):
    code, _, err = command(*FAKES, "run", suite_file(), option, hours)
    assert code == 2
    assert option in err


@pytest.mark.parametrize("hours", ["0", "-1", "nan", "inf"])
def test_hours_of_a_suite_are_refused_alike(command, suite_file, hours):
    suite = suite_file(("[population]", f"[limits]\nstage_hours = {hours}\n[population]"))
    code, _, err = command(*FAKES, "plan", suite)
    assert (code, "stage_hours" in err) == (2, True)


@pytest.mark.parametrize("option", ["--threads", "-j", "--devices"])
@pytest.mark.parametrize("count", ["0", "-1", "1.5", "100000"])
def test_counts_that_no_machine_has_are_refused(command, suite_file, option, count):
    code, _, err = command(*FAKES, "run", suite_file(), option, count)
    assert (code, option in err) == (2, True)


def test_nan_is_no_share(command, suite_file):
    assert command(*FAKES, "plan", suite_file(), "--detect", "nan")[0] == 2


def test_an_attempt_can_be_bounded_again(command, suite_file, tmp_path):
    bounded = ("--max-hours", "1e-9", "--device", "cpu", "--no-page")
    code, _, err = command(*FAKES, "run", suite_file(), "--runs", tmp_path, *bounded)
    assert (code, "To go on" in err) == (130, True)
    code, _, err = command(*FAKES, "retry", "fakes", "--runs", tmp_path, *bounded)
    assert (code, "To go on" in err) == (130, True)
