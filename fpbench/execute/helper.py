"""A process that helps with one training that another leads."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

from fpbench.execute.request import Request
from fpbench.execute.runner import Runner
from fpbench.execute.together import joined
from fpbench.store import Store


def _end_with_the_leader() -> None:
    sys.stdin.read()
    os._exit(1)


def main() -> None:
    """A helper: run one training of a request, and store nothing."""
    task = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_leader, daemon=True).start()
    request = Request.from_json(task["request"])
    plan, _ = request.plan()
    rank, count = task["rank"], task["count"]
    runner = Runner(plan, request, Store(Path(request.store)), slot=task["slot"])
    device = runner.device(rank)
    with joined(rank, count, task["meeting"], device) as peers:
        runner.train(task["stage"], device, peers)
