"""A host and a method whose images drift away from real ones after half of their training."""

from fpbench.api import Method, hookimpl
from fpbench.testing import networks
from fpbench.testing.fakes import Blind, TinyHost

DRIFT = {1: 4.0, 2: 0.0, 3: -4.0, 4: -1.5}
"""Step -> what is added to the bias of the map to images."""

ASSEMBLED = []
"""Codes of all copies of the method, as they were assembled."""


def drift(images, ctx):
    """Offer a state after each of four steps; returns the last."""
    good = networks.fit_linear(images, ctx, 5, 0.0, 0)

    def state(step):
        return good | {"map.bias": good["map.bias"] + DRIFT[step]}

    for step in DRIFT:
        ctx.snapshot(step, len(DRIFT), lambda step=step: state(step))
    return state(max(DRIFT))


class DriftingHost(TinyHost):
    name = "drifting-host"

    def fit(self, images, ctx):
        return drift(images, ctx)


class DriftingMethod(Blind):
    name = "drifting"
    builds_on_host = False
    keeps_sample = False

    def fit(self, host, images, ctx):
        return drift(images, ctx)

    def assemble(self, state, host, issued, ctx):
        ASSEMBLED.append(tuple(issued["code"].tolist()))
        return networks.generator(state, ctx.device)


@hookimpl
def fpbench_hosts():
    return [DriftingHost]


@hookimpl
def fpbench_methods() -> list[type[Method]]:
    return [DriftingMethod]
