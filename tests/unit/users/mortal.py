"""Processes that change a registry and are killed at any moment; started by `test_kills.py`.

    python mortal.py REGISTRY FOLDER KILLS SEED

Each child says in a file of its own in FOLDER what it was told is done. Forked from here, since
importing takes longer than a life.
"""

import os
import random
import signal
import sys
import time
from functools import partial
from pathlib import Path

from fpbench.users import Registry


def live(place, life, diary, step):
    """Issue, revoke, import and rotate until the end comes."""

    def told(what, user):
        diary.write(f"{what} {user}\n")
        step()

    with Registry.open(place) as registry:
        for n in range(10_000):
            registry.issue("faces", f"{life}-{n}")
            told("issued", f"{life}-{n}")
            registry.revoke("faces", f"{life}-{n}", "test")
            told("revoked", f"{life}-{n}")
            rows = ["user\n", *(f"{life}-{n}-{m}\n" for m in range(40))]
            registry.import_users("faces", rows, chunk=10)
            told("imported", f"{life}-{n}")
            registry.rotate("faces", f"{life}-{n}-0")
            told("rotated", f"{life}-{n}-0")
            registry.codes("faces")


def main(place, folder, kills, seed):
    """Kill `kills` children, each some time after some of its steps."""
    chance = random.Random(int(seed))  # noqa: S311
    for life in range(int(kills)):
        heard, said = os.pipe()
        child = os.fork()
        if child == 0:
            with Path(folder, f"{life}.diary").open("a", buffering=1) as diary:
                live(place, life, diary, partial(os.write, said, b"."))
            os._exit(0)
        for _ in range(life % 6):
            os.read(heard, 1)
        time.sleep(0.05 * chance.random())
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(heard)
        os.close(said)


if __name__ == "__main__":
    main(*sys.argv[1:])
