"""Clean images made to look as if they came from somebody's copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fpbench.api import (
    Access,
    Attack,
    Card,
    Context,
    ForgeryAttack,
    NoParams,
    Params,
    Strength,
    Surface,
    hookimpl,
)

if TYPE_CHECKING:
    from torch import Tensor


class CopyResidualParams(Params):
    """How much of the victim's residual is added.

    Attributes:
        gain: factor of the mean residual.
    """

    gain: Annotated[float, Field(gt=0)] = 1.0


class CopyResidual(ForgeryAttack[CopyResidualParams]):
    """The mean high-pass residual of the victim's images, added to clean ones."""

    name = "copy-residual"
    version = "1"
    Params = CopyResidualParams
    family = "forgery"
    access = frozenset({Access.TARGET})
    strength = Strength("observed", "images of the victim", (10, 100, 500), 1, 100_000, whole=True)
    card = Card(
        "Copied residual",
        "Kutter, Voloshynovskiy, Herrigel, SPIE 2000 (copy attack); averaging as in Yang et al., "
        "NeurIPS 2024 (arXiv 2406.09026)",
        "Apache-2.0",
        "Averages what a Gaussian of 1 px takes away from the victim's images and adds it to clean "
        "ones. It finds what all the images share: part of that is the fingerprint, part is what "
        "all images of this kind have in common.",
        "One Gaussian instead of a denoiser and no perceptual mask.",
    )

    def apply(
        self, surface: Surface, images: Tensor, strength: float | None, ctx: Context
    ) -> Tensor:
        """The strength is how many of the victim's images are averaged, the first ones."""
        del ctx
        from fpbench.api.images import to_float, to_uint8
        from fpbench_forgery.residual import mean_residual

        residual = mean_residual(surface.target_images(int(strength or 1)))
        return to_uint8(to_float(images) + self.params.gain * residual)


class ReEmbed(ForgeryAttack[NoParams]):
    """Clean images through the public embedder, with a code of the adversary's own."""

    name = "re-embed"
    version = "1"
    Params = NoParams
    family = "forgery"
    access = frozenset({Access.EMBEDDER})
    card = Card(
        "Embedding anew",
        "own",
        "Apache-2.0",
        "Marks clean images with the method's own embedder and a random code: is anybody blamed "
        "for what others mark with the same embedder?",
    )

    def apply(
        self, surface: Surface, images: Tensor, strength: float | None, ctx: Context
    ) -> Tensor:
        """One code for all images."""
        del strength
        import torch

        code = torch.randint(0, 2, (surface.bits,), generator=ctx.rng("re-embed/code"))
        return surface.embed(images, code.bool().to(images.device))


class LeakedCode(ForgeryAttack[NoParams]):
    """Clean images through the public embedder, with the victim's code."""

    name = "leaked-code"
    version = "1"
    Params = NoParams
    family = "forgery"
    access = frozenset({Access.EMBEDDER, Access.TARGET_CODE})
    card = Card(
        "Leaked code",
        "own",
        "Apache-2.0",
        "Marks clean images with the method's own embedder and the victim's code, as if the "
        "registry of codes had leaked. It bounds every other forgery of a post-hoc mark.",
    )

    def apply(
        self, surface: Surface, images: Tensor, strength: float | None, ctx: Context
    ) -> Tensor:
        """The victim's code on all images."""
        del strength, ctx
        return surface.embed(images, surface.target_code)


@hookimpl
def fpbench_attacks() -> list[type[Attack[Any]]]:
    """Forgeries."""
    return [CopyResidual, ReEmbed, LeakedCode]
