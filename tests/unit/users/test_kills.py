import os
import subprocess
import sys
from pathlib import Path

import pytest

from fpbench.users import Registry

MORTAL = Path(__file__).with_name("mortal.py")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")
@pytest.mark.parametrize("kills", [6, pytest.param(50, marks=pytest.mark.slow)])
def test_nothing_is_lost_by_kills(kills, tmp_path):
    place = tmp_path / "users.db"
    with Registry.open(place, create=True) as registry:
        registry.add_model("faces", {"bits": 40})
    subprocess.run([sys.executable, MORTAL, place, str(kills), "7"], check=True)
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
