"""Checks that a method keeps its contract; for plugin authors' own tests, seconds on a CPU.

```python
def test_method_keeps_the_contract(tmp_path):
    assert check_method(MyMethod(MyMethod.Params(steps=10)), tmp_path).right > 0.4
```
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from fpbench.api import (
    ContractError,
    Dataset,
    Evidence,
    Generator,
    Gives,
    Host,
    Latents,
    Method,
    Modality,
    Reads,
    SampleInfo,
    SampleStream,
    State,
    TrainedHost,
    User,
)
from fpbench.api.samples import check_samples
from fpbench.builtin.codes.uniform import Uniform
from fpbench.builtin.toy_faces.dataset import ToyFaces
from fpbench.nn.latents import rows, shapes
from fpbench.nn.weights import exchanged, reachable
from fpbench.plan import issued_codes
from fpbench.registry import load
from fpbench.stages import boundary
from fpbench.stages.checks import (
    check_alone,
    check_opened,
    check_reading,
    check_state,
    reading_shape,
)
from fpbench.stages.context import StageContext
from fpbench.stages.enrol import EnrolledUser
from fpbench.stages.images import SplitStream
from fpbench.store import Store
from fpbench.testing.fakes import TinyHost

_USERS, _IMAGES = 4, 16

Prior = Callable[[Generator, Sequence[int]], Latents]
"""Latents of a generator by their seeds, under conditions of the data set."""


@dataclass(frozen=True)
class Conformance:
    """What the check measured on the way.

    Attributes:
        right: over a few untouched copies, the mean share of right bits; of scores, of images whose
            largest is their user's; of presences, of images that are above 0.
        leaked: names of steps of a copy that the host does not have.
        sealed: why a copy cannot be packed into a file and opened again; empty if it can.
    """

    right: float
    leaked: tuple[str, ...]
    sealed: str


def check_method(
    method: Method[Any],
    scratch: Path,
    *,
    host: Host[Any] | None = None,
    dataset: Dataset[Any] | None = None,
    train: int = 256,
    size: int = 32,
) -> Conformance:
    """Fit, issue, assemble and extract as the harness does, with every promise checked.

    Args:
        method: with parameters small enough for a test.
        scratch: an empty folder.
        host: the host to build on; a tiny linear one if None.
        dataset: what it is trained on, and by whose conditions samples are drawn; cartoon faces if
            None. Its modality must be registered.
        train: training images, of cartoon faces.
        size: image size of these, pixels.

    Raises:
        ContractError: a promise is broken; says which.
    """
    device = torch.device("cpu")
    store = Store(scratch / "conformance")

    def context(*root: Any, bits: int = 0) -> StageContext:
        return StageContext(
            device, (0, *root), store, bits=bits, modality=modality, info=images.info
        )

    faces = ToyFaces(ToyFaces.Params.model_validate({"size": size, "train": train}))
    dataset = dataset or faces
    images, test = SplitStream(dataset, "train", device), SplitStream(dataset, "test", device)
    kind = load().component("modalities", images.info.modality)
    modality = cast(Modality[Any], kind(kind.Params()))

    def latents(generator: Generator, seeds: Sequence[int]) -> Latents:
        return generator.prior(seeds, test.conditions([seed % len(test) for seed in seeds]))

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
    users = [User(index, code) for index, code in enumerate(_codes(method))]
    issued: list[dict[str, Tensor]] = []
    copies: list[Generator] = []
    for user in users:
        who, ctx = f"method {method.name}: user {user.index}", context("issue", user.index)
        with boundary.unharmed(who, loan, boundary.Loan("its state", state)):
            made = method.issue(state, lent(), user, images, ctx)
            issued.append(check_state(who, made))
            copies.append(method.assemble(state, lent(), dict(issued[-1]), ctx))
        _check_steps(method, copies[-1], trained.generator, latents)
    who = f"method {method.name}: enrol"
    enrolled = [
        EnrolledUser(user, partial(dict, own), partial(_samples, copy, latents))
        for user, own, copy in zip(users, issued, copies, strict=True)
    ]
    with boundary.unharmed(who, loan, boundary.Loan("its state", state)):
        ctx = context("enrol", bits=method.bits)
        registry = check_state(who, method.enrol(state, lent(), enrolled, images, ctx))
    right = []
    for user, copy in zip(users, copies, strict=True):
        who = f"method {method.name}: user {user.index}"
        drawn = _draw(who, copy, latents, images.info)
        _check_post(method, copy, latents, drawn)
        _same(who, {"images": drawn}, {"images": _draw(who, copy, latents, images.info)})
        with boundary.unharmed(who, loan, boundary.Loan("its state", state)):
            shown = (drawn, copy, registry)
            reading = _extract(who, method, state, lent(), shown, context("extract"))
        right.append(_right(method, reading, user))
    copy, who = copies[-1], f"method {method.name}"
    leaked = tuple(name for name in copy.steps if name not in trained.generator.steps)
    images_of_copy = _draw(who, copy, latents, images.info)
    try:
        packed = check_state(f"{who}: pack", method.pack(copy))
        again = method.unpack(dict(packed), trained.component, context("unpack"))
    except ContractError as error:
        return Conformance(float(np.mean(right)), leaked, str(error))
    opened = _draw(f"{who}: unpack", again, latents, images.info)
    _same(f"{who}: unpack", {"images": images_of_copy}, {"images": opened})
    check_opened(f"{who}: unpack", packed, check_state(f"{who}: pack", method.pack(again)))

    def reading_of(state: State, registry: State) -> Tensor:
        evidence = _evidence(method, images_of_copy, boundary.Lent(copy), registry)
        return method.extract(state, lent(), evidence, context("extract"))

    _check_secrets(who, packed, (state, registry), reading_of)
    return Conformance(float(np.mean(right)), leaked, "")


def _codes(method: Method[Any]) -> list[Tensor]:
    if method.gives is not Gives.BITS:
        return [torch.zeros(0, dtype=torch.bool)] * _USERS
    code = Uniform(Uniform.Params())
    return [*torch.from_numpy(issued_codes(code, method.bits, 0, _USERS))]


def _right(method: Method[Any], reading: Tensor, user: User) -> float:
    if method.gives is Gives.BITS:
        return float(((reading > 0) == user.code).float().mean())
    if method.gives is Gives.SCORES:
        return float((reading.argmax(dim=1) == user.index).float().mean())
    return float((reading > 0).float().mean())


def _samples(copy: Generator, latents: Prior, count: int) -> Tensor:
    return copy.sample(latents(copy, range(10**6, 10**6 + count)))


def _host(host: Host[Any], images: SampleStream, ctx: StageContext) -> TrainedHost:
    state = check_state(f"host {host.name}: fit", host.fit(images, ctx))
    return TrainedHost(host, state, host.assemble(state, ctx))


def _draw(who: str, copy: Generator, latents: Prior, info: SampleInfo) -> Tensor:
    drawn = latents(copy, range(_IMAGES))
    if not boundary.same_latents(rows(drawn, slice(3, 5)), latents(copy, [3, 4])):
        raise ContractError(f"{who}: expected latent i to depend on seed i alone, got another")
    return check_samples(who, "images", copy.sample(drawn), _IMAGES, info)


def _check_steps(method: Method[Any], copy: Generator, host: Generator, latents: Prior) -> None:
    """That what the plan is told of a copy's steps and latents is so."""
    who = f"method {method.name}"
    if copy.opaque and not method.opaque:
        raise ContractError(
            f"{who}: expected steps whose weights can be changed, got the opaque "
            f"{', '.join(sorted(copy.opaque))}; set `opaque = True` on the method, too"
        )
    if method.host_latents and shapes(latents(copy, [0])) != shapes(latents(host, [0])):
        raise ContractError(
            f"{who}: expected copies that take the host's latents, got others; set "
            "`host_latents = False` on the method"
        )


