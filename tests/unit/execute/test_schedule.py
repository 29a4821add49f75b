import os
import threading
import time

import pytest

from fpbench.api import Needs
from fpbench.builtin.local.executor import LocalExecutor, LocalParams
from fpbench.execute import machine
from fpbench.execute.schedule import Schedule
from fpbench.plan import Kind, Stage
from fpbench.stages.interrupt import Stopped
from fpbench.store import Leases


def stages(*triples, **kinds):
    """name, inputs, memory of each."""
    return {
        name: Stage(
            kinds.get(name, Kind.TRAINING), name, name, tuple(before), Needs(memory_gib=memory)
        )
        for name, before, memory in triples
    }


class Log:
    """Runs stages and keeps who ran beside whom."""

    def __init__(self, bad=(), pause_s=0.0):
        self.order, self.together, self.bad, self.pause_s = [], [], bad, pause_s
        self._now, self._lock = set(), threading.Lock()

    def __call__(self, key):
        with self._lock:
            self.order.append(key)
            self._now.add(key)
            self.together.append(frozenset(self._now))
        time.sleep(self.pause_s)
        with self._lock:
            self._now.discard(key)
        return key not in self.bad


def walk(tmp_path, graph, run, slots=0, **options):
    leases = Leases(tmp_path)
    halted = options.pop("halted", lambda: False)
    verdict = options.pop("verdict", lambda stage: None)
    executor = LocalExecutor(LocalParams(slots=slots))
    try:
        Schedule(graph, run, verdict, leases, halted, **options).walk(executor, lambda: None, 5)
    finally:
        executor.close(cancel=True)
        leases.close()
    return run.order


def test_stages_run_behind_their_inputs_in_the_order_of_the_graph(tmp_path):
    graph = stages(("a", "", 0), ("b", "d", 0), ("c", "ab", 0), ("d", "", 0))
    assert walk(tmp_path, graph, Log()) == ["a", "d", "b", "c"]


def test_what_stands_behind_a_failure_is_not_started_and_measuring_waits_for_all(tmp_path):
    graph = stages(
        ("a", "", 0), ("b", "a", 0), ("c", "b", 0), ("d", "", 0), ("m", "bd", 0), ("n", "bc", 0),
        m=Kind.MEASURING, n=Kind.MEASURING,
    )  # fmt: skip
    assert walk(tmp_path, graph, Log(bad="a")) == ["a", "d", "m"]


def test_what_is_done_or_failed_elsewhere_is_not_run(tmp_path):
    graph = stages(("a", "", 0), ("b", "a", 0), ("c", "", 0), ("d", "c", 0))
    ended = {"a": True, "c": False}
    run = Log()
    assert walk(tmp_path, graph, run, verdict=lambda stage: ended.get(stage.key)) == ["b"]


def test_what_somebody_else_is_at_is_waited_for(tmp_path):
    graph, run, ended = stages(("a", "", 0), ("b", "a", 0), ("c", "", 0)), Log(), {}
    other = Leases(tmp_path)
    assert other.take("a", "a")

    def later():
        time.sleep(0.5)
        ended["a"] = True
        other.close()

    thread, said = threading.Thread(target=later), []
    thread.start()
    options = {"waits": lambda stage, holder: said.append((stage.key, holder.text()))}
    done = walk(tmp_path, graph, run, verdict=lambda stage: ended.get(stage.key), **options)
    assert done == ["c", "b"]
    thread.join()
    ((key, text),) = said  # once, not with every look
    assert key == "a"
    assert text.startswith(f"process {os.getpid()} on ")


def test_memory_decides_what_runs_beside_what(tmp_path):
    graph = stages(("a", "", 6), ("b", "", 6), ("c", "", 3), ("d", "", 99))
    run = Log(pause_s=0.1)
    walk(tmp_path, graph, run, slots=3, memory_gib=10)
    assert sorted(run.order) == list("abcd")
    assert not [group for group in run.together if {"a", "b"} <= group]
    assert frozenset("ac") in run.together
    assert frozenset("d") in run.together  # too large for any company, it runs alone


def test_nothing_more_is_started_once_halted(tmp_path):
    graph, run = stages(("a", "", 0), ("b", "", 0)), Log()
    assert walk(tmp_path, graph, run, halted=lambda: bool(run.order)) == ["a"]


def test_a_stage_that_stopped_leaves_the_others_time_to_save(tmp_path):
    both, saved = threading.Barrier(2), []

    def run(key):
        both.wait(30)
        time.sleep(0.0 if key == "a" else 0.5)
        saved.append(key)
        raise Stopped

    run.order = saved
    graph = stages(("a", "", 0), ("b", "", 0), ("c", "", 0))
    assert walk(tmp_path, graph, run, slots=2, halted=lambda: "a" in saved) == ["a", "b"]


@pytest.mark.parametrize(
    ("shown", "there", "count"),
    [(None, 8, 8), ("", 8, 0), ("3", 8, 1), ("0,1,-1,2", 8, 2), ("GPU-a,GPU-b", 8, 2), ("0", 0, 0)],
)
def test_only_gpus_that_are_shown_count(monkeypatch, shown, there, count):
    found = [f"/proc/driver/nvidia/gpus/{i}" for i in range(there)]
    monkeypatch.setattr(machine.Path, "glob", lambda self, pattern: iter(found))
    if shown is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    assert machine.gpus() == count


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_a_containers_quota_counts(tmp_path, files, count):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert machine._quota(tmp_path) == count
