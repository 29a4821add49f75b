"""What a plugin implements: hosts, methods, attacks, data sets, metrics, executors.

A component is registered and stateless: it holds its parameters and nothing else. What it learns
is a `State`; what it builds from a state is a `Generator`. Images cross every boundary as uint8
(N, 3, H, W) sRGB in channels-last memory. Nothing here imports torch before a copy is built.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from fpbench.api.errors import ContractError
from fpbench.api.generator import POST, Generator
from fpbench.api.measurement import CellEvidence, Row
from fpbench.api.params import Params, local_digest
from fpbench.api.types import (
    Access,
    Card,
    Evidence,
    ImageInfo,
    ImageStream,
    Needs,
    Placement,
    Refusal,
    State,
    Strength,
)

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from torch import Tensor
    from torch.nn import Module

    from fpbench.api.context import Context

P = TypeVar("P", bound=Params)


class Component(ABC, Generic[P]):
    """A registered, stateless thing with a name, a version, parameters and a card.

    Class attributes a subclass sets:
        name: lower-case words joined by hyphens; how a suite asks for it.
        version: raised whenever its numbers change.
        Params: its parameter model.
        card: what the page says of it.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    Params: ClassVar[type[Params]]
    card: ClassVar[Card]

    def __init__(self, params: P) -> None:
        self.params = params

    def needs(self) -> Needs:
        """Resources its heaviest stage asks for."""
        return Needs()

    def digest(self) -> str:
        """Identity of the files outside that its numbers depend on; empty where there are none.

        As it comes, SHA-256 over the contents of what its `Local` parameters name.
        """
        return local_digest(self.params)


@dataclass(frozen=True)
class TrainedHost:
    """A host after training: what methods build on and, where access allows, attackers use."""

    component: Host[Any]
    state: State
    generator: Generator

    def encode(self, images: Tensor, ctx: Context) -> Tensor:
        """Latents that reproduce `images` as well as the host can; see `Host.encode`."""
        return self.component.encode(self.state, images, ctx)


class Host(Component[P]):
    """A generator before fingerprinting."""

    def objection(self, images: ImageInfo) -> str:
        """Why it cannot be trained on such images, and what to set; empty if it can. No torch."""
        del images
        return ""

    @abstractmethod
    def fit(self, images: ImageStream, ctx: Context) -> State:
        """Train on `images`."""

    @abstractmethod
    def assemble(self, state: State, ctx: Context) -> Generator:
        """The generator of a state: no training, no randomness."""

    @abstractmethod
    def untrained(self, state: State, ctx: Context) -> Generator:
        """A generator with the steps and latents of `assemble`, its weights freshly drawn."""

    @abstractmethod
    def encode(self, state: State, images: Tensor, ctx: Context) -> Tensor:
        """Latents (N, ...) of uint8 images (N, 3, H, W)."""

    @abstractmethod
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


