"""What a plugin implements: hosts, methods, attacks, data sets, metrics, executors.

A component is registered and stateless: it holds its parameters and nothing else. What it learns
is a `State`; what it builds from a state is a `Generator`. Samples cross every boundary as a file
could carry them: images uint8 (N, 3, H, W), sRGB, in channels-last memory. Nothing here imports
torch before a copy is built.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from fpbench.api.component import Component
from fpbench.api.errors import ContractError
from fpbench.api.evidence import Evidence
from fpbench.api.generator import POST, Generator
from fpbench.api.measurement import CellEvidence, Row
from fpbench.api.packing import pack, taken
from fpbench.api.params import Params
from fpbench.api.types import (
    Access,
    Conditions,
    Enrolled,
    Gives,
    Needs,
    Offer,
    Placement,
    Reads,
    Refusal,
    SampleInfo,
    SampleStream,
    State,
    Strength,
    User,
)

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from torch import Tensor
    from torch.nn import Module

    from fpbench.api.context import Context

P = TypeVar("P", bound=Params)
T = TypeVar("T")


@dataclass(frozen=True)
class TrainedHost:
    """A host after training: what methods build on and, where access allows, attackers use."""

    component: Host[Any]
    state: State
    generator: Generator

    def encode(self, samples: Tensor, ctx: Context, step: str | None = None) -> Any:
        """Latents that reproduce `samples` as well as the host can; see `Host.encode`."""
        return self.component.encode(self.state, samples, ctx, step)


class Host(Component[P]):
    """A generator before fingerprinting.

    Class attributes beside the component's:
        offers: what it can do beyond `fit` and `assemble`; methods and attacks that ask for
            anything else are refused before anything is trained.
        modalities: of the samples that it makes.
        pictures: its samples are finished pictures, and there is no model: attacks on models and
            methods that need weights are refused. Seed s picks the picture s modulo their number;
            the images of one user have consecutive seeds, so that they are different pictures.
            Methods learn from those that `fit` keeps of the training split, and what is measured
            are those of `shown`.
    """

    offers: frozenset[Offer] = frozenset(Offer)
    modalities: ClassVar[frozenset[str]] = frozenset({"image"})
    pictures: ClassVar[bool] = False

    def objection(self, images: SampleInfo) -> str:
        """Why it cannot be trained on such images, and what to set; empty if it can. No torch."""
        del images
        return ""

    def output_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shapes of the output step's weights by name; empty where only training tells.

        What a method needs of them it can then refuse for before anything is trained. No torch.
        """
        return {}

    @abstractmethod
    def fit(self, images: SampleStream, ctx: Context) -> State:
        """Train on `images`."""

    def shown(self, images: SampleStream, ctx: Context) -> State:
        """The state whose samples are measured, of a host of `pictures`.

        Args:
            images: those of the test split that play no other part: they are neither negatives,
                nor an adversary's, nor what forgeries start from.
            ctx: seeds and device.
        """
        return self.fit(images, ctx)

    @abstractmethod
    def assemble(self, state: State, ctx: Context) -> Generator:
        """The generator of a state: no training, no randomness."""

    def untrained(self, state: State, ctx: Context) -> Generator:
        """A generator with the steps and latents of `assemble`, its weights freshly drawn."""
        del state, ctx
        raise self._not_offered(Offer.UNTRAINED)

    def encode(self, state: State, samples: Tensor, ctx: Context, step: str | None = None) -> Any:
        """Latents of samples (N, ...); with `step`, what goes into that step."""
        del state, samples, ctx, step
        raise self._not_offered(Offer.ENCODE)

    def finetune(
        self,
        state: State,
        generator: Generator,
        images: Tensor,
        learning_rate: float,
        marks: Sequence[int],
        ctx: Context,
    ) -> Iterator[tuple[int, Generator]]:
        """Go on with the host's public objective on clean images, starting from `generator`.

        The whole chain learns, from `generator.output` to the last step or to before an opaque one:
        the objective sees the images that the copy gives out. `fpbench.nn.generator.Tail` is that.

        Args:
            state: the public host's state.
            generator: a copy whose `output` step takes this host's latents; not changed.
            images: (N, 3, H, W) uint8, what the adversary owns.
            learning_rate: Adam's.
            marks: rising step counts at which to yield.
            ctx: seeds and device.

        Yields:
            (mark, generator after that many steps), all along one trajectory.
        """
        del state, generator, images, learning_rate, marks, ctx
        raise self._not_offered(Offer.FINETUNE)

    def unpack(self, packed: State, ctx: Context) -> Generator:
        """A generator of this kind with the weights of a file, by "step/name".

        No state of a training is at hand: what to build follows from the parameters and from the
        weights.

        Args:
            packed: see `fpbench.api.packing`; it may share memory with what is returned.
            ctx: device.

        Raises:
            ContractError: it cannot build one, or the file is of another kind.
        """
        del packed, ctx
        raise ContractError(
            f"host {self.name}: expected a host that builds a generator from a file of weights, "
            "got one that cannot; implement `unpack`"
        )

    def _not_offered(self, offer: Offer) -> ContractError:
        return ContractError(
            f"host {self.name}: expected to be asked for what it offers "
            f"({', '.join(sorted(self.offers)) or 'nothing'}), got a request for {offer}; "
            "implement it, or take it out of `offers`"
        )


