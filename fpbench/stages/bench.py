"""What stages share: trained host, states, networks, codes, latents, contexts. It knows no stage.

A `Bench` lives in one process and keeps what it has loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fpbench.api import (
    Attack,
    Conditions,
    ContractError,
    Dataset,
    Generator,
    Latents,
    MissingResource,
    TrainedHost,
    User,
    derive_seed,
)
from fpbench.api.context import Peers
from fpbench.plan import Fit, Plan, PlannedBackbone, users_codes
from fpbench.plan.plan import CHUNK
from fpbench.spec import SuiteAttack
from fpbench.stages import boundary
from fpbench.stages.context import StageContext
from fpbench.stages.images import SplitStream
from fpbench.stages.interrupt import Interrupt
from fpbench.stages.place import Place
from fpbench.stages.process import Visit, call
from fpbench.stages.torch_switches import exact
from fpbench.store import Store

_REMEMBERED_BYTES = 256 << 20

Drawn = tuple[int | str, int]
"""A drawn image: whose copy it is of, or what it is for, and its number."""


class Bench:
    """What the stages of one plan share in one process.

    Args:
        plan: what to run.
        store: where artefacts go.
        device: where tensors live.
        on_progress: told (done, total, text) within long stages.
        interrupt: set when the user wants to stop.
        peers: processes that train together with this one.
        threads: CPU threads of the run, for its records.
        at: told where within a stage it is; None = in nobody's attack.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        device: torch.device,
        on_progress: Callable[[int, int, str], None] | None = None,
        interrupt: Interrupt | None = None,
        peers: Peers | None = None,
        threads: int = 1,
        at: Callable[[Place | None], None] = lambda place: None,
    ) -> None:
        exact()
        self.plan = plan
        self.suite = plan.suite
        self.modality = plan.modality
        self.info = plan.facts.info
        self.store = store
        self.device = device
        self._on_progress = on_progress
        self._interrupt = interrupt or Interrupt()
        self.peers = peers or Peers()
        self.threads = threads
        self.at = at
        self.skip: Collection[Place] = ()  # places that have ended a process before
        self._states: dict[str, dict[str, Tensor]] = {}
        self._loans: dict[str, boundary.Loan] = {}
        self._registries: dict[int, boundary.Loan] = {}
        self._registered: dict[int, int] = {}
        self._codes: dict[int, np.ndarray] = {}
        self._seeds: dict[Drawn, int] = {}
        self.read_alone: set[int] = set()  # fits whose reader was seen to read images one by one
        self._networks: dict[str, Any] = {}
        self._remembered: dict[Hashable, Tensor] = {}

    @cached_property
    def host(self) -> TrainedHost:
        """The trained host, for the harness alone."""
        return self.trained_host(self.plan.host_key)

    def trained_host(self, key: str) -> TrainedHost:
        """A state of the host as a host: the one that is used, or the one that was trained."""
        component, loan = self.suite.host, self.host_loan_of(key)
        with self.visit(f"host {component.name}: assemble", loan):
            generator = component.assemble(loan.lent(), self.context("assemble"))
        return TrainedHost(component, self.state(key), generator)

    def lent_host(self) -> TrainedHost:
        """The trained host, for a plugin."""
        return boundary.lent_host(self.host, self.host_loan)

    @property
    def host_loan(self) -> boundary.Loan:
        """The host's state, as plugins are lent it."""
        return self.host_loan_of(self.plan.host_key)

    def host_loan_of(self, key: str) -> boundary.Loan:
        """A state of the host, as plugins are lent it."""
        return self._loan(key, "the host's state")

    def fit_loan(self, fit: Fit) -> boundary.Loan:
        """A method's state, as it is lent it."""
        return self._loan(fit.key, f"the state of {fit.method.label}")

    def loans(self, fit: Fit) -> list[boundary.Loan]:
        """All that a reader is lent beside what it reads."""
        return [self.host_loan, self.fit_loan(fit), self.registry_loan(fit)]

    def registry_loan(self, fit: Fit) -> boundary.Loan:
        """What a method has prepared of all registered users; empty where it prepares nothing."""
        if fit.index not in self._registries:  # its key is made of those of all users
            key = self.plan.enrol_key(fit)
            empty = boundary.Loan("the registry", {})
            self._registries[fit.index] = self._loan(key, "the registry") if key else empty
        return self._registries[fit.index]

    def registered(self, fit: Fit) -> int:
        """How many users readings tell apart: the run's, or those of `stand_in`."""
        return self._registered.get(fit.index, len(self.plan.users(fit)))

    def remembered(self, name: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """What `make` gives, kept under a name as long as there is room; nobody may change it."""
        if name in self._remembered:
            return self._remembered[name]
        made = make()
        held = sum(t.numel() * t.element_size() for t in self._remembered.values())
        if held + made.numel() * made.element_size() <= _REMEMBERED_BYTES:
            self._remembered[name] = made
        return made

    def stand_in(self, fit: Fit, prepared: dict[str, Tensor], users: int) -> None:
        """Read for other users than the run's: so many, and what was prepared of them."""
        self._registries[fit.index] = boundary.Loan("the registry", prepared)
        self._registered[fit.index] = users

    def _loan(self, key: str, what: str) -> boundary.Loan:
        if key not in self._loans:
            self._loans[key] = boundary.Loan(what, self.state(key))
        return self._loans[key]

    def prepared(self, fit: Fit, attack: SuiteAttack, component: Attack[Any]) -> boundary.Loan:
        """What an attack has learnt before; empty where it learns nothing."""
        key = self.plan.prepared_key(fit, attack, component)
        what = f"what {attack.label} has learnt"
        return self._loan(key, what) if key else boundary.Loan(what, {})

    @contextmanager
    def visit(self, who: str, *loans: boundary.Loan) -> Iterator[None]:
        """A block in which a plugin runs: the process and what it is lent stay as they were."""
        with Visit(), boundary.unharmed(who, *loans):
            yield

    @cached_property
    def features(self) -> torch.nn.Module:
        """The network behind the proxy distance."""
        return self.modality.features(self.device, self.info)

    def network(self, backbone: PlannedBackbone) -> Any:
        """A published network: features of images, their captions' scores, distances of pairs."""
        if backbone.name not in self._networks:
            from fpbench.backbones import load

            assert backbone.path is not None  # only what is there is asked for
            spec = backbone.spec
            self._networks[backbone.name] = load(
                spec.use, backbone.path, self.device, spec.layer, spec.precision, self.info.rate
            )
        return self._networks[backbone.name]

    def codes(self, fit: Fit) -> np.ndarray:
        """(U, K) bool issued codes; behind them those of copies that attacks are tuned on."""
        if fit.index not in self._codes:
            users = self.plan.tuning_users(fit)
            # Short codes may be too few for users that nobody needs.
            count = users.stop if self.plan.others(fit) else users.start
            self._codes[fit.index] = call(users_codes, fit.method, self.suite, count)
        return self._codes[fit.index]

    def code(self, fit: Fit, user: int) -> Tensor:
        """(K,) bool code of one user, on the device; (0,) of a method without codes."""
        if not fit.method.component.bits:
            return torch.zeros(0, dtype=torch.bool, device=self.device)
        return torch.from_numpy(self.codes(fit)[user].copy()).to(self.device)

    def user(self, fit: Fit, user: int) -> User:
        """A user, as methods meet him."""
        return User(user, self.code(fit, user))

    def stranger(self, label: str) -> Generator:
        """A trained generator that is nobody's."""
        component = next(s.component for s in self.suite.strangers if s.label == label)
        loan = self._loan(self.plan.strangers[label], f"the state of {label}")
        with self.visit(f"stranger {label}: assemble", loan):
            return component.assemble(loan.lent(), self.context("assemble"))

    def state(self, key: str) -> dict[str, Tensor]:
        """A stored state, on the device."""
        if key not in self._states:
            self._states[key] = self.on_device(self.store.get(key).arrays)
        return self._states[key]

    def on_device(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        """A state as it is stored, on the device."""
        return {name: torch.from_numpy(array).to(self.device) for name, array in arrays.items()}

    @cached_property
    def dataset(self) -> Dataset[Any]:
        """Where images come from.

        Raises:
            MissingResource: they are not those of the plan.
        """
        dataset, planned = self.suite.dataset, self.plan.facts.digest
        if (found := dataset.digest()) != planned:
            raise MissingResource(
                f"dataset {dataset.name}: expected the images of the plan, with the digest "
                f"{planned}, got {found}; run again, which plans with what is there now"
            )
        return dataset

    @cached_property
    def train_images(self) -> SplitStream:
        """What is trained on."""
        return SplitStream(self.dataset, "train", self.device)

    @cached_property
    def test_images(self) -> SplitStream:
        """What bears no code: negatives in front, then clean images, then carriers."""
        return SplitStream(self.dataset, "test", self.device)

    @cached_property
    def pictures(self) -> SplitStream:
        """What a host of pictures shows: behind all that bears no code."""
        return SplitStream(self.dataset, "test", self.device, first=self.suite.pictures_from)

    def progress(self, done: int, total: int, text: str) -> None:
        """Say how far the stage is.

        Raises:
            Stopped: the user wants to stop.
        """
        self.context().progress(done, total, text)

    def context(
        self,
        *root: Any,
        key: str = "",
        bits: int = 0,
        accumulation: int = 1,
        snapshots: int = 0,
        fitted: dict[str, Tensor] | None = None,
    ) -> StageContext:
        """A context whose randomness derives from the suite's seed and `root`."""
        return StageContext(
            self.device,
            (self.suite.header.seed, *root),
            self.store,
            key=key,
            bits=bits,
            on_progress=self._on_progress,
            interrupt=self._interrupt,
            precision=self.suite.training.precision,
            accumulation=accumulation,
            peers=self.peers,
            snapshots=snapshots,
            snapshots_key=self.plan.snapshots_key(key) if snapshots else "",
            fitted=fitted,
            modality=self.modality,
            info=self.info,
            weights=self.plan.weights,
        )

    def latents(self, generator: Generator, images: Sequence[Drawn]) -> Latents:
        """What a generator draws these images from; seeds and conditions are every method's."""
        return generator.prior([self._seed(image) for image in images], self.conditions(images))

    def _seed(self, image: Drawn) -> int:
        if image not in self._seeds:
            self._seeds[image] = self._drawn(image)
        return self._seeds[image]

    def _drawn(self, image: Drawn) -> int:
        if not self.suite.host.pictures:
            return derive_seed(self.suite.header.seed, "latent", *image)
        # Users in a row have pictures in a row, so that each picture is shown about as often.
        whose, number = image
        if isinstance(whose, int):
            return whose * self.suite.population.images + number
        return derive_seed(self.suite.header.seed, "latent", whose) + number

    def conditions(self, images: Sequence[Drawn]) -> Conditions:
        """Captions or classes of the test split, one an image; empty where the data have none.

        Empty too where the host shows pictures, which nobody has asked for.

        Raises:
            ContractError: the data set says that it has some, and does not give as many.
        """
        if self.suite.host.pictures or not self.suite.dataset.info().conditions:
            return ()
        seed, among = self.suite.header.seed, len(self.test_images)
        rows = [derive_seed(seed, "condition", *image) % among for image in images]
        found = self.test_images.conditions(np.array(rows, dtype=np.int64))
        if len(found) != len(rows):
            raise ContractError(
                f"dataset {self.dataset.name}: expected {len(rows)} "
                f"{self.dataset.info().conditions}, as its info() says, got {len(found)}; give one "
                "for each index in conditions()"
            )
        return found

    def host_images(self, count: int) -> list[Drawn]:
        """What the host draws as negatives."""
        # The host's images are those of the copies' own latents, user by user, so that they pair.
        images = self.suite.population.images
        users = range(-(-count // images))
        return [image for user in users for image in images_of(user, images)][:count]

    def carriers(self, user: int, count: int) -> Tensor:
        """(count, 3, H, W) clean images that forgeries of a user's images start from."""
        first = self.suite.carriers_from
        # Each user has his own, as far as they go, so that users stay independent.
        own = np.arange(user * count, (user + 1) * count) % (len(self.test_images) - first)
        return self.test_images.read(first + own)


def attack_root(component: Attack[Any]) -> tuple[Any, ...]:
    """What the draws of an attack derive from: never its strength, so that curves share them."""
    return ("attack", component.name, component.params.model_dump(mode="json"))


def images_of(user: int | str, count: int) -> list[Drawn]:
    """A user's first images, or the first for a purpose."""
    return [(user, number) for number in range(count)]


def chunks(count: int, size: int = CHUNK) -> list[np.ndarray]:
    """The indices 0 … count-1 in runs of `size`."""
    return [np.arange(first, min(first + size, count)) for first in range(0, count, size)]
