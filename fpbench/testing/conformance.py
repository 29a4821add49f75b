"""Checks that a method keeps its contract; for plugin authors' own tests, seconds on a CPU.

```python
def test_method_keeps_the_contract(tmp_path):
    assert check_method(MyMethod(MyMethod.Params(steps=10)), tmp_path).bit_accuracy > 0.4
```
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fpbench.api import (
    ContractError,
    Evidence,
    Generator,
    Host,
    Method,
    SampleStream,
    TrainedHost,
    User,
)
from fpbench.builtin.toy_faces.dataset import ToyFaces
from fpbench.nn.weights import exchanged, reachable
from fpbench.plan import issued_codes
from fpbench.stages import boundary
from fpbench.stages.checks import check_alone, check_images, check_logits, check_state
from fpbench.stages.context import StageContext
from fpbench.stages.images import SplitStream
from fpbench.store import Store
from fpbench.testing.fakes import TinyHost

_USERS, _IMAGES = 4, 16


@dataclass(frozen=True)
class Conformance:
    """What the check measured on the way.

    Attributes:
        bit_accuracy: mean share of right bits over a few copies, untouched.
        leaked: names of steps of a copy that the host does not have.
    """

    bit_accuracy: float
    leaked: tuple[str, ...]


def check_method(
    method: Method[Any],
    scratch: Path,
    *,
    host: Host[Any] | None = None,
    train: int = 256,
    size: int = 32,
) -> Conformance:
    """Fit, issue, assemble and extract as the harness does, with every promise checked.

    Args:
        method: with parameters small enough for a test.
        scratch: an empty folder.
        host: the host to build on; a tiny linear one if None.
        train: training images.
        size: image size, pixels.

    Raises:
        ContractError: a promise is broken; says which.
    """
    device = torch.device("cpu")
    store = Store(scratch / "conformance")

    def context(*root: Any, bits: int = 0) -> StageContext:
        return StageContext(device, (0, *root), store, bits=bits)

    faces = ToyFaces(ToyFaces.Params.model_validate({"size": size, "train": train}))
    images = SplitStream(faces, "train", device)
    trained = _host(host or TinyHost(TinyHost.Params()), images, context("host"))
    loan = boundary.Loan("the host's state", trained.state)

    def lent() -> TrainedHost:
        return boundary.lent_host(trained, loan)

    def fit() -> dict[str, Tensor]:
        who = f"method {method.name}: fit"
        with boundary.unharmed(who, loan):
            return check_state(who, method.fit(lent(), images, context("fit", bits=method.bits)))

    state = fit()
    _same(f"method {method.name}: fit", state, fit())
    accuracies = []
    leaked: tuple[str, ...] = ()
    for user, code in enumerate(issued_codes(method, 0, _USERS)):
        who = f"method {method.name}: user {user}"
        ctx = context("issue", user)
        with boundary.unharmed(who, loan, boundary.Loan("its state", state)):
            one = User(user, torch.from_numpy(code))
            made = method.issue(state, lent(), one, images, ctx)
            issued = check_state(who, made)
            copy = method.assemble(state, lent(), issued, ctx)
        leaked = tuple(name for name in copy.steps if name not in trained.generator.steps)
        _check_steps(method, copy, trained.generator)
        drawn = _draw(who, copy, size)
        _check_post(method, copy, drawn)
        _same(who, {"images": drawn}, {"images": _draw(who, copy, size)})
        with boundary.unharmed(who, loan, boundary.Loan("its state", state)):
            logits = _extract(who, method, state, lent(), drawn, context("extract"))
        accuracies.append(((logits > 0).numpy() == code).mean())
    return Conformance(float(np.mean(accuracies)), leaked)


def _host(host: Host[Any], images: SampleStream, ctx: StageContext) -> TrainedHost:
    state = check_state(f"host {host.name}: fit", host.fit(images, ctx))
    return TrainedHost(host, state, host.assemble(state, ctx))


def _draw(who: str, copy: Generator, size: int) -> Tensor:
    latents = copy.prior(list(range(_IMAGES)))
    if len(latents) != _IMAGES or not torch.equal(latents[3:5], copy.prior([3, 4])):
        raise ContractError(f"{who}: expected latent i to depend on seed i alone, got another")
    return check_images(who, copy.sample(latents), _IMAGES, size)


def _check_steps(method: Method[Any], copy: Generator, host: Generator) -> None:
    """That what the plan is told of a copy's steps and latents is so."""
    who = f"method {method.name}"
    if copy.opaque and not method.opaque:
        raise ContractError(
            f"{who}: expected steps whose weights can be changed, got the opaque "
            f"{', '.join(sorted(copy.opaque))}; set `opaque = True` on the method, too"
        )
    if method.host_latents and copy.prior([0]).shape != host.prior([0]).shape:
        raise ContractError(
            f"{who}: expected copies that take the host's latents, got others; set "
            "`host_latents = False` on the method"
        )


def _check_post(method: Method[Any], copy: Generator, drawn: Tensor) -> None:
    """That attacks on weights reach what a post-hoc step marks with, or that it is opaque."""
    if method.opaque or "post" not in copy.steps:
        return
    found = {place: value for place, value in reachable(copy).items() if place[0] == "post"}
    # Nothing of a mark survives if all that it is made of is gone.
    emptied = exchanged(copy, {place: torch.zeros_like(value) for place, value in found.items()})
    if torch.equal(emptied.sample(emptied.prior(list(range(_IMAGES)))), drawn):
        raise ContractError(
            f"method {method.name}: expected what the step 'post' marks with among its parameters "
            f"and buffers, got the same images with all {len(found)} of them at 0; register it as "
            "one, or, if nobody can change it, set `opaque = True` on the embedder and the method"
        )


def _extract(
    who: str,
    method: Method[Any],
    state: dict[str, Tensor],
    host: TrainedHost,
    images: Tensor,
    ctx: StageContext,
) -> Tensor:
    before = images.clone()
    together = method.extract(state, host, Evidence(images), ctx)
    logits = check_logits(who, together, len(images), method.bits)
    alone = method.extract(state, host, Evidence(images[:1]), ctx)
    check_alone(who, logits[:1], alone)
    if not torch.equal(images, before):
        raise ContractError(f"{who}: expected extract to leave its images alone, got changed ones")
    return logits.detach().cpu()


def _same(who: str, first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    for name, tensor in first.items():
        if not torch.equal(tensor, second[name]):
            raise ContractError(
                f"{who}: expected the same result twice, got another '{name}'; draw everything "
                "from ctx.rng and ctx.seeded"
            )
