"""Rules that hosts keep: a training, a generator of its state, and all that it offers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fpbench.api import ContractError, Generator, Host, Offer, SampleInfo, State
from fpbench.api.packing import pack
from fpbench.api.samples import check_samples
from fpbench.nn.latents import rows, shapes
from fpbench.stages import boundary
from fpbench.stages.checks import check_generator, check_opened, check_state
from fpbench.testing.method_trial import differing, same
from fpbench.testing.rules import Broken, Rule, Skip, Trial, under, undisturbed
from fpbench.testing.shared_rules import OF_COMPONENTS, pure
from fpbench.testing.world import IMAGES, World

_MARKS = (1, 2)
_RATE = 1e-3


class HostTrial(Trial):
    """A host, its state and its generator.

    Args:
        host: with parameters small enough to be tried.
        world: what it is tried in, whose own host is left alone.
    """

    def __init__(self, host: Host[Any], world: World) -> None:
        super().__init__(f"host {host.name}", host, world)
        self.host = host

    def state(self, seed: int = 0, chance: int = 1, *, again: bool = False) -> State:
        """Of `fit`; `again` is a second time under the same conditions."""
        return self.once(f"fit {seed} {chance} {again}", lambda: self._state(seed, chance))

    def _state(self, seed: int, chance: int) -> State:
        if objection := self.host.objection(self.world.info):
            raise Skip(f"it is not for such images: {objection}; name --size or --dataset")
        if (gpus := self.host.needs().gpus) and not torch.cuda.is_available():
            raise Skip(f"it needs {gpus} GPUs, and this machine has none")
        ctx = self.world.context("host", seed=seed)
        made = self.called("fit", lambda: self.host.fit(self.world.images, ctx), chance=chance)
        with under("shapes"):
            return boundary.cloned(check_state(f"{self.who}: fit", made))

    def loan(self) -> boundary.Loan:
        """The state of `fit`, as it is lent."""
        return self.once("loan", lambda: boundary.Loan("its state", self.state()))

    def generator(self) -> Generator:
        """Of the state."""
        return self.once("assemble", lambda: self.assembled("assemble", self.host.assemble))

    def assembled(self, what: str, make: Callable[[State, Any], Generator]) -> Generator:
        """A generator that a function of the host makes of its state."""
        ctx = self.world.context("host")
        made = self.called(what, lambda: make(self.loan().lent(), ctx), self.loan())
        with under("shapes"):
            return check_generator(f"{self.who}: {what}", boundary.returned(made))

    def drawn(self, generator: Generator, what: str = "sample", chance: int = 1) -> Tensor:
        """Samples of a generator, checked."""
        latents = self.world.latents(generator, range(IMAGES))
        if not boundary.same_latents(
            rows(latents, slice(3, 5)), self.world.latents(generator, [3, 4])
        ):
            raise Broken(
                "alone", f"{self.who}: expected latent i to depend on seed i alone, got another"
            )
        made = self.called(what, lambda: boundary.drawn(generator, latents), chance=chance)
        with under("shapes"):
            return check_samples(f"{self.who}: {what}", "images", made, IMAGES, self.world.info)

    def samples(self, chance: int = 1) -> Tensor:
        """Of its own generator."""
        return self.once(f"sample {chance}", lambda: self.drawn(self.generator(), chance=chance))


# -- the rules -------------------------------------------------------------------------------------


def _refuse(trial: HostTrial) -> str:
    for size in (1, 16, 32, 100, 1024):
        info = SampleInfo.of_images(size, {"train": 1, "test": 1, "reference": 1})
        said: object = pure(f"{trial.who}: objection", partial(trial.host.objection, info))
        if not isinstance(said, str):
            raise ContractError(
                f"{trial.who}: objection: expected a text, empty if it can be trained, got {said!r}"
            )
    shapes_of: object = pure(f"{trial.who}: output_shapes", trial.host.output_shapes)
    if not hasattr(shapes_of, "items"):
        raise ContractError(
            f"{trial.who}: output_shapes: expected shapes by name, got {shapes_of!r}"
        )
    if odd := sorted({*map(str, trial.host.offers)} - {*map(str, Offer)}):
        raise ContractError(f"{trial.who}: expected `offers` of fpbench.api.Offer, got {odd}")
    return ""


def _runs(trial: HostTrial) -> str:
    trial.samples()
    drawing = trial.seconds["sample"] / IMAGES * 1000
    return f"fit {trial.seconds['fit']:.2f} s, an image {drawing:.1f} ms, on the CPU"


def _shapes(trial: HostTrial) -> str:
    trial.samples()
    return f"{len(trial.state())} tensors"


def _process(trial: HostTrial) -> str:
    trial.samples(2)
    if differing(trial.state(), trial.state(chance=2)) and not differing(
        trial.state(), trial.state(again=True)
    ):
        raise ContractError(
            f"{trial.who}: fit: expected the same result twice, got another where global "
            "generators stood elsewhere; draw everything from ctx.rng and ctx.seeded"
        )
    undisturbed(trial)
    return ""


def _repeatable(trial: HostTrial) -> str:
    if differing(trial.state(), trial.state(chance=2)):
        same(f"{trial.who}: fit", trial.state(), trial.state(again=True))
    same(f"{trial.who}: sample", {"images": trial.samples()}, {"images": trial.samples(2)})
    return ""


def _alone(trial: HostTrial) -> str:
    together, generator = trial.samples(), trial.generator()
    alone = generator.sample(trial.world.latents(generator, [0]))
    if float((alone.float() - together[:1].float()).abs().mean()) > 0.5:
        raise ContractError(
            f"{trial.who}: expected an image not to depend on the batch it is drawn in, got "
            "another one alone; use no batch statistics, and eval mode"
        )
    if bool((together == together[0]).all()):
        raise ContractError(
            f"{trial.who}: expected other images of other latents, got one image {IMAGES} times"
        )
    return ""


def _offers(trial: HostTrial) -> str:
    host, generator, offers = trial.host, trial.generator(), trial.host.offers
    ctx, images = trial.world.context("offers"), trial.world.some()
    if Offer.ENCODE in offers:
        found = trial.called(
            "encode", lambda: host.encode(trial.loan().lent(), images, ctx), trial.loan()
        )
        if shapes(found) != shapes(trial.world.latents(generator, [0])):
            raise ContractError(
                f"{trial.who}: encode: expected latents as `prior` gives them, got "
                f"{shapes(found)}; return such, or take Offer.ENCODE out of `offers`"
            )
    if Offer.UNTRAINED in offers:
        fresh = trial.assembled("untrained", host.untrained)
        _like(trial, "untrained", fresh, generator)
        if torch.equal(trial.drawn(fresh), trial.samples()):
            raise ContractError(f"{trial.who}: untrained: expected fresh weights, got the trained")
    if Offer.FINETUNE in offers:
        walk = trial.called(
            "finetune",
            lambda: list(
                host.finetune(
                    trial.loan().lent(), boundary.Lent(generator), images, _RATE, _MARKS, ctx
                )
            ),
            trial.loan(),
        )
        if [mark for mark, _ in walk] != [*_MARKS]:
            raise ContractError(
                f"{trial.who}: finetune: expected a generator at each of the marks {_MARKS}, got "
                f"those at {[mark for mark, _ in walk]}; yield (mark, generator) at each"
            )
        for _, made in walk:
            _like(trial, "finetune", made, generator)
        if torch.equal(trial.drawn(generator), trial.drawn(walk[-1][1])):
            raise ContractError(
                f"{trial.who}: finetune: expected steps that change weights, got the same images"
            )
    if Offer.GAUSSIAN in offers and not isinstance(trial.world.latents(generator, [0]), Tensor):
        raise ContractError(
            f"{trial.who}: expected one tensor of latents, as Offer.GAUSSIAN says, got others; "
            "take it out of `offers`"
        )
    return ", ".join(sorted(offers)) or "nothing"


def _like(trial: HostTrial, what: str, made: Generator, generator: Generator) -> None:
    if list(made.steps) != list(generator.steps):
        raise ContractError(
            f"{trial.who}: {what}: expected a generator with the steps {list(generator.steps)}, "
            f"got {list(made.steps)}"
        )


def _file(trial: HostTrial) -> str:
    who, generator = f"{trial.who}: unpack", trial.generator()
    packed = pack(trial.who, generator)
    try:
        again = trial.host.unpack(dict(packed), trial.world.context("unpack"))
    except ContractError as error:
        raise Skip(str(error)) from None
    same(who, {"images": trial.samples()}, {"images": trial.drawn(again, "unpack")})
    check_opened(who, packed, pack(trial.who, again))
    return f"{sum(t.nbytes for t in packed.values()):,} bytes"


def _device(trial: HostTrial) -> str:
    if not torch.cuda.is_available():
        raise Skip("this machine has no other device than the CPU")
    try:
        HostTrial(trial.host, trial.world.elsewhere("cuda")).samples()
    except ContractError as error:
        raise ContractError(f"on cuda: {error}; move what you make to ctx.device") from error
    return "cuda"


RULES: tuple[Rule, ...] = (
    *OF_COMPONENTS,
    Rule("refuse", "what is asked at plan time is answered, and twice alike", _refuse),
    Rule("runs", "fit, assemble and sample end", _runs),
    Rule("shapes", "states and samples have shape, type and finite numbers", _shapes),
    Rule("process", "global generators and flags are left alone", _process),
    Rule("lent", "states and images that are lent stay as they are", _shapes),
    Rule("repeatable", "the same seed gives the same", _repeatable),
    Rule("alone", "an image is drawn alike alone and in a batch", _alone),
    Rule("offers", "what it offers it does", _offers),
    Rule("file", "a file of its weights opens as the same generator", _file),
    Rule("device", "it follows the device", _device),
)