def _check_post(method: Method[Any], copy: Generator, latents: Prior, drawn: Tensor) -> None:
    """That attacks on weights reach what a post-hoc step marks with, or that it is opaque."""
    if method.opaque or "post" not in copy.steps:
        return
    found = {place: value for place, value in reachable(copy).items() if place[0] == "post"}
    # Nothing of a mark survives if all that it is made of is gone.
    emptied = exchanged(copy, {place: torch.zeros_like(value) for place, value in found.items()})
    if torch.equal(emptied.sample(latents(emptied, range(_IMAGES))), drawn):
        raise ContractError(
            f"method {method.name}: expected what the step 'post' marks with among its parameters "
            f"and buffers, got the same images with all {len(found)} of them at 0; register it as "
            "one, or, if nobody can change it, set `opaque = True` on the embedder and the method"
        )


def _check_secrets(
    who: str,
    packed: State,
    owned: tuple[State, State],
    reading_of: Callable[[State, State], Tensor],
) -> None:
    """That no tensor of a copy's file is one that the owner reads with."""
    before = reading_of(*owned)
    for number, state in enumerate(owned):
        for name, tensor in state.items():
            if not _is_telling(tensor) or not any(_is_equal(tensor, t) for t in packed.values()):
                continue
            # Both may hold it, such as layers of the host: is it read with?
            changed = [dict(one) for one in owned]
            changed[number][name] = tensor.flatten().roll(1).view(tensor.shape)
            if not torch.equal(reading_of(changed[0], changed[1]), before):
                raise ContractError(
                    f"{who}: expected a file of the copy without anything that the owner reads "
                    f"with, got '{name}' of what he keeps; take it out of the copy's steps"
                )


def _is_telling(tensor: Tensor) -> bool:
    """Whether its numbers differ: zeros and ones are everybody's."""
    return tensor.numel() > 1 and bool((tensor != tensor.flatten()[0]).any())


def _is_equal(tensor: Tensor, other: Tensor) -> bool:
    return tensor.dtype == other.dtype and torch.equal(tensor, other)


def _evidence(
    method: Method[Any], images: Tensor, copy: Generator, registry: dict[str, Tensor]
) -> Evidence:
    if method.reads is Reads.WEIGHTS:
        return Evidence(None, copy, registry)
    return Evidence(images, None, registry)


def _extract(
    who: str,
    method: Method[Any],
    state: dict[str, Tensor],
    host: TrainedHost,
    shown: tuple[Tensor, Generator, dict[str, Tensor]],
    ctx: StageContext,
) -> Tensor:
    images, copy, registry = shown
    if method.reads is Reads.WEIGHTS:
        evidence = _evidence(method, images, boundary.Lent(copy), registry)
        found = method.extract(state, host, evidence, ctx)
        return check_reading(who, found, reading_shape(method, 1, _USERS)).detach().cpu()
    before = images.clone()
    together = method.extract(state, host, Evidence(images, None, registry), ctx)
    reading = check_reading(who, together, reading_shape(method, len(images), _USERS))
    alone = method.extract(state, host, Evidence(images[:1], None, registry), ctx)
    check_alone(who, reading[:1], alone)
    if not torch.equal(images, before):
        raise ContractError(f"{who}: expected extract to leave its images alone, got changed ones")
    return reading.detach().cpu()


def _same(who: str, first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    for name, tensor in first.items():
        if not torch.equal(tensor, second[name]):
            raise ContractError(
                f"{who}: expected the same result twice, got another '{name}'; draw everything "
                "from ctx.rng and ctx.seeded"
            )
