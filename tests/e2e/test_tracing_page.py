"""docs/tracing.md, block by block: on a run of fakes, and on the quickstart itself."""

import re
import shlex
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "tracing.md"
FAKES = "fpbench.testing.fakes"
METHOD = "runs/quickstart:weight-modulation"
PERFECT = ('use = "perfect"', 'use = "perfect"\nbits = 64')


def followed(command, text, plugins=()):
    """Run every block in order; what `trace` without --verify printed, and what --verify did."""
    names, traced, verified = {}, [], []
    for kind, block in re.findall(r"```(sh|python)\n(.*?)```", text, re.S):
        if kind == "python":
            exec(compile(block, PAGE.name, "exec"), names)  # noqa: S102 - our own page
            continue
        for line in block.splitlines():
            program, *words = shlex.split(line)
            assert program == "fpbench"
            code, out, err = command(*plugins, *words)
            assert code == 0, err
            if words[0] == "trace":
                (verified if "--verify" in words else traced).append(out)
    return traced, verified


def whom(outputs):
    """Each answer up to its numbers."""
    return [re.sub(r" \(.*|; .*", "", out.splitlines()[0]) for out in outputs]


def printed():
    (block,) = re.findall(r"```text\n(.*?)```", PAGE.read_text(), re.S)
    return [line for line in block.splitlines() if line.startswith("all together: ")]


@pytest.mark.timeout(300)
def test_the_page_is_followed_on_fakes(run_suite, suite_file, plain_suite, command, tmp_path):
    head, _, tail = plain_suite.partition("[[attacks]]")
    text = head + tail[tail.index("[population]") :]
    run_suite(suite_file(PERFECT, text=text))
    text = PAGE.read_text()
    for name, fake in (
        ("fpbench run quickstart\n", ""),
        (METHOD, f"{tmp_path / 'run'}:perfect"),
        (
            'open_run("runs/quickstart").method("weight-modulation")',
            f'open_run({str(tmp_path / "run")!r}, plugins=[{FAKES!r}]).method("perfect")',
        ),
        ('load_copy(f"for-{user}")', f'load_copy(f"for-{{user}}", plugins=[{FAKES!r}])'),
    ):
        assert name in text
        text = text.replace(name, fake)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        traced, verified = followed(command, text, ("-p", FAKES))
    assert whom(traced) == whom(printed())
    assert verified == ["Result: HOLDS\n"] * 2


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_page_is_followed_on_the_quickstart(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    traced, verified = followed(command, PAGE.read_text())
    assert whom(traced) == whom(printed())
    assert verified == ["Result: HOLDS\n"] * 2
