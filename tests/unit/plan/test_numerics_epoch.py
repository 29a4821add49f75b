import json
from pathlib import Path

import fpbench
from fpbench.api.numerics import NUMERICS_EPOCH
from fpbench.plan.identity import tree_digest

FROZEN = Path(__file__).with_name("numerics_epoch.json")
WATCHED = ("nn/**/*.py", "training/**/*.py", "api/images.py", "api/sounds.py", "api/post.py")


def test_numerics_change_only_with_a_new_epoch_or_a_waiver():
    root = Path(fpbench.__file__).parent
    files = sorted(p for pattern in WATCHED for p in root.glob(pattern))
    now = {
        "epoch": NUMERICS_EPOCH,
        "digest": tree_digest({f.relative_to(root).as_posix(): f for f in files}),
    }
    frozen = json.loads(FROZEN.read_text())
    accepted = [frozen["current"], *frozen["waivers"]]
    assert any(a["epoch"] == now["epoch"] and a["digest"] == now["digest"] for a in accepted), (
        f"One of {', '.join(WATCHED)} changed. If a number may move, raise NUMERICS_EPOCH and put "
        f"{json.dumps(now)} as 'current' in {FROZEN.name}; if none can, add it to 'waivers' with a "
        "reason."
    )
