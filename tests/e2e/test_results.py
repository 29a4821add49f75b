"""What a run leaves is made again where it is not what was made, and nowhere else."""

from fpbench.execute import records, results


def test_results_are_made_once(run_suite, suite_file, tmp_path, monkeypatch):
    suite = suite_file()
    _, first, folder = run_suite(suite)
    log = folder / "records.jsonl"
    whole = log.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(results, "all_records", lambda *args: 1 / 0)
        run_suite(suite)
    assert log.read_bytes() == whole

    # A line is gone: it is appended again, and supersedes nothing.
    lines = whole.splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-1]))
    _, again, _ = run_suite(suite)
    assert again == first
    assert log.read_bytes() == whole

    # The source says something else of a cell: the new line names the one that it supersedes.
    monkeypatch.setattr(results, "_made_of", lambda *args: "of other source")
    write = records.cell_records
    monkeypatch.setattr(
        records, "cell_records", lambda *args: [r | {"unit": "furlong"} for r in write(*args)]
    )
    _, changed, _ = run_suite(suite)
    assert {r["unit"] for r in changed.values() if r["metric"]} == {"furlong"}
    assert all(r["supersedes"] for r in changed.values() if r["metric"])