class Method(Component[P]):
    """A fingerprinting method: fit once, issue per user, extract from images.

    Class attributes beside the component's:
        placement: where the fingerprint sits.
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
        gate: least clean bit accuracy on unseen codes that counts as converged.
    `self.params` must have a field `bits`.
    """

    placement: ClassVar[Placement]
    keeps_sample: ClassVar[bool]
    builds_on_host: ClassVar[bool] = True
    uses_host: ClassVar[bool] = True
    host_latents: ClassVar[bool] = True
    opaque: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    gate: ClassVar[float] = 0.9

    @property
    def bits(self) -> int:
        """Length K of a code."""
        bits: int = self.params.bits  # type: ignore[attr-defined]
        return bits

    @abstractmethod
    def fit(self, host: TrainedHost, images: ImageStream, ctx: Context) -> State:
        """Train everything that is paid once; codes come from `ctx.training_codes` alone."""

    def issue(self, state: State, host: TrainedHost, code: Tensor, ctx: Context) -> State:
        """What is stored for one user; may train, and its seconds are a measure.

        Args:
            state: from `fit`.
            host: the trained host.
            code: (K,) bool.
            ctx: seeds and device.

        Returns:
            The user's state; the default keeps the code alone.
        """
        del state, host, ctx
        return {"code": code}

    @abstractmethod
    def assemble(self, state: State, host: TrainedHost, issued: State, ctx: Context) -> Generator:
        """The user's copy, exactly what he would hold: no training, no randomness, no extractor."""

    @abstractmethod
    def extract(self, state: State, host: TrainedHost, evidence: Evidence, ctx: Context) -> Tensor:
        """(N, K) float logits of the code in each image; above 0 reads as 1."""

    def draw_codes(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """(count, K) bool codes. Uniform unless overridden (error-correcting or tracing codes)."""
        return rng.integers(0, 2, size=(count, self.bits), dtype="uint8").astype(bool)

    def objection(self, images: ImageInfo) -> str:
        """Why it cannot be trained on such images, and what to set; empty if it can. No torch."""
        del images
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
        """Module (images float (N, 3, H, W) in [-1, 1], codes bool (N, K)) -> images float.

        Its parameters and buffers are what the user holds, so the extractor must not be part of it;
        and what it marks with must be among them, or attacks on weights would not reach it.
        """

    def assemble(self, state: State, host: TrainedHost, issued: State, ctx: Context) -> Generator:
        """The host's generator with the embedder and the user's code behind it."""
        from fpbench.api.post import PostStep

        if "code" not in issued:
            raise ContractError(
                f"method {self.name}: expected the issued state to hold 'code', got "
                f"{sorted(issued)}; keep the default issue() or add the code to what it returns"
            )
        step = PostStep(self.embedder(state, ctx), issued["code"]).to(ctx.device)
        last = list(host.generator.steps)[-1]
        return host.generator.replace(POST, step, after=last)


@dataclass(frozen=True)
class Setting:
    """What a suite runs an attack against; all of it is known before anything is trained.

    Attributes:
        method: the method.
        host: the host.
        copies: number of issued copies the attack may run on.
        clean_images: number of clean images the adversary owns.
        strength: the attack's strength; None for an attack without a knob.
    """

    method: Method[Any]
    host: Host[Any]
    copies: int
    clean_images: int
    strength: float | None


class Attack(Component[P]):
    """Any change after issue, hostile or not.

    Class attributes beside the component's:
        family: attacks of one family share one vote in the score.
        access: what the adversary must hold.
        changes_weights: it changes the weights of a copy; refused where the marking step is opaque.
        strength: its knob; None for an attack that is done or not done.
        geometric: it moves pixels, so that comparing images place by place says nothing of its
            damage.
    """

    family: ClassVar[str]
    access: ClassVar[frozenset[Access]]
    changes_weights: ClassVar[bool] = False
    strength: ClassVar[Strength | None] = None
    geometric: bool = False

    def refuse(self, setting: Setting) -> Refusal | None:
        """A reason why the attack has no meaning in this setting; called at plan time."""
        del setting
        return None

    def steps(self, setting: Setting) -> int:
        """Training steps that the adversary spends in this setting; 0 where nothing is trained."""
        del setting
        return 0


class Dataset(Component[P]):
    """Real images in three disjoint splits: train, test, reference.

    Class attributes beside the component's:
        drawn: its images are drawn by a program and show nobody, so that what generators make of
            them may be published; of photographs it may be too close to one of them.
    """

    drawn: ClassVar[bool] = False

    @abstractmethod
    def info(self) -> ImageInfo:
        """Size and counts; quick, save for the first look at images that must be read for it.

        Raises:
            MissingResource: the data is not there; the message says how to get it.
        """

    @abstractmethod
    def digest(self) -> str:
        """SHA-256 that changes whenever an image or its place does; cheap enough to plan with."""

    @abstractmethod
    def read(self, split: str, indices: np.ndarray) -> np.ndarray:
        """(N, H, W, 3) uint8 images of a split."""

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
        return f"{counts} images of {self.info().size} pixels"


class Metric(Component[P]):
    """One number with one definition.

    Class attributes beside the component's:
        unit: its unit, empty for a share.
        higher_is_better: None where neither end is good.
        bounds: least and largest value, None for open.
    """

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
