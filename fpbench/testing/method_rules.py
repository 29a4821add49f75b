"""Rules that methods keep."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import safetensors.torch
import torch
from scipy.stats import binom
from torch import Tensor

from fpbench.api import (
    Attack,
    ContractError,
    Gives,
    Placement,
    Reads,
    Refusal,
    SampleInfo,
    State,
)
from fpbench.api.generator import POST
from fpbench.nn.weights import exchanged, reachable
from fpbench.stages import boundary
from fpbench.stages.checks import (
    check_alone,
    check_opened,
    check_state,
)
from fpbench.testing.method_trial import USERS, MethodTrial, differing, is_equal, same
from fpbench.testing.rules import Rule, Skip, undisturbed
from fpbench.testing.shared_rules import OF_COMPONENTS, pure
from fpbench.testing.world import IMAGES

_CHANCE = 1e-4
"""That an honest reader is taken for one that knows the codes."""


def _runs(trial: MethodTrial) -> str:
    right = trial.right()
    trial.registry()
    fit, issue = trial.seconds["fit"], trial.seconds["issue"]
    extract = trial.seconds["extract"] / IMAGES * 1000
    note = f"fit {fit:.2f} s, a user {issue:.2f} s, a reading {extract:.1f} ms, on the CPU"
    cut = f" after {trial.world.steps} steps" if trial.world.steps and trial.method.trains else ""
    return f"{note}; {right:.0%} right{cut}"


def _shapes(trial: MethodTrial) -> str:
    for user in trial.users:
        trial.reading(user.index)
    return ""


def _steps(trial: MethodTrial) -> str:
    added = [n for n in trial.copy(0).steps if n not in trial.world.trained.generator.steps]
    return f"adds {', '.join(added)}" if added else ""


def _process(trial: MethodTrial) -> str:
    _shapes(trial)
    trial.registry()
    trial.reading(0, 2)
    trial.drawn(0, 2)
    stood_on = {
        "fit": differing(trial.state(), trial.state(chance=2))
        and not differing(trial.state(), trial.state(again=True)),
        "issue": differing(trial.issued(0), trial.issued(0, 2)),
    }
    for what, found in stood_on.items():
        if found:
            raise ContractError(
                f"{trial.who}: {what}: expected the same result twice, got another one where "
                "global generators stood elsewhere; draw everything from ctx.rng and ctx.seeded"
            )
    undisturbed(trial)
    return ""


def _lent(trial: MethodTrial) -> str:
    _shapes(trial)
    trial.registry()
    return ""


def _repeatable(trial: MethodTrial) -> str:
    if differing(trial.state(), trial.state(chance=2)):
        same(f"{trial.who}: fit", trial.state(), trial.state(again=True))
    for user in trial.users[:2]:
        who = f"{trial.who}: user {user.index}"
        same(who, {"images": trial.drawn(user.index)}, {"images": trial.drawn(user.index, 2)})
        first, second = trial.reading(user.index), trial.reading(user.index, 2)
        same(f"{who}: extract", {"reading": first}, {"reading": second})
    return ""


def _seeds(trial: MethodTrial) -> str:
    if not trial.method.trains:
        raise Skip("it trains nothing")
    if not differing(trial.state(), trial.state(seed=1)):
        raise ContractError(
            f"{trial.who}: fit: expected another result of another training seed, got the same; "
            "draw from ctx.rng and ctx.seeded, or set `trains = False` if nothing is trained"
        )
    return ""


def _alone(trial: MethodTrial) -> str:
    for user in trial.users[:2]:
        who, samples = f"{trial.who}: user {user.index}", trial.drawn(user.index)
        copy = trial.copy(user.index)
        first = copy.sample(trial.world.latents(copy, [0]))
        apart = (first.float() - samples[:1].float()).abs().mean()
        if float(apart) > 0.5 * _level(trial.world.info):
            raise ContractError(
                f"{who}: expected an image not to depend on the batch it is drawn in, got another "
                "one alone; use no batch statistics, and eval mode"
            )
        if trial.method.reads is Reads.SAMPLES:
            together = trial.reading(user.index)
            check_alone(who, together[:1], trial.read("alone", samples[:1], None))
    return ""


def _level(info: SampleInfo) -> float:
    return 1.0 if info.dtype == "uint8" else 8.0


def _saved(trial: MethodTrial) -> str:
    def through_a_file(state: State) -> State:
        plain = {name: t.detach().cpu().contiguous() for name, t in state.items()}
        again = safetensors.torch.load(safetensors.torch.save(plain))
        return {name: t.to(trial.world.device) for name, t in again.items()}

    owned = through_a_file(trial.state()), through_a_file(trial.registry())
    copy = trial.copy(0)
    again = trial.read("saved", trial.drawn(0), copy, owned=owned)
    if not torch.equal(again, trial.reading(0)):
        raise ContractError(
            f"{trial.who}: expected the same reading with a state that was written and read, got "
            "another; keep all that `extract` needs in the state"
        )
    return ""


def _two_codes(trial: MethodTrial) -> str:
    method = trial.method
    if method.gives is Gives.PRESENCE or method.placement is Placement.PASSIVE:
        raise Skip("its copies bear no codes")
    one, other = trial.copy(0), trial.copy(1)
    if method.reads is Reads.WEIGHTS:
        held = [reachable(copy) for copy in (one, other)]
        alike = held[0].keys() == held[1].keys() and all(
            torch.equal(t, held[1][place]) for place, t in held[0].items()
        )
    else:
        seeds = range(IMAGES)
        drawn = [copy.sample(trial.world.latents(copy, seeds)) for copy in (one, other)]
        alike = torch.equal(*drawn)
    if alike:
        raise ContractError(
            f"{trial.who}: expected two copies of users with two codes, got the same twice; put "
            "the code into the copy in `assemble`"
        )
    return ""


def _reach(trial: MethodTrial) -> str:
    method, copy, host = trial.method, trial.copy(USERS - 1), trial.world.trained.generator
    if method.opaque:
        raise Skip("its marking step is opaque: attacks on weights are refused")
    drawn = trial.drawn(USERS - 1)
    if POST in copy.steps:
        found = {place: value for place, value in reachable(copy).items() if place[0] == POST}
        # Nothing of a mark survives if all that it is made of is gone.
        emptied = exchanged(copy, {place: torch.zeros_like(v) for place, v in found.items()})
        if torch.equal(emptied.sample(trial.world.latents(emptied, range(IMAGES))), drawn):
            raise ContractError(
                f"{trial.who}: expected what the step 'post' marks with among its parameters and "
                f"buffers, got the same images with all {len(found)} of them at 0; register it as "
                "one, or, if nobody can change it, set `opaque = True` on the embedder and the "
                "method"
            )
        return f"{len(found)} tensors of 'post'"
    mine, hosts = reachable(copy), reachable(host)
    fits = mine.keys() == hosts.keys() and all(t.shape == hosts[p].shape for p, t in mine.items())
    if not (method.builds_on_host and fits and method.placement is Placement.IN_MODEL):
        return "its copies have steps of their own"
    cleared = exchanged(copy, hosts)
    if not torch.equal(
        cleared.sample(trial.world.latents(cleared, range(IMAGES))), trial.world.unmarked
    ):
        raise ContractError(
            f"{trial.who}: expected a copy's mark among its parameters and buffers, got one that "
            "stays with all of them as in the host; register it as one, or, if nobody can change "
            "it, set `opaque = True` on the step and the method"
        )
    return f"{sum(not torch.equal(t, hosts[p]) for p, t in mine.items())} tensors of the host"


def _packed(trial: MethodTrial) -> State:
    def pack() -> State:
        copy = trial.copy(USERS - 1)
        try:
            made = check_state(f"{trial.who}: pack", trial.method.pack(copy))
            trial.method.unpack(dict(made), trial.world.host, trial.world.context("unpack"))
        except ContractError as error:
            raise Skip(str(error)) from None
        return made

    return trial.once("pack", pack)


def _file(trial: MethodTrial) -> str:
    packed, method = _packed(trial), trial.method
    who, ctx = f"{trial.who}: unpack", trial.world.context("unpack")
    again = method.unpack(dict(packed), trial.world.host, ctx)
    opened = trial.draw("unpack", again)
    same(who, {"images": trial.drawn(USERS - 1)}, {"images": opened})
    check_opened(who, packed, check_state(f"{trial.who}: pack", method.pack(again)))
    return f"{sum(t.nbytes for t in packed.values()):,} bytes"


def _secrets(trial: MethodTrial) -> str:
    """That no tensor of a copy's file is one that the owner reads with."""
    packed, user = _packed(trial), USERS - 1
    owned = trial.state(), trial.registry()
    samples, copy = trial.drawn(user), trial.copy(user)
    before = trial.read("secrets", samples, copy, owned=owned)
    for number, state in enumerate(owned):
        for name, tensor in state.items():
            if not _is_telling(tensor) or not any(is_equal(tensor, t) for t in packed.values()):
                continue
            # Both may hold it, such as layers of the host: is it read with?
            changed = [dict(one) for one in owned]
            changed[number][name] = tensor.flatten().roll(1).view(tensor.shape)
            other = trial.read("secrets", samples, copy, owned=(changed[0], changed[1]))
            if not torch.equal(other, before):
                raise ContractError(
                    f"{trial.who}: expected a file of the copy without anything that the owner "
                    f"reads with, got '{name}' of what he keeps; take it out of the copy's steps"
                )
    return ""


