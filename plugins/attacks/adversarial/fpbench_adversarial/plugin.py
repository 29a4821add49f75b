"""Attacks on images by adversaries who have learnt: registration and cards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from fpbench.api import (
    Access,
    Attack,
    Card,
    Context,
    Refusal,
    SampleAttack,
    Setting,
    State,
    Strength,
    Surface,
    hookimpl,
)
from fpbench_adversarial.params import (
    AverageParams,
    EmbedderLeakParams,
    PushParams,
    SurrogateParams,
)

if TYPE_CHECKING:
    from torch import Tensor

    from fpbench_adversarial.pushing import Aim

P = TypeVar("P", bound=PushParams)


class Pushed(SampleAttack[P]):
    """Images pushed by the gradient of a network that the adversary has trained."""

    family = "adversarial"
    strength = Strength("budget", "levels of 255", (2, 4, 8), 0, 64, whole=True, identity=0)

    def steps(self, setting: Setting) -> int:
        """Those of the network's training."""
        del setting
        return self.params.steps

    def pushed(self, images: Tensor, aim: Aim, budget: float) -> Tensor:
        """Images (N, 3, H, W) uint8 within the budget and the floor."""
        import torch

        from fpbench.nn.batches import alike
        from fpbench_adversarial.pushing import push

        if not len(images) or not budget:
            return images.clone(memory_format=torch.channels_last)
        p = self.params
        return alike(lambda some: push(some, aim, budget, p.pgd_steps, p.psnr), images)


class Surrogate(Pushed[SurrogateParams]):
    """Pushes images towards what a detector of marked images takes for clean."""

    name = "surrogate"
    version = "1"
    Params = SurrogateParams
    access = frozenset({Access.IMAGES, Access.CLEAN_IMAGES, Access.MARKED})
    card = Card(
        "Surrogate detector",
        "WAVES, An et al., ICML 2024 (arXiv 2401.08573); PGD: Madry et al., ICLR 2018",
        "Apache-2.0",
        "An adversary without the reader trains a detector of about 0.2 M weights on images of "
        "other users and clean photographs, and follows its gradient by PGD within so many levels "
        "of each pixel. It asks the method's reader nothing.",
        "A small network in the place of a ResNet-18, no universal start. Where a copy draws its "
        "images itself, the detector sees what sets them apart from photographs, too.",
    )

    def fit(self, surface: Surface, ctx: Context) -> State:
        """The detector, taught with other users' images and clean ones."""
        from fpbench_adversarial import learning

        marked = surface.marked_images(self.params.marked)
        return learning.fit_detector(marked, surface.clean_images, self.params, ctx)

    def apply(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Nothing is drawn."""
        del indices
        from fpbench_adversarial import learning, pushing

        network = learning.opened(ctx.fitted, 1, self.params.channels, ctx)
        return self.pushed(images, pushing.unseen(network), strength)


class EmbedderLeak(Pushed[EmbedderLeakParams]):
    """Pushes images away from what a reader of the adversary's own reads in them."""

    name = "embedder-leak"
    version = "1"
    Params = EmbedderLeakParams
    access = frozenset({Access.IMAGES, Access.CLEAN_IMAGES, Access.EMBEDDER})
    card = Card(
        "Leaked embedder",
        "Saberi et al., ICLR 2024 (arXiv 2310.00076); PGD: Madry et al., ICLR 2018",
        "Apache-2.0",
        "An adversary who holds a post-hoc method's embedder marks clean images with random codes, "
        "trains a reader of his own on them, and follows its gradient by PGD to the opposite of "
        "what it reads, within so many levels of each pixel. It asks the method's reader nothing.",
        "Reads bits, where the paper tells marked images from clean ones.",
    )

    def fit(self, surface: Surface, ctx: Context) -> State:
        """The reader, taught with images that the adversary has marked himself."""
        from fpbench_adversarial import learning

        return learning.fit_reader(surface, self.params, ctx)

    def apply(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Nothing is drawn."""
        del indices
        from fpbench_adversarial import learning, pushing

        bits = int(ctx.fitted["out.bias"].numel())
        network = learning.opened(ctx.fitted, bits, self.params.channels, ctx)
        aim = pushing.flipped if self.params.goal == "flip" else pushing.erased
        return self.pushed(images, aim(network), strength)

    def refuse(self, setting: Setting) -> Refusal | None:
        """Methods without bits."""
        if setting.method.bits:
            return None
        return Refusal("the method's embedder takes no code whose bits could be learnt")


class Average(SampleAttack[AverageParams]):
    """Subtracts what images of other users have in common, and clean ones have not."""

    name = "average"
    version = "1"
    Params = AverageParams
    family = "statistical"
    access = frozenset({Access.IMAGES, Access.CLEAN_IMAGES, Access.MARKED})
    strength = Strength("gain", "times the mean residual", (0.5, 1.0, 2.0), 0, 10, identity=0)
    card = Card(
        "Steganalysis by averaging",
        "Yang et al., NeurIPS 2024 (arXiv 2406.09026)",
        "Apache-2.0",
        "Subtracts from every image the mean of marked images less the mean of clean ones, so many "
        "times. It finds what does not depend on the picture, nor on the user. It asks no reader.",
        "The images are other users': an own copy's would tell its code, too. How many there are "
        "is a parameter, and the strength is the gain, along which damage rises. The smooth part "
        "of the residual, mostly of the pictures, is left out unless sigma is 0.",
    )

    def fit(self, surface: Surface, ctx: Context) -> State:
        """The residual, (3, H, W) in levels of 255."""
        del ctx
        from fpbench_adversarial.averaging import mean_detail

        marked = surface.marked_images(self.params.marked)
        sigma = self.params.sigma
        return {"residual": mean_detail(marked, sigma) - mean_detail(surface.clean_images, sigma)}

    def apply(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """The same is subtracted from every image; nothing is drawn."""
        del indices
        from fpbench_adversarial.averaging import subtracted

        return subtracted(images, ctx.fitted["residual"], strength)


@hookimpl
def fpbench_attacks() -> list[type[Attack[Any]]]:
    """The attacks."""
    return [Surrogate, EmbedderLeak, Average]