class Code(Component[P]):
    """How codes are drawn and whom a reading accuses; goes with any method that gives BITS.

    numpy only. Letters: N readings, U users, K bits. The book is what all codes of a suite share.
    """

    def book(self, bits: int, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        """What all codes of a suite share (Tardos: the biases), drawn once for each K."""
        del bits, rng
        return {}

    def objection(self, bits: int) -> str:
        """Why there are no codes of so many bits, and what to set; empty if there are."""
        del bits
        return ""

    @abstractmethod
    def draw(
        self, bits: int, count: int, rng: np.random.Generator, book: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """(count, K) bool codes, independent of each other."""

    @abstractmethod
    def match(
        self, logits: np.ndarray, codes: np.ndarray, book: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """(N, U) float64: how well each reading (N, K) fits each code (U, K); more is better."""

    @abstractmethod
    def log_tail(
        self, logits: np.ndarray, score: np.ndarray, book: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """(N, U) log P(a fresh code of an innocent fits reading i at least as well as score[i, j]).

        The null is over codes: an innocent's code is independent of any image, so the tail of the
        reading in hand is exact for any number of users, whatever the reader's bias.

        Args:
            logits: (N, K).
            score: (N, U), from `match`.
            book: of the suite.

        Returns:
            Logarithms in [-inf, 0].
        """


class Method(Component[P]):
    """A fingerprinting method: fit once, issue per user, extract from samples or weights.

    Class attributes beside the component's:
        placement: where the fingerprint sits.
        reads: what `extract` looks at; attacks on samples are refused where it is weights.
        gives: what a reading is; only BITS have codes and a field `bits` in their parameters.
        modalities: of the samples that it marks.
        keeps_sample: True when a copy shows the host's image of the same latent, so that paired
            image measures against the host make sense.
        builds_on_host: True when a copy is the host's own network with other weights or further
            steps, and `fit` starts from the generator it is given; False when the method trains a
            generator of its own.
        host_latents: False when its copies take latents of their own, so that attacks which feed
            them the host's latents are refused.
        opaque: True when nobody can change the weights of the marking step here (another process,
            an exported graph): attacks that change weights are refused. The step's module says
            `opaque = True` too, and is handed on as it is.
        trains: False when `fit` trains nothing: what it draws (a pattern, a key) is drawn once for
            all training seeds, and it is run once.
        uses_host: False when `fit` takes nothing of the host: it then neither waits for it nor is
            made again with another one, and what it is handed as host refuses to be asked.
        asks: what the host must offer.
        afterwards: names of parameters that `enrol` and `extract` alone depend on; methods that
            differ in these share trainings and copies.
        negatives: sources of samples that must not fire, of "real" and "host"; detectors of
            generated samples name real ones alone.
        separable: column u of SCORES depends on user u alone, so that leaving him out of the
            registry is leaving out his column.
        gate: least clean bit accuracy on unseen codes (BITS), closed-set top-1 (SCORES) or AUROC
            (PRESENCE) that counts as converged.
    """

    placement: ClassVar[Placement]
    reads: Reads = Reads.SAMPLES
    gives: ClassVar[Gives] = Gives.BITS
    modalities: ClassVar[frozenset[str]] = frozenset({"image"})
    keeps_sample: ClassVar[bool]
    asks: frozenset[Offer] = frozenset()
    afterwards: ClassVar[frozenset[str]] = frozenset()
    negatives: ClassVar[frozenset[str]] = frozenset({"real", "host"})
    separable: ClassVar[bool] = False
    builds_on_host: ClassVar[bool] = True
    uses_host: bool = True
    host_latents: ClassVar[bool] = True
    opaque: ClassVar[bool] = False
    trains: bool = True
    gate: ClassVar[float] = 0.9

    @property
    def bits(self) -> int:
        """Length K of a code; 0 for a method without codes."""
        return int(getattr(self.params, "bits", 0))

    @property
    def enrols(self) -> bool:
        """Whether `enrol` prepares anything, which readings then stand on."""
        return type(self).enrol is not Method.enrol

    @abstractmethod
    def fit(self, host: TrainedHost, images: SampleStream, ctx: Context) -> State:
        """Train everything that is paid once; codes come from `ctx.training_codes` alone."""

    def given_codes(self, host: Host[Any], users: int, images: int) -> np.ndarray | None:
        """(U, K) bool codes that the users' samples bear already; None: the harness draws some.

        Only with a host of `pictures`: user u has those from u times `images` on, in their order.

        Args:
            host: that shows them.
            users: U.
            images: of each.
        """
        del host, users, images
        return None

    def issue(
        self, state: State, host: TrainedHost, user: User, samples: SampleStream, ctx: Context
    ) -> State:
        """What is stored for one user; may train, and its seconds are a measure.

        Args:
            state: from `fit`.
            host: the trained host.
            user: who gets the copy, with his code.
            samples: those that `fit` has learnt from.
            ctx: seeds and device.

        Returns:
            The user's state; the default keeps the code alone.
        """
        del state, host, samples, ctx
        return {"code": user.code}

    @abstractmethod
    def assemble(self, state: State, host: TrainedHost, issued: State, ctx: Context) -> Generator:
        """The user's copy, exactly what he would hold: no training, no randomness, no extractor."""

    def enrol(
        self,
        state: State,
        host: TrainedHost,
        users: Sequence[Enrolled],
        samples: SampleStream,
        ctx: Context,
    ) -> State:
        """What the owner prepares of all registered users, found in `Evidence.registry`; may train.

        Args:
            state: from `fit`.
            host: the trained host.
            users: in the order of the columns of SCORES.
            samples: those that `fit` has learnt from.
            ctx: seeds and device.

        Returns:
            The registry's state; nothing as it comes.
        """
        del state, host, users, samples, ctx
        return {}

    @abstractmethod
    def extract(self, state: State, host: TrainedHost, evidence: Evidence, ctx: Context) -> Tensor:
        """The reading, as `gives` says: (N, K), (N, U) or (N,) floats. It draws nothing.

        A reader of weights gives one row a copy: zeros where the place that it reads is gone.
        """

    def pack(self, copy: Generator) -> State:
        """A copy as a file: what its user holds, and no secret of the owner's.

        As it comes, the weights of all its steps by "step/name".

        Raises:
            ContractError: it has a step whose weights are not here.
        """
        return pack(f"method {self.name}", copy)

    def unpack(self, packed: State, host: Host[Any], ctx: Context) -> Generator:
        """The copy again, which draws the same images: no state, neither of `fit` nor the host's.

        As it comes, for copies that have the host's steps with other weights.

        Args:
            packed: from `pack`; it may share memory with what is returned.
            host: with the parameters that the copy's host was trained with.
            ctx: device.

        Raises:
            ContractError: method or host cannot open files, or the file is of another kind.
        """
        return host.unpack(packed, ctx)

    def objection(self, info: SampleInfo, users: int) -> str:
        """Why it cannot serve such samples, or so many users of one `fit`; empty if it can.

        No torch. It says what to set.
        """
        del info, users
        return ""

    def lacks(self) -> str:
        """What of this machine it misses, and how to get it; empty if nothing. Quick, no torch.

        A plan and `fpbench prepare` say it; until it is there `fit` raises MissingResource.
        """
        return ""

    def prepare(self) -> str:
        """Get what it needs of this machine; what `fpbench prepare` calls. A note for the user.

        Returns:
            What is there now; empty where it needs nothing, as it comes.

        Raises:
            MissingResource: it cannot be had; the message says how to bring it by hand.
        """
        return ""

    def refuse(self, host: Host[Any], attack: Attack[Any] | None) -> Refusal | None:
        """A reason why this method has no result for `attack` on `host`; called at plan time."""
        del host, attack
        return None


class PostHocMethod(Method[P]):
    """A method that marks finished images: the copy is the host plus one step called "post"."""

    placement: ClassVar[Placement] = Placement.POST_HOC
    keeps_sample: ClassVar[bool] = True

    @abstractmethod
    def embedder(self, state: State, ctx: Context) -> Module:
        """Module (samples float (N, ...) in [-1, 1], codes bool (N, K)) -> samples float.

        Its parameters and buffers are what the user holds, so the extractor must not be part of it;
        and what it marks with must be among them, or attacks on weights would not reach it.
        """

    def embedder_of(self, weights: State, ctx: Context) -> Module:
        """The embedder with these weights, its own: what a file of a copy is opened with.

        Raises:
            ContractError: it cannot be built of its weights alone.
        """
        del weights, ctx
        raise ContractError(
            f"method {self.name}: expected an embedder that can be built of its weights alone, got "
            "one that cannot; implement `embedder_of`"
        )

    def assemble(self, state: State, host: TrainedHost, issued: State, ctx: Context) -> Generator:
        """The host's generator with the embedder and the user's code behind it."""
        if "code" not in issued:
            raise ContractError(
                f"method {self.name}: expected the issued state to hold 'code', got "
                f"{sorted(issued)}; keep the default issue() or add the code to what it returns"
            )
        embedder = self.embedder(state, ctx)
        return _marked(self.name, host.generator, embedder, issued["code"], ctx)

    def unpack(self, packed: State, host: Host[Any], ctx: Context) -> Generator:
        """The host's steps, and behind them the embedder with the user's code."""
        own, rest = taken(f"method {self.name}: unpack", packed, POST)
        weights = {name.removeprefix("embedder."): t for name, t in own.items() if name != "code"}
        generator = host.unpack(rest, ctx)
        return _marked(self.name, generator, self.embedder_of(weights, ctx), own["code"], ctx)


def _marked(
    name: str, generator: Generator, embedder: object, code: Tensor, ctx: Context
) -> Generator:
    from torch import nn

    from fpbench.api.post import PostStep

    if not isinstance(embedder, nn.Module):
        raise ContractError(
            f"method {name}: embedder: expected a torch.nn.Module, got a "
            f"{type(embedder).__name__}; write a class with `forward(images, codes)` that holds "
            "what it marks with as parameters or buffers"
        )
    step = PostStep(embedder, code, ctx.modality).to(ctx.device)
    return generator.replace(POST, step, after=list(generator.steps)[-1])


class PassiveMethod(Method[P]):
    """A method that inserts nothing: a user's copy is the host trained again with his seed.

    The harness makes such copies once for all passive methods and trainings, and their cost is
    nobody's.
    """

    placement: ClassVar[Placement] = Placement.PASSIVE
    keeps_sample: ClassVar[bool] = False
    builds_on_host: ClassVar[bool] = False

    def issue(
        self, state: State, host: TrainedHost, user: User, samples: SampleStream, ctx: Context
    ) -> State:
        """The host's `fit`, with the user's seed in the context."""
        del state, user
        return host.component.fit(samples, ctx)

    def assemble(self, state: State, host: TrainedHost, issued: State, ctx: Context) -> Generator:
        """The host's generator of that state."""
        del state
        return host.component.assemble(issued, ctx)


@dataclass(frozen=True)
class Setting:
    """What a suite runs an attack against; all of it is known before anything is trained.

    Attributes:
        method: the method.
        host: the host.
        copies: number of issued copies the attack may run on.
        clean_images: number of clean images the adversary owns.
        strength: the attack's strength; None for an attack without a knob.
        info: what is known of the samples.
    """

    method: Method[Any]
    host: Host[Any]
    copies: int
    clean_images: int
    strength: float | None
    info: SampleInfo


@dataclass(frozen=True)
class Surface:
    """What an attack's declared access opens to it; everything else is closed.

    Attributes:
        opened: the declared accesses.
        attack: who asks, for messages.
    """

    opened: frozenset[Access]
    attack: str
    _copies: Sequence[Generator] = ()
    _clean_images: Tensor | None = None
    _public_host: TrainedHost | None = None
    _trainer: Method[Any] | None = None
    _target_images: Callable[[int], Tensor] | None = None
    _target_code: Tensor | None = None
    _embed: Callable[[Tensor, Tensor], Tensor] | None = None
    _bits: int | None = None
    _marked_images: Callable[[int], Tensor] | None = None

    @property
    def copy(self) -> Generator:
        """The leaked copy."""
        return self._opened(Access.COPY, self._copies[0] if self._copies else None)

    @property
    def copies(self) -> Sequence[Generator]:
        """The copies of a coalition, two or more users'."""
        return self._opened(Access.COPIES, self._copies or None)

    @property
    def clean_images(self) -> Tensor:
        """(M, 3, H, W) uint8 images without any fingerprint, disjoint from all others."""
        return self._opened(Access.CLEAN_IMAGES, self._clean_images)

    @property
    def public_host(self) -> TrainedHost:
        """The host as published, before fingerprinting."""
        return self._opened(Access.PUBLIC_HOST, self._public_host)

    @property
    def trainer(self) -> Method[Any]:
        """The method, to be fitted again; its `fit` starts from a copy in the host's place."""
        return self._opened(Access.TRAINER, self._trainer)

    def target_images(self, count: int) -> Tensor:
        """(count, 3, H, W) uint8 images of an innocent user, none of which is measured."""
        return self._opened(Access.TARGET, self._target_images)(count)

    def marked_images(self, count: int) -> Tensor:
        """(count, 3, H, W) uint8 images of other users' copies, who take turns; in `fit` alone.

        Nobody whose copy is measured is among these users.
        """
        return self._opened(Access.MARKED, self._marked_images)(count)

    @property
    def target_code(self) -> Tensor:
        """(K,) bool code of that user, as if the registry had leaked."""
        return self._opened(Access.TARGET_CODE, self._target_code)

    @property
    def bits(self) -> int:
        """Length K of the codes that the embedder takes."""
        return self._opened(Access.EMBEDDER, self._bits)

    def embed(self, images: Tensor, code: Tensor) -> Tensor:
        """(N, 3, H, W) uint8: `images` through a post-hoc method's embedder with `code` (K,)."""
        return self._opened(Access.EMBEDDER, self._embed)(images, code)

    def _opened(self, access: Access, value: T | None) -> T:
        if access not in self.opened or value is None:
            raise ContractError(
                f"attack {self.attack}: expected to use only what it declares "
                f"({', '.join(sorted(self.opened)) or 'nothing'}), got a request for {access}; "
                f"add {access} to its `access`"
            )
        return value


class Attack(Component[P]):
    """Any change after issue, hostile or not.

    Class attributes beside the component's:
        family: attacks of one family share one vote in the score.
        access: what the adversary must hold; may depend on parameters.
        changes_weights: it changes the weights of a copy; refused where the marking step is opaque.
        strength: its knob; None for an attack that is done or not done.
        geometric: it moves pixels, so that comparing images place by place says nothing of its
            damage.
        modalities: of the samples that it is meant for; None = any.
        asks: what the host must offer.
    """

    family: ClassVar[str]
    access: frozenset[Access]
    changes_weights: ClassVar[bool] = False
    strength: ClassVar[Strength | None] = None
    geometric: bool = False
    modalities: ClassVar[frozenset[str] | None] = None
    asks: ClassVar[frozenset[Offer]] = frozenset()

    def fit(self, surface: Surface, ctx: Context) -> State:
        """What the adversary learns once, before any copy is attacked; found in `ctx.fitted`.

        An autoencoder, a surrogate. Of the surface the clean images, the public host, other users'
        images and the embedder are open, where they are declared; with one of the last two it is
        called once for each training of a method, else once for all. Its seconds and its `steps`
        are part of the price.
        """
        del surface, ctx
        return {}

    def refuse(self, setting: Setting) -> Refusal | None:
        """A reason why the attack has no meaning in this setting; called at plan time."""
        del setting
        return None

    def steps(self, setting: Setting) -> int:
        """Training steps that the adversary spends in this setting; 0 where nothing is trained."""
        del setting
        return 0


class Dataset(Component[P]):
    """Real samples in three disjoint splits: train, test, reference.

    Class attributes beside the component's:
        drawn: its images are drawn by a program and show nobody, so that what generators make of
            them may be published; of photographs it may be too close to one of them.
    """

    drawn: ClassVar[bool] = False

    def look(self, progress: Callable[[int, int], None]) -> None:
        """Do now what `info` and `digest` need that is long the first time.

        Called before them where somebody waits; they work without it.

        Args:
            progress: is told how many samples of how many are looked at.

        Raises:
            MissingResource: as `info`.
        """
        del progress

    @abstractmethod
    def info(self) -> SampleInfo:
        """Size and counts; quick, save for the first look at images that must be read for it.

        Raises:
            MissingResource: the data is not there; the message says how to get it.
        """

    @abstractmethod
    def digest(self) -> str:
        """SHA-256 that changes whenever an image or its place does; cheap enough to plan with."""

    @abstractmethod
    def read(self, split: str, indices: np.ndarray) -> np.ndarray:
        """Samples of a split: (N, H, W, C) where `info` tells of (C, H, W), else (N, *shape)."""

    def conditions(self, split: str, indices: np.ndarray) -> Conditions:
        """Captions or classes of a split's samples, as `info` says; empty where it has none."""
        del split, indices
        return ()

    def verify(self) -> None:
        """Read all that `digest` only took a look at; called before anything is trained.

        Raises:
            MissingResource: it is not what it was.
        """

    def remarks(self) -> tuple[str, ...]:
        """What a user should know of the images, a sentence each, such as what was left out."""
        return ()

    def prepare(self) -> str:
        """Fetch what is not there yet; what `fpbench prepare` calls. A note for the user.

        Raises:
            MissingResource: it cannot be had; the message says how to bring it by hand.
        """
        counts = ", ".join(f"{number:,} {split}" for split, number in self.info().counts.items())
        info = self.info()
        if info.modality == "image":
            return f"{counts} images of {info.size} pixels"
        if info.modality == "audio":
            return f"{counts} sounds of {info.size:,} samples at {info.rate:,} Hz"
        return f"{counts} samples of {info.modality}, {info.dtype} {info.shape}"


class Metric(Component[P]):
    """One number with one definition.

    Class attributes beside the component's:
        unit: its unit, empty for a share.
        higher_is_better: None where neither end is good.
        bounds: least and largest value, None for open.
        of_captions: it is measured only where a suite has captions and a network that compares
            images with them; elsewhere it is no part of the plan, nor of any key.
    """

    of_captions: ClassVar[bool] = False
    unit: ClassVar[str]
    higher_is_better: ClassVar[bool | None]
    bounds: ClassVar[tuple[float | None, float | None]]

    @abstractmethod
    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """The rows of one cell, from what is stored; numpy only, no torch. Empty: not its cell."""


class Cluster(Component[P]):
    """Machines that share the store. It starts pilots there, processes that take stages by lease.

    It sees a command and what a pilot needs, never a plan, a plugin or a stage.
    """

    @abstractmethod
    def keep(self, command: Sequence[str], folder: Path, needs: Needs, wanted: int) -> int:
        """Have as many pilots at work or queued as are wanted, up to its own limit.

        Args:
            command: starts a pilot; it ends by itself when there is nothing for it to do.
            folder: where what pilots print goes; on the shared file system.
            needs: of the heaviest stage that is ready.
            wanted: stages that nobody is at.

        Returns:
            How many it has started now.

        Raises:
            MissingResource: the cluster cannot be reached, or refuses what is asked.
        """

    @abstractmethod
    def close(self, *, cancel: bool) -> None:
        """Let go; with `cancel`, end the pilots, which save first."""


class Executor(Component[P]):
    """Runs stages by key. It is handed a callable and never sees what a stage means."""

    @abstractmethod
    def submit(self, run: Callable[[str], bool], key: str) -> Future[bool]:
        """Run `run(key)` now or later; it says whether what stands behind that stage may run."""

    @abstractmethod
    def capacity(self) -> int:
        """How many stages may run at the same time."""

    @abstractmethod
    def close(self, *, cancel: bool) -> None:
        """Wait for what runs; with `cancel`, drop what has not started."""
