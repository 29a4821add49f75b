"""A trained method of a run: its codes, its users' copies, and what it reads in images."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch

from fpbench.api import (
    Component,
    Generator,
    Gives,
    Latents,
    PassiveMethod,
    Reads,
    SpecError,
    User,
)
from fpbench.api.errors import nearest
from fpbench.execute.machine import resolve_device, stage_threads
from fpbench.execute.runs import OpenRun
from fpbench.plan import Fit, Kind, Want
from fpbench.python.cards import CopyCard, Part, part_of
from fpbench.python.computing import computing, draw
from fpbench.python.copies import Copy
from fpbench.python.unmarked import read_unmarked
from fpbench.stages import boundary
from fpbench.stages.bench import Bench, images_of
from fpbench.stages.enrol import enrolled_for
from fpbench.stages.images import from_memory
from fpbench.stages.interrupt import Interrupt
from fpbench.stages.issue import copy_for, copy_of
from fpbench.stages.measuring import Measurer
from fpbench.stages.process import Visit
from fpbench.stages.reading import ImageReader


class TrainedMethod:
    """A method as a run has trained it; `Run.method` and `fpbench.load` give it.

    Attributes:
        label: its name on the board.
        seed: index of the training.
        bits: length K of a code; 0 for a method without codes.
        users: number U of users who have a copy.
        size: height and width of an image, pixels; length of a sound.
        info: of the samples that it reads.
        unplaced: of a bundle, parameters whose files were there when it was trained, and of which
            nobody has said where they are.
    """

    def __init__(
        self,
        opened: OpenRun,
        fit: Fit,
        device: str = "",
        *,
        trains: bool = True,
        unplaced: tuple[str, ...] = (),
    ) -> None:
        self.label, self.seed = fit.method.label, fit.seed
        self.bits = fit.method.component.bits
        self.users = len(opened.plan.users(fit))
        self.info = opened.plan.facts.info
        self.size = self.info.size
        self.unplaced = unplaced
        self._run, self._fit = opened, fit
        self._trains = trains  # copies that are trainings of the host, where the store lacks them
        self._threads = stage_threads(opened.request, Kind.COPY)
        self._interrupt = Interrupt()
        where = torch.device(resolve_device(device or opened.request.device))
        with Visit():  # a bench sets what `computing` sets again
            self._bench = Bench(
                opened.plan, opened.store, where, interrupt=self._interrupt, threads=self._threads
            )

    def __repr__(self) -> str:
        return f"<fpbench.TrainedMethod {self.label}, training seed {self.seed}>"

    @cached_property
    def codes(self) -> np.ndarray:
        """(U, K) bool codes that were issued, row u to user u; (U, 0) of a method without codes."""
        if not self.bits:
            return np.zeros((self.users, 0), bool)
        return self._bench.codes(self._fit)[: self.users].copy()

    def copy(self, user: int) -> Copy:
        """The copy of one user, 0 … U - 1, as it was issued to him.

        Raises:
            SpecError: there is no such user, or his copy is a training that a bundle lacks.
            StoreError: an artefact of the run is missing or damaged.
        """
        with computing(self._threads, self._interrupt):
            generator = self._generator(user)
        return self._as_copy(generator)

    def issue(self, code: np.ndarray, number: int) -> Copy:
        """A copy with a code of one's own, for somebody outside the run; nothing of it is kept.

        Args:
            code: (K,) bool; (0,) where a method that gives scores knows users by number alone.
            number: of the user, 0 or more, which what a method draws for him depends on.

        Raises:
            SpecError: the code is of another length, there is no such number, or the method leads
                to nobody.
            StoreError: an artefact of the run is missing or damaged.
        """
        bits = f"expected a code of {self.bits} bits, bool ({self.bits},), got {code.dtype}"
        if code.shape != (self.bits,) or code.dtype != bool or number < 0:
            raise SpecError([f"{self.label}: {bits} {code.shape} for number {number}"])
        self.check_room(number + 1)
        own = torch.from_numpy(code.copy()).to(self._bench.device)
        with computing(self._threads, self._interrupt):
            generator = copy_for(self._bench, self._fit, User(self._behind + number, own))
        return self._as_copy(generator)

    @property
    def leads_to_nobody(self) -> str:
        """Why users of a registry cannot be told apart by it; empty where they can.

        Of scores each user's must depend on him alone: else a new one would change what was said
        of all others. A passive method knows the models that it has learnt, and no other.
        """
        method = self._fit.method.component
        if isinstance(method, PassiveMethod):
            return (
                "a passive method, which puts nothing into copies and knows its run's users alone"
            )
        if method.gives is Gives.PRESENCE:
            return "one that says whether there is a mark, and not whose"
        if method.gives is Gives.SCORES and not method.separable:
            return "one whose scores of a user depend on all others"
        return ""

    @property
    def reads_images(self) -> bool:
        """Whether it reads images, and not the weights of a copy."""
        return self._fit.method.component.reads is Reads.SAMPLES

    def check_room(self, users: int) -> None:
        """See that so many users of a registry can be told apart.

        Raises:
            SpecError: they cannot: the method leads to nobody, or to fewer.
        """
        if self.leads_to_nobody:
            got = f"expected a method that leads to users, got {self.leads_to_nobody}"
            raise SpecError([f"{self.label}: {got}"])
        method, behind = self._fit.method.component, self._behind
        against = method.objection(self._bench.info, behind + users) if behind else ""
        if against:
            own = f"{behind} of them are the run's own, before whom nobody stands"
            raise SpecError([f"{self.label}: {users} users of a registry: {against} ({own})"])

    @property
    def _behind(self) -> int:
        """Number of the first user outside the run, of a method that knows users by number."""
        return 0 if self.bits else self._bench.plan.outsiders(self._fit).stop

    def enrolled(self, users: int) -> TrainedMethod:
        """The same method, which reads scores (N, R) of the first R users of a registry.

        Args:
            users: R, at least 1.

        Raises:
            SpecError: the method gives no scores, or cannot tell so many users apart.
        """
        self.check_room(users)
        if self.bits or users < 1:
            text = f"expected a method that gives scores, and at least one user, got {users}"
            raise SpecError([f"{self.label}: {text}"])
        bench = self._bench
        other = TrainedMethod(self._run, self._fit, str(bench.device), trains=self._trains)
        code = torch.zeros(0, dtype=torch.bool, device=bench.device)
        people = [User(self._behind + number, code) for number in range(users)]
        with computing(self._threads, self._interrupt):
            other._bench.stand_in(self._fit, enrolled_for(bench, self._fit, people), users)
        return other

    def negatives(self) -> dict[str, np.ndarray]:
        """What is read in images without a mark, source -> (n, U): the run's own, in their order.

        Of the sources on which the method must not fire: real images, and those of the host.

        Raises:
            MissingResource: the data set is out of reach, as it may be of a bundle.
        """
        with computing(self._threads, self._interrupt):
            return read_unmarked(self._bench, self._fit, self._interrupt)

    @property
    def facts(self) -> dict[str, Any]:
        """What a registry of users keeps of it: which training it is, and how its codes are."""
        method = self._fit.method
        return {
            "bits": self.bits,
            "method": method.component.name,
            "version": method.component.version,
            "training": self._fit.training,
            "codes": method.code.name if self.bits else str(Gives.SCORES),
        }

    def _as_copy(self, generator: Generator) -> Copy:
        bench, method, host = self._bench, self._fit.trainer, self._bench.suite.host
        info = bench.info
        card = CopyCard(
            method=_part("method", method, self._run),
            host=_part("host", host, self._run),
            modality=info.modality,
            shape=info.shape,
            dtype=info.dtype,
            rate=info.rate,
            threads=self._threads,
        )
        return Copy(card, method, host, generator, bench.modality, bench.device)

    def images(self, user: int) -> np.ndarray:
        """(N, H, W, 3) uint8 images of a user's copy that the run has measured, drawn again.

        Raises:
            SpecError: there is no such user.
        """
        bench, count = self._bench, self._bench.plan.images(None)
        wanted = images_of(user, count)
        with computing(self._threads, self._interrupt):
            generator = self._generator(user)

            def latents(numbers: np.ndarray) -> Latents:
                return bench.latents(generator, [wanted[i] for i in numbers])

            who = f"{self.label}: sample"
            return draw(who, generator, latents, count, bench.modality, bench.info, self._interrupt)

    def readings(self, user: int) -> np.ndarray:
        """What the run has read of `images(user)`: rows as `extract` gives them, up to rounding.

        A run reads images under several attacks in one batch, which may move the last digit. Of a
        method that reads weights one row.

        Raises:
            SpecError: there is no such user.
            StoreError: the run has not read them yet.
        """
        self._check(user)
        plan = self._bench.plan
        index = plan.subject(self._fit, None, user)
        assert index is not None  # whose own copy everybody is the first of
        key = plan.reading_key(self._fit, index, None)
        column = Measurer(plan, self._bench.store).column(self._fit, key, Want())
        return np.array(column["logits"])

    def extract(self, images: np.ndarray) -> np.ndarray:
        """What the method reads in images: float32 logits (N, K), bit k is 1 where they exceed 0.

        Of a method without codes (N, U) scores of the users, or (N,) presences.

        Args:
            images: (N, H, W, 3) uint8, N at least 1, of the run's size.

        Raises:
            SpecError: they are something else, or the method reads weights.
            ContractError: the method gives something else.
            StoreError: an artefact of the run is missing or damaged.
        """
        bench, fit = self._bench, self._fit
        if fit.method.component.reads is Reads.WEIGHTS:
            raise SpecError(
                [f"{self.label}: expected a method that reads images, got one that reads weights"]
            )
        samples = _samples(images, bench)
        reader = ImageReader(bench, fit, ("copy", 0), [Want()])
        with computing(self._threads, self._interrupt):
            who = f"{self.label}: extract"
            with boundary.unharmed(who, *bench.loans(fit)):
                reader.read(samples, np.arange(len(samples)))
        return reader.arrays(lambda want: "")["/logits"]

    def _generator(self, user: int) -> Generator:
        self._check(user)
        if isinstance(self._fit.method.component, PassiveMethod) and not self._trains:
            text = "expected a method that puts codes into copies, got one whose copies are "
            more = "trainings of the host, which a bundle does not hold; take them from the run"
            raise SpecError([f"{self.label}: {text}{more}"])
        return copy_of(self._bench, self._fit, user)

    def _check(self, user: int) -> None:
        if not 0 <= user < self.users:
            raise SpecError([f"{self.label}: expected a user in [0, {self.users}), got {user}"])


def trained(opened: OpenRun, label: str, seed: int, device: str = "") -> TrainedMethod:
    """A method of a run.

    Raises:
        SpecError: the run has none of that name or seed, or has not trained it.
    """
    run, fits = opened.folder, opened.plan.fits
    labels = list(dict.fromkeys(fit.method.label for fit in fits))
    if label not in labels:
        raise SpecError([f"unknown method '{label}' in {run}{nearest(label, labels)}"])
    seeds = {fit.seed: fit for fit in fits if fit.method.label == label}
    if seed not in seeds:
        listed = ", ".join(map(str, seeds))
        raise SpecError([f"{label}: expected a training seed of {run} ({listed}), got {seed}"])
    if not opened.store.has(seeds[seed].key):
        raise SpecError(
            [
                f"{label}: expected its training in {opened.store.root}, got none that is of the "
                f"plugins of today; run it again (`fpbench retry {run}`), or name its store"
            ]
        )
    return TrainedMethod(opened, seeds[seed], device)


def _part(kind: str, component: Component[Any], opened: OpenRun) -> Part:
    return part_of(kind, component, opened.catalogue)


def _samples(images: object, bench: Bench) -> torch.Tensor:
    """Arrays as they are in memory -> samples on the device."""
    info = bench.info
    shape = (*info.shape[1:], info.shape[0]) if len(info.shape) == 3 else info.shape
    got = type(images).__name__
    if isinstance(images, np.ndarray):
        if images.shape[1:] == shape and len(images) and images.dtype == info.dtype:
            return from_memory(images.copy(), bench.device)
        got = f"{images.dtype} {images.shape}"
    expected = f"{info.dtype} (N, {', '.join(map(str, shape))})"
    raise SpecError([f"extract: expected {expected} with N ≥ 1, got {got}"])