def _is_telling(tensor: Tensor) -> bool:
    """Whether its numbers differ: zeros and ones are everybody's."""
    return tensor.numel() > 1 and bool((tensor != tensor.flatten()[0]).any())


def _blind(trial: MethodTrial) -> str:
    method = trial.method
    if method.gives is not Gives.BITS or method.reads is Reads.WEIGHTS:
        raise Skip("it reads no bits from samples")
    codes = torch.stack([user.code.cpu() for user in trial.users])
    unmarked, readings = trial.world.unmarked, []
    for user in trial.users:
        own = boundary.cloned(trial.issue(user.index))
        method.assemble(trial.loan().lent(), trial.world.lent(), own, trial.world.context("issue"))
        readings.append(trial.read("blind", unmarked, None))
    if any(not torch.equal(readings[0], other) for other in readings[1:]):
        raise ContractError(
            f"{trial.who}: expected the host's images to be read alike whoever was given a copy "
            "before, got another reading; keep nothing of a user but in what `issue` returns"
        )
    bits = readings[0] > 0
    agree = (bits[:, None, :] == codes).float().mean(dim=(0, 2))
    votes = (bits.float().mean(dim=0) > 0.5) == codes  # images of one reader are not independent
    matches, count = int(votes.sum()), votes.numel()
    tail = 2 * min(binom.cdf(matches, count, 0.5), binom.sf(matches - 1, count, 0.5))
    known = (bits[:, None, :] == codes).all(dim=2).any(dim=1).float().mean()
    if tail < _CHANCE or (method.bits >= 12 and float(known) > 0.5):
        raise ContractError(
            f"{trial.who}: expected images without any fingerprint to read as codes that agree "
            f"with users' in half of the bits, got {matches} of {count} bits, and {known:.0%} of "
            "images with all bits of one of them; let `extract` see the image, and no user's code"
        )
    return f"agreement {float(agree.mean()):.2f}"


