"""A change of source makes work anew, unless the user vouches that it changes nothing."""

import pytest

from fpbench.api import SpecError
from fpbench.plan.identity import source_digest, sources_as

MODULES = ("fpbench.testing.fakes", "fpbench_distortion.plugin")


@pytest.fixture
def former(run_suite, suite_file):
    """A run that was made before plugins were changed."""
    suite = suite_file()
    with sources_as({name: f"{source_digest(name)[:-1]}x" for name in MODULES}):
        _, records, _ = run_suite(suite)
    return suite, records


def said(record):
    names = ("created_utc", "cost", "environment", "command", "inputs", "cell", "supersedes")
    return {k: v for k, v in record.items() if k not in names}


def test_what_other_source_made_is_taken_over_and_marked(former, run_suite):
    suite, before = former
    summary, records, _ = run_suite(suite, accept_source=True)
    # Numbers are computed again from what was read, and nothing else is.
    assert {label.split()[0] for label in summary.seconds} == {"measure"}
    assert records.keys() == before.keys()
    for identity, record in records.items():
        assert record["cell"] != before[identity]["cell"]
        if record["metric"] not in ("", "cost"):
            assert said(record) == said(before[identity])
            assert record["inputs"]["accepted_source"] is True
    # From then on it is as if today's source had made it, but for the mark.
    again, same, _ = run_suite(suite)
    assert again.executed == 0
    assert same == records


def test_without_it_everything_behind_the_change_is_made_again(former, run_suite):
    suite, _ = former
    summary, records, _ = run_suite(suite)
    assert "train perfect" in summary.seconds
    assert not any("accepted_source" in r.get("inputs", {}) for r in records.values())
    # The former source is still known, and nothing of it is wanted any more.
    late, _, _ = run_suite(suite, accept_source=True)
    assert late.executed == 0


def test_there_must_be_something_to_accept(run_suite, suite_file):
    with pytest.raises(SpecError, match="expected a run that was made before"):
        run_suite(suite_file(), accept_source=True)
