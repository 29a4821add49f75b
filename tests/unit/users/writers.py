"""Processes that write to one registry at the same moment; started by `test_kills.py`.

    python writers.py REGISTRY COUNT

Forked from here, all from one moment on, so that none is done before the last one begins.
"""

import os
import sys

from fpbench.users import Registry


def write(place, writer):
    """Four users of one's own, ten that all others import too, and a second code for one."""
    with Registry.open(place) as registry:
        for n in range(4):
            registry.issue("small", f"user {writer}-{n}")
        registry.import_users("small", ["user\n", *(f"shared {n}\n" for n in range(10))], chunk=5)
        registry.rotate("small", f"user {writer}-0")


def main(place, count):
    """Start them; one that fails fails this."""
    ready, start = os.pipe()
    children = []
    for writer in range(int(count)):
        child = os.fork()
        if child == 0:
            os.close(start)
            os.read(ready, 1)  # ends when the last one was started
            write(place, writer)
            os._exit(0)
        children.append(child)
    os.close(start)
    ends = [os.waitpid(child, 0)[1] for child in children]
    sys.exit(f"ended with {ends}" if any(ends) else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