def _refuse(trial: MethodTrial) -> str:
    who, method = trial.who, trial.method
    attacks: list[Attack[Any] | None] = [None]
    for name in trial.catalogue.names("attacks") if trial.catalogue else ():
        cls: Any = trial.catalogue.component("attacks", name) if trial.catalogue else None
        if all(not field.is_required() for field in cls.Params.model_fields.values()):
            attacks.append(cls(cls.Params()))
    for attack in attacks:
        asked = partial(method.refuse, trial.world.host, attack)
        said: object = pure(f"{who}: refuse", asked)
        if not (said is None or (isinstance(said, Refusal) and said.reason)):
            raise ContractError(
                f"{who}: refuse: expected None or a Refusal with a reason, got {said!r}; return one"
            )
    sentences: list[tuple[str, Callable[[], object]]] = [("lacks", method.lacks)]
    for size in (1, 16, 32, 100, 1024):
        info = SampleInfo.of_images(size, {"train": 1, "test": 1, "reference": 1})
        sentences += [
            ("objection", partial(method.objection, info, users)) for users in (1, 100, 10**6)
        ]
    for what, function in sentences:
        text = pure(f"{who}: {what}", function)
        if not isinstance(text, str):
            raise ContractError(
                f"{who}: {what}: expected a text, empty if there is nothing to say, got {text!r}"
            )
    return f"{len(attacks) - 1} attacks"


def _gate(trial: MethodTrial) -> str:
    method, right = trial.method, trial.right()
    if method.trains and trial.world.steps:
        raise Skip(f"trained for {trial.world.steps} steps alone; --steps 0 trains it to its end")
    if method.gives is Gives.PRESENCE:
        raise Skip("presences are judged by negatives, too")
    if right < method.gate:
        raise ContractError(
            f"{trial.who}: expected at least {method.gate:g} to be read right of untouched copies, "
            f"as its `gate` says, got {right:.3f}; a run shows it as not converged, and ranks it "
            "nowhere"
        )
    return f"{right:.0%}"


def _device(trial: MethodTrial) -> str:
    if not torch.cuda.is_available():
        raise Skip("this machine has no other device than the CPU")
    there = MethodTrial(trial.method, trial.world.elsewhere("cuda"))
    try:
        there.reading(0)
        there.reading(1)
    except ContractError as error:
        raise ContractError(f"on cuda: {error}; move what you make to ctx.device") from error
    return "cuda"


RULES: tuple[Rule, ...] = (
    *OF_COMPONENTS,
    Rule("refuse", "what is asked at plan time is answered, and twice alike", _refuse),
    Rule("runs", "fit, issue, enrol, assemble, sample and extract end", _runs),
    Rule("shapes", "states, samples and readings have shape, type and finite numbers", _shapes),
    Rule("steps", "the plan is told of opaque steps and other latents", _steps),
    Rule("process", "global generators and flags are left alone", _process),
    Rule("lent", "states, images and codes that are lent stay as they are", _lent),
    Rule("repeatable", "the same seed gives the same", _repeatable),
    Rule("seeds", "another training seed gives another training", _seeds),
    Rule("alone", "an image is drawn and read alike alone and in a batch", _alone),
    Rule("saved", "a state reads the same after it was written and read", _saved),
    Rule("two-codes", "two codes give two copies", _two_codes),
    Rule("reach", "attacks on weights reach what marks", _reach),
    Rule("file", "a copy's file opens as the same copy", _file),
    Rule("secrets", "a copy's file holds nothing that the owner reads with", _secrets),
    Rule("blind", "images without a fingerprint read as nobody's code", _blind),
    Rule("gate", "untouched copies are read right", _gate),
    Rule("device", "it follows the device", _device),
)
