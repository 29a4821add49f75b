"""What each stage does. The only part of the harness that runs plugins.

A `Session` lives in one process and keeps what stages share (host, fitted states, networks). Every
body first looks for its artefact, so that calling it again is free.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fpbench.api import (
    Attack,
    Generator,
    NoSpace,
    OutOfMemory,
    StageError,
    TrainedHost,
    derive_seed,
    digest,
)
from fpbench.api.context import Peers
from fpbench.execute import boundary, resources
from fpbench.execute.checks import check_state
from fpbench.execute.context import StageContext, to_arrays
from fpbench.execute.images import SplitStream
from fpbench.execute.interrupt import Interrupt
from fpbench.execute.measure import issue_key
from fpbench.execute.process import Visit, call
from fpbench.execute.readings import Failures, GeneratorReader, ImageReader, chunks
from fpbench.execute.tuning import tune
from fpbench.nn.features import ToyFeatures
from fpbench.plan import AttackPoint, Fit, Plan, PlannedBackbone, Want, issued_codes
from fpbench.store import Store


class Session:
    """Runs the stages of one plan in this process.

    Args:
        plan: what to run.
        store: where artefacts go.
        device: where tensors live.
        on_progress: told (done, total, text) within long stages.
        interrupt: set when the user wants to stop.
        peers: processes that train together with this one.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        device: torch.device,
        on_progress: Callable[[int, int, str], None] | None = None,
        interrupt: Interrupt | None = None,
        peers: Peers | None = None,
    ) -> None:
        # As the keys say. Of matrix products torch's default is exact, of convolutions it is not.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.deterministic = True
        self.plan = plan
        self.suite = plan.suite
        self.store = store
        self.device = device
        self._on_progress = on_progress
        self._interrupt = interrupt or Interrupt()
        self.peers = peers or Peers()
        self._states: dict[str, dict[str, Tensor]] = {}
        self._loans: dict[str, boundary.Loan] = {}
        self._codes: dict[int, np.ndarray] = {}
        self._latents: dict[int | str, list[int]] = {}
        self.read_alone: set[int] = set()  # fits whose reader was seen to read images one by one
        self._networks: dict[str, Any] = {}

    # -- trainings ---------------------------------------------------------------------------

    def fit_host(self) -> None:
        """Train the host, unless the store has it."""
        key = self.plan.host_training
        host = self.suite.host
        if not self.store.has(key):
            self.suite.dataset.verify()
        who = f"host {host.name}: fit"

        def body(ctx: StageContext) -> object:
            with self.visit(who):
                return host.fit(self._train_images, ctx)

        self._train(
            key,
            who,
            lambda pieces: self.context(
                "host-fit", key=key, accumulation=pieces, snapshots=self._snapshots
            ),
            body,
        )

    def fit_method(self, fit: Fit) -> None:
        """Train a method, unless the store has it."""
        method, who = fit.method.component, f"{fit.method.label}: fit"
        own = not method.builds_on_host
        # What trains a generator of its own does not wait for a choice among the host's states.
        host = self.plan.host_training if own else self.plan.host_key

        def body(ctx: StageContext) -> object:
            if not method.uses_host:
                with self.visit(who):
                    return method.fit(
                        boundary.no_host(self.suite.host, who), self._train_images, ctx
                    )
            loan = self._loan(host, "the host's state")
            with self.visit(who, loan):
                lent = boundary.lent_host(self._trained_host(host), loan)
                return method.fit(lent, self._train_images, ctx)

        self._train(
            fit.training,
            who,
            lambda pieces: self.context(
                "fit",
                fit.drawn_from,
                key=fit.training,
                bits=method.bits,
                accumulation=pieces,
                snapshots=self._snapshots if own else 0,
            ),
            body,
        )

    def choose_host(self) -> None:
        """Choose among the snapshots of the host's training."""
        from fpbench.execute.choosing import choose_host

        choose_host(self)

    def choose(self, fit: Fit) -> None:
        """Choose among the snapshots of a method's training."""
        from fpbench.execute.choosing import choose

        choose(self, fit)

    def _train(
        self,
        key: str,
        who: str,
        context: Callable[[int], StageContext],
        body: Callable[[StageContext], object],
    ) -> None:
        """Run a training; once more with half the batch at a time if it does not fit."""
        if self.store.has(key):
            return
        cuda = self.device.type == "cuda"
        if cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
        with resources.Peak() as peak:
            ctx, fitted = context(1), None
            try:
                fitted = body(ctx)
            except (MemoryError, RuntimeError) as error:
                # The other processes of a group are in the middle of a step.
                if not _out_of_memory(error) or self.peers.count > 1:
                    raise
            # Behind the handler: an error in hand keeps alive all that filled the memory.
            if fitted is None:
                ctx = context(2)
                fitted = self._train_in_halves(who, ctx, body)
            state = check_state(who, fitted)
        if self.peers.rank:
            return
        cost: dict[str, float] = {"wall_s": ctx.elapsed_s, "peak_memory_bytes": peak.bytes}
        if cuda:
            cost["peak_gpu_bytes"] = torch.cuda.max_memory_allocated(self.device)
        meta = {
            "cost": cost,
            "phases": list(ctx.curves),  # in order; JSON sorts names
            "curves": ctx.curves,
            "rates": ctx.rates,
            "precision": ctx.precision,
            "pieces": ctx.accumulation,
            "devices": self.peers.count,
            "device": str(self.device),
        }
        self.store.put(self.plan.training_images_key(key), ctx.sheets, {})
        self.store.put(key, to_arrays(state), meta)
        self.store.drop_checkpoints(key)

    def _train_in_halves(
        self, who: str, ctx: StageContext, body: Callable[[StageContext], object]
    ) -> object:
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        try:
            return body(ctx)
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
            first = (str(error) or type(error).__name__).splitlines()[0]
            raise OutOfMemory(
                f"{who}: expected to fit into the memory of {self.device}, got out of memory with "
                f"half the batch at a time too ({first}); use smaller images "
                "or networks, or a larger device"
            ) from None

    # -- what stages share -------------------------------------------------------------------

    @cached_property
    def host(self) -> TrainedHost:
        """The trained host, for the harness alone."""
        return self._trained_host(self.plan.host_key)

    def _trained_host(self, key: str) -> TrainedHost:
        component, loan = self.suite.host, self._loan(key, "the host's state")
        with self.visit(f"host {component.name}: assemble", loan):
            generator = component.assemble(loan.lent(), self.context("assemble"))
        return TrainedHost(component, self.state(key), generator)

    def lent_host(self) -> TrainedHost:
        """The trained host, for a plugin."""
        return boundary.lent_host(self.host, self.host_loan)

    @property
    def host_loan(self) -> boundary.Loan:
        """The host's state, as plugins are lent it."""
        return self._loan(self.plan.host_key, "the host's state")

    def fit_loan(self, fit: Fit) -> boundary.Loan:
        """A method's state, as it is lent it."""
        return self._loan(fit.key, f"the state of {fit.method.label}")

    def _loan(self, key: str, what: str) -> boundary.Loan:
        if key not in self._loans:
            self._loans[key] = boundary.Loan(what, self.state(key))
        return self._loans[key]

    @contextmanager
    def visit(self, who: str, *loans: boundary.Loan) -> Iterator[None]:
        """A block in which a plugin runs: the process and what it is lent stay as they were."""
        with Visit(), boundary.unharmed(who, *loans):
            yield

    @property
    def _snapshots(self) -> int:
        return self.suite.training.snapshots

    @cached_property
    def features(self) -> ToyFeatures:
        """The network behind the proxy distance."""
        return ToyFeatures().to(self.device)

    def network(self, backbone: PlannedBackbone) -> Any:
        """A published network: features of images, or distances of pairs."""
        if backbone.name not in self._networks:
            from fpbench.backbones import load

            assert backbone.path is not None  # only what is there is asked for
            spec = backbone.spec
            self._networks[backbone.name] = load(
                spec.use, backbone.path, self.device, spec.layer, spec.precision
            )
        return self._networks[backbone.name]

    def codes(self, fit: Fit) -> np.ndarray:
        """(U, K) bool issued codes; behind them those of copies that attacks are tuned on."""
        if fit.index not in self._codes:
            users = self.plan.tuning_users()
            # Short codes may be too few for users that nobody needs.
            count = users.stop if self.plan.tuned_attacks(fit) else users.start
            self._codes[fit.index] = issued_codes(
                fit.method.component, self.suite.header.seed, count
            )
        return self._codes[fit.index]

    def code(self, fit: Fit, user: int) -> Tensor:
        """(K,) bool code of one user, on the device."""
        return torch.from_numpy(self.codes(fit)[user].copy()).to(self.device)

    def state(self, key: str) -> dict[str, Tensor]:
        """A stored state, on the device."""
        if key not in self._states:
            self._states[key] = self.on_device(self.store.get(key).arrays)
        return self._states[key]

    def on_device(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        """A state as it is stored, on the device."""
        return {name: torch.from_numpy(array).to(self.device) for name, array in arrays.items()}

    @cached_property
    def _train_images(self) -> SplitStream:
        return SplitStream(self.suite.dataset, "train", self.device)

    @cached_property
    def _real_negatives(self) -> SplitStream:
        count = self.plan.negatives("real", None)
        return SplitStream(self.suite.dataset, "test", self.device, count=count)

    def context(
        self, *root: Any, key: str = "", bits: int = 0, accumulation: int = 1, snapshots: int = 0
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
        )

    # -- reference ---------------------------------------------------------------------------

    def reference(self) -> None:
        """Features of the real images of the reference split."""
        key = self.plan.reference_key
        if self.store.has(key):
            return
        self.store.put(key, {"features": self._of_real(self.features)}, {})

    def backbone(self, name: str) -> None:
        """Load a published network and try it on the real images, once for each data set."""
        from fpbench.backbones.distances import reference_arrays

        backbone = next(b for b in self.plan.ready if b.name == name)
        key = self.plan.backbone_key(backbone)
        if self.store.has(key):
            return
        network = self.network(backbone)
        if backbone.features:
            self.store.put(key, reference_arrays(self._of_real(network)), {})
            return
        stream = SplitStream(self.suite.dataset, "reference", self.device)
        pair = stream.read(np.arange(2))
        distance = network(pair[:1], pair[1:]).cpu().numpy()
        if not np.isfinite(distance).all():
            raise StageError(f"backbone {name}: expected a finite distance, got {distance}")
        self.store.put(key, {"distance": distance}, {})

    def host_features(self) -> None:
        """Features of host images in every published network, once for each host."""
        for backbone in self.plan.ready:
            key = self.plan.host_features_key(backbone)
            if not backbone.features or self.store.has(key):
                continue
            network, host, parts = self.network(backbone), self.host.generator, []
            seeds = self._host_seeds(self.suite.negatives.host)
            for chunk in chunks(len(seeds)):
                images = host.sample(host.prior([seeds[i] for i in chunk]))
                parts.append(network(images).cpu().numpy())
            self.store.put(key, {"features": np.concatenate(parts)}, {})

    def _of_real(self, network: Callable[[Tensor], Tensor]) -> np.ndarray:
        stream = SplitStream(self.suite.dataset, "reference", self.device)
        parts = [network(stream.read(chunk)).cpu().numpy() for chunk in chunks(len(stream))]
        return np.concatenate(parts)

    # -- one copy ----------------------------------------------------------------------------

    def read_copy(self, fit: Fit, user: int) -> Failures:
        """Read everything that is pending of one copy, and of the coalitions it is first in.

        One attack's failure stops no other.
        """
        plan = self.plan
        keys = {
            model: plan.reading_key(fit, index, model)
            for model in plan.open_points(fit)
            if (index := plan.subject(model, user)) is not None
        }
        pending = self._pending(fit, keys)
        return self.copy_reader(fit, user, keys).run(pending) if pending else {}

    def copy_reader(
        self, fit: Fit, user: int, keys: Mapping[AttackPoint | None, str] | None = None
    ) -> GeneratorReader:
        """A user's copy, to be attacked and read."""
        return GeneratorReader(
            self,
            fit,
            lambda: self._issue(fit, user),
            origin=("copy", user),
            keys=keys or {},
            latents=lambda model: self.latent_seeds(user, self.plan.images(model)),
            others=lambda size: [self._issue(fit, user + i) for i in range(1, size)],
            preceding=lambda: self._issue(fit, user - 1) if user else None,
            sheets=lambda model: self.plan.sheet_key(fit, user, model),
            drawings=lambda model: self.plan.drawing_key(fit, user, model),
        )

    def tuned(self, fit: Fit, models: Sequence[AttackPoint]) -> Attack[Any]:
        """The attack of these points, with the parameters that serve best where it is tuned."""
        attack = models[0].attack
        if not attack.candidates:
            return attack.component
        return tune(self, fit, self.plan.tuned_attacks(fit)[attack.label])

    def tune(self, fit: Fit) -> None:
        """Tune every attack that the suite wants tuned; what fails, fails again in its cells."""
        for models in self.plan.tuned_attacks(fit).values():
            try:
                self.tuned(fit, models)
            except NoSpace:
                raise
            except Exception as error:  # noqa: BLE001 - a plugin may fail in any way
                del error  # reading the copies meets it again, and says so in the cells

    def read_negatives(self, fit: Fit) -> Failures:
        """Read everything that is pending of the negatives: real images, host, attacked host."""
        plan = self.plan
        failures: Failures = {}
        real = plan.null_key(fit, "real", None)
        if columns := self._pending(fit, {None: real}, measured=False):
            failures |= self._read_real(fit, real, columns[None])
        keys = {
            model: plan.null_key(fit, "host", model)
            for model in plan.open_points(fit)
            if plan.host_is_negative(model)
        }
        if pending := self._pending(fit, keys, measured=False):
            reader = GeneratorReader(
                self,
                fit,
                lambda: self.host.generator,
                origin=("host",),
                keys=keys,
                latents=lambda model: self._host_seeds(plan.negatives("host", model)),
                sheets=lambda model: plan.sheet_key(fit, None, model),
                drawings=lambda model: plan.drawing_key(fit, None, model),
            )
            failures |= reader.run(pending)
        return failures

    def secrecy(self, fit: Fit) -> None:
        """Try to tell copies from the host."""
        from fpbench.execute.secrecy import measure_secrecy

        measure_secrecy(self, fit)

    def secrecy_images(self, fit: Fit, user: int | None, count: int) -> Tensor:
        """(count, 3, H, W) images of a copy, or of the host, that nothing else is measured on."""
        generator = self.host.generator if user is None else self._issue(fit, user)
        who = "host" if user is None else user
        seeds = self.latent_seeds(f"secrecy {who}", count)
        who = f"{fit.method.label}: sample"
        with boundary.unharmed(who, self.host_loan, self.fit_loan(fit)):
            parts = [
                boundary.drawn(generator, generator.prior([seeds[i] for i in c]))
                for c in chunks(count)
            ]
        return torch.cat(parts)

    def _pending(
        self, fit: Fit, keys: Mapping[AttackPoint | None, str], *, measured: bool = True
    ) -> dict[AttackPoint | None, list[Want]]:
        """Model point -> the columns that its reading still lacks, where there are any.

        Of negatives that are only read, not measured, no backbone is asked.
        """
        pending = {}
        for model, key in keys.items():
            there = self.store.columns(key)
            wants = [w for w in self.plan.wants(fit, model) if measured or w.backbone is None]
            columns = [want for want in wants if self.plan.column(want) not in there]
            if columns:
                pending[model] = columns
        return pending

    def _issue(self, fit: Fit, user: int) -> Generator:
        method, who = fit.method.component, f"{fit.method.label}: issue"
        loan, code = self.fit_loan(fit), self.code(fit, user)
        key = issue_key(fit, user, self.codes(fit)[user])
        ctx = self.context("issue", user, key=key)
        started, new = time.monotonic(), not self.store.has(key)
        with boundary.unharmed(who, self.host_loan, loan):
            if new:
                made = call(method.issue, loan.lent(), self.lent_host(), code, ctx)
                issued = boundary.cloned(check_state(who, made))
            else:
                issued = self.state(key)
            given = boundary.cloned(issued)
            copy = call(method.assemble, loan.lent(), self.lent_host(), given, ctx)
        if new:
            meta = {"cost": {"wall_s": time.monotonic() - started}}
            self.store.put(key, to_arrays(issued), meta)
            self.store.drop_checkpoints(key)
        return boundary.returned(copy)

    def latent_seeds(self, user: int | str, count: int) -> list[int]:
        """Seeds of a user's first `count` latents; the same for every method."""
        known = self._latents.setdefault(user, [])
        seed = self.suite.header.seed
        known += [derive_seed(seed, "latent", user, i) for i in range(len(known), count)]
        return known[:count]

    def _host_seeds(self, count: int) -> list[int]:
        # The host's images are those of the copies' own latents, user by user, so that they pair.
        images = self.suite.population.images
        users = range(-(-count // images))
        return [seed for user in users for seed in self.latent_seeds(user, images)][:count]

    def _read_real(self, fit: Fit, key: str, columns: list[Want]) -> Failures:
        reader = ImageReader(self, fit, ("real",), columns)
        who = f"{fit.method.label}: extract"
        with boundary.unharmed(who, self.host_loan, self.fit_loan(fit)):
            for chunk in chunks(len(self._real_negatives)):
                reader.read(self._real_negatives.read(chunk), chunk)
        self.store_columns(key, reader)
        return {(None, point): error for point, error in reader.failures.items()}

    def carriers(self, user: int, count: int) -> Tensor:
        """(count, 3, H, W) clean images that forgeries of a user's images start from."""
        suite = self.suite
        stream = SplitStream(suite.dataset, "test", self.device, first=suite.carriers_from)
        # Each user has his own, as far as they go, so that users stay independent.
        return stream.read(np.arange(user * count, (user + 1) * count) % len(stream))

    def store_columns(
        self,
        key: str,
        reader: ImageReader,
        attack_s: float = 0.0,
        effect: Mapping[str, bool] | None = None,
    ) -> None:
        """Commit what a reader has read as one shard, and what the attack did to the copy."""
        names = [self.plan.column(want) for want in reader.columns()]
        if not names:
            return
        arrays = reader.arrays(self.plan.column)
        seconds = reader.extract_s / max(reader.extracted, 1)
        cost = {"extract_s_per_image": seconds, "attack_s": attack_s}
        meta = {"cost": cost, **(effect or {})}
        self.store.append(key, digest(sorted(names))[:32], arrays, names, meta)


def _out_of_memory(error: BaseException) -> bool:
    """Whether memory is what is lacking; torch has no class of its own for that of a CPU."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        "can't allocate memory" in str(error)
    )
