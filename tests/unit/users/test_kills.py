import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fpbench.users import Registry

MORTAL, WRITERS = (Path(__file__).with_name(name) for name in ("mortal.py", "writers.py"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")
@pytest.mark.parametrize("kills", [6, pytest.param(50, marks=pytest.mark.slow)])
def test_nothing_is_lost_by_kills(kills, place, tmp_path):
    with Registry.open(place, create=True) as registry:
        registry.add_model("faces", {"bits": 40})
    subprocess.run([sys.executable, MORTAL, place, tmp_path, str(kills), "7"], check=True)
    told = [
        line.split()
        for diary in tmp_path.glob("*.diary")
        for line in diary.read_text().splitlines()
    ]
    assert len(told) > 2 * kills
    with Registry.open(place) as registry:
        registry.audit()
        registry.codes("faces")
        registry.audit()
        statuses = {}
        for number in range(registry.count("faces")):
            owner = registry.owner("faces", number)
            statuses.setdefault(owner.user, []).append(owner.status)
        for users in statuses.values():
            assert len([status for status in users if status != "rotated"]) == 1
        for what, user in told:
            if what == "revoked":
                assert statuses[user] == ["revoked"]
            elif what == "imported":
                assert all(statuses[f"{user}-{n}"] for n in range(40))
            elif what == "rotated":
                assert statuses[user] == ["rotated", "active"]
            else:
                assert user in statuses


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")
def test_twenty_processes_at_once_lose_nothing_and_double_nothing(place):
    with Registry.open(place, create=True) as registry:
        registry.add_model("small", {"bits": 14})
    subprocess.run([sys.executable, WRITERS, place, "20"], check=True)
    with Registry.open(place) as registry:
        assert registry.census("small") == {"active": 90, "rotated": 20}
        assert len(np.unique(registry.codes("small")[0], axis=0)) == 110
        names = {registry.owner("small", number).user for number in range(110)}
        writers = {f"user {writer}-{n}" for writer in range(20) for n in range(4)}
        assert names == writers | {f"shared {n}" for n in range(10)}
        registry.audit()
