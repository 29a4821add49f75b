"""A method tried as the harness uses it: fit, issue, assemble, enrol, extract."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fpbench.api import (
    ContractError,
    Evidence,
    Generator,
    Gives,
    Method,
    Reads,
    State,
    User,
)
from fpbench.api.samples import check_samples
from fpbench.builtin.codes.uniform import Uniform
from fpbench.nn.latents import rows, shapes
from fpbench.plan import issued_codes
from fpbench.registry import Catalogue
from fpbench.stages import boundary
from fpbench.stages.checks import (
    check_generator,
    check_reading,
    check_state,
    reading_shape,
)
from fpbench.stages.enrol import EnrolledUser
from fpbench.testing.rules import Broken, Skip, Trial, under
from fpbench.testing.world import IMAGES, World

USERS = 4
_LATENTS = "expected latent i to depend on seed i alone, got another"


class MethodTrial(Trial):
    """A method, its users, their copies and what is read from them.

    Args:
        method: with parameters small enough to be tried.
        world: what it is tried in.
        catalogue: whose attacks it is asked about.
    """

    def __init__(
        self, method: Method[Any], world: World, catalogue: Catalogue | None = None
    ) -> None:
        super().__init__(f"method {method.name}", method, world)
        self.method = method
        self.catalogue = catalogue
        codes = [torch.zeros(0, dtype=torch.bool)] * USERS
        if method.gives is Gives.BITS:
            drawn = issued_codes(Uniform(Uniform.Params()), method.bits, 0, USERS)
            codes = [*torch.from_numpy(drawn).to(world.device)]
        self.users = [User(index, code) for index, code in enumerate(codes)]

    def state(self, seed: int = 0, chance: int = 1, *, again: bool = False) -> State:
        """Of `fit`; `again` is a second time under the same conditions."""
        name = f"fit {seed} {chance} {again}"
        return self.once(name, lambda: self._state(seed, chance))

    def _state(self, seed: int, chance: int) -> State:
        gpus = self.method.needs().gpus
        if gpus and not torch.cuda.is_available():
            raise Skip(f"it needs {gpus} GPUs, and this machine has none")
        ctx = self.world.context("fit", seed=seed, bits=self.method.bits)
        host = self.world.lent()
        if not self.method.uses_host:
            host = boundary.no_host(self.world.host, self.who)
        made = self.called(
            "fit",
            lambda: self.method.fit(host, self.world.images, ctx),
            self.world.loan,
            chance=chance,
        )
        with under("shapes"):
            return boundary.cloned(check_state(f"{self.who}: fit", made))

    def loan(self) -> boundary.Loan:
        """The state of `fit`, as it is lent."""
        return self.once("loan", lambda: boundary.Loan("its state", self.state()))

    def issued(self, user: int, chance: int = 1) -> State:
        """A user's state."""
        return self.once(f"issue {user} {chance}", lambda: self.issue(user, chance))

    def issue(self, user: int, chance: int = 1) -> State:
        """A user's state, made now."""
        person, code = self.users[user], boundary.Loan("the user", {"code": self.users[user].code})
        ctx = self.world.context("issue", user)
        made = self.called(
            "issue",
            lambda: self.method.issue(
                self.loan().lent(), self.world.lent(), person, self.world.images, ctx
            ),
            self.world.loan,
            self.loan(),
            code,
            chance=chance,
        )
        with under("shapes"):
            return boundary.cloned(check_state(f"{self.who}: user {user}: issue", made))

    def copy(self, user: int, chance: int = 1) -> Generator:
        """A user's copy."""
        return self.once(f"copy {user} {chance}", lambda: self._copy(user, chance))

    def _copy(self, user: int, chance: int) -> Generator:
        own, ctx = boundary.cloned(self.issued(user)), self.world.context("issue", user)
        made = self.called(
            "assemble",
            lambda: self.method.assemble(self.loan().lent(), self.world.lent(), own, ctx),
            self.world.loan,
            self.loan(),
            chance=chance,
        )
        with under("shapes"):
            whole = check_generator(f"{self.who}: user {user}", boundary.returned(made))
        with under("steps"):
            self._check_steps(whole)
        return whole

    def _check_steps(self, copy: Generator) -> None:
        """That what the plan is told of a copy's steps and latents is so."""
        if copy.opaque and not self.method.opaque:
            raise ContractError(
                f"{self.who}: expected steps whose weights can be changed, got the opaque "
                f"{', '.join(sorted(copy.opaque))}; set `opaque = True` on the method, too"
            )
        own, hosts = (shapes(self.world.latents(g, [0])) for g in (copy, self._generator()))
        if self.method.host_latents and own != hosts:
            raise ContractError(
                f"{self.who}: expected copies that take the host's latents, got others; set "
                "`host_latents = False` on the method"
            )

    def _generator(self) -> Generator:
        return self.world.trained.generator

    def drawn(self, user: int, chance: int = 1) -> Tensor:
        """Samples of a user's copy."""
        return self.once(f"drawn {user} {chance}", lambda: self._drawn(user, chance))

    def _drawn(self, user: int, chance: int) -> Tensor:
        return self.draw(f"user {user}", self.copy(user, chance), chance)

    def draw(self, what: str, copy: Generator, chance: int = 1) -> Tensor:
        """Samples of a copy, checked."""
        who, latents = f"{self.who}: {what}", self.world.latents(copy, range(IMAGES))
        if not boundary.same_latents(rows(latents, slice(3, 5)), self.world.latents(copy, [3, 4])):
            raise Broken(
                "alone", f"{who}: expected latent i to depend on seed i alone, got another"
            )
        made = self.called("sample", lambda: boundary.drawn(copy, latents), chance=chance)
        with under("shapes"):
            return check_samples(who, "images", made, IMAGES, self.world.info)

    def registry(self) -> State:
        """What the owner keeps of the registered users."""
        return self.once("enrol", self._registry)

    def _registry(self) -> State:
        people = [
            EnrolledUser(
                user,
                partial(dict, self.issued(user.index)),
                partial(_more, self.copy(user.index), self.world),
            )
            for user in self.users
        ]
        ctx = self.world.context("enrol", bits=self.method.bits)
        made = self.called(
            "enrol",
            lambda: self.method.enrol(
                self.loan().lent(), self.world.lent(), people, self.world.images, ctx
            ),
            self.world.loan,
            self.loan(),
        )
        with under("shapes"):
            return boundary.cloned(check_state(f"{self.who}: enrol", made))

    def reading(self, user: int, chance: int = 1) -> Tensor:
        """What is read of a user's copy, or of its samples."""
        return self.once(
            f"reading {user} {chance}",
            lambda: self.read(f"user {user}", self.drawn(user), self.copy(user), chance=chance),
        )

    def read(
        self,
        what: str,
        samples: Tensor,
        copy: Generator | None,
        *,
        owned: tuple[State, State] | None = None,
        chance: int = 1,
    ) -> Tensor:
        """A reading, checked.

        Args:
            what: is read, for messages.
            samples: to be read.
            copy: to be read by a reader of weights.
            owned: state and registry in the place of those that were made.
            chance: where the global generators stand.
        """
        state, registry = owned or (self.loan().lent(), dict(self.registry()))
        seen = boundary.Loan("the images", {"samples": samples})
        evidence = Evidence(seen.lent()["samples"], None, registry)
        if self.method.reads is Reads.WEIGHTS:
            evidence = Evidence(None, boundary.Lent(copy) if copy else None, registry)
        ctx = self.world.context("extract")
        made = self.called(
            "extract",
            lambda: self.method.extract(state, self.world.lent(), evidence, ctx),
            self.world.loan,
            self.loan(),
            seen,
            chance=chance,
        )
        count = 1 if self.method.reads is Reads.WEIGHTS else len(samples)
        with under("shapes"):
            shape = reading_shape(self.method, count, USERS)
            return check_reading(f"{self.who}: {what}", made, shape).detach().cpu()

    def right(self) -> float:
        """Over untouched copies, the mean share that is read right; see `Conformance.right`."""
        return float(np.mean([_right(self.method, self.reading(u.index), u) for u in self.users]))


def _more(copy: Generator, world: World, count: int) -> Tensor:
    return copy.sample(world.latents(copy, range(10**6, 10**6 + count)))


def _right(method: Method[Any], reading: Tensor, user: User) -> float:
    if method.gives is Gives.BITS:
        return float(((reading > 0) == user.code.cpu()).float().mean())
    if method.gives is Gives.SCORES:
        return float((reading.argmax(dim=1) == user.index).float().mean())
    return float((reading > 0).float().mean())


def differing(first: State, second: State) -> str:
    """Name of a tensor that is another one; empty if none is."""
    if first.keys() != second.keys():
        return min(first.keys() ^ second.keys())
    return next((n for n, t in first.items() if not is_equal(t, second[n])), "")


def is_equal(tensor: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same values of one type."""
    return tensor.dtype == other.dtype and torch.equal(tensor, other)


def same(who: str, first: State, second: State) -> None:
    """That a thing came out alike twice.

    Raises:
        ContractError: it did not.
    """
    if name := differing(first, second):
        raise ContractError(
            f"{who}: expected the same result twice, got another '{name}'; draw everything "
            "from ctx.rng and ctx.seeded"
        )
