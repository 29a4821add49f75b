"""Training losses that more than one plugin uses; each a pure function of tensors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "code_loss",
    "discriminator_loss",
    "diversity",
    "gradient_penalty",
    "l1g",
    "nonsaturating_loss",
]


def l1g(images: Tensor, targets: Tensor) -> Tensor:
    """Mean absolute difference of samples plus half that of their gradients, a scalar.

    The gradient terms ask for edges where plain L1 settles for their average; they take the place
    of a perceptual loss, which would need the weights of a backbone.

    Args:
        images: ``(N, C, H, W)``, or sounds ``(N, C, T)``, in [-1, 1].
        targets: The same.
    """
    difference = images - targets
    gradients = difference[..., 1:] - difference[..., :-1]
    apart = gradients.abs().mean()
    if difference.dim() == 4:
        vertical = difference[..., 1:, :] - difference[..., :-1, :]
        apart = apart + vertical.abs().mean()
    return difference.abs().mean() + 0.5 * apart


def code_loss(logits: Tensor, codes: Tensor) -> Tensor:
    """Mean sigmoid cross-entropy per bit, a scalar in nats.

    Args:
        logits: ``(N, K)``, above 0 reads as 1.
        codes: ``(N, K)`` bool.
    """
    return F.binary_cross_entropy_with_logits(logits, codes.to(logits.dtype))


def nonsaturating_loss(fake_logits: Tensor) -> Tensor:
    """The generator's logistic loss in non-saturating form (Goodfellow et al. 2014), a scalar."""
    return F.softplus(-fake_logits).mean()


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The discriminator's side of the logistic GAN loss, a scalar."""
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


@torch.no_grad()
def diversity(fakes: Tensor, real: Tensor) -> Tensor:
    """How much images differ at 8x8 pixels, as a share of how much real ones do, a scalar.

    Near 0 where a generator shows one image whatever its latent.

    Args:
        fakes: ``(N, 3, H, W)`` in [-1, 1].
        real: ``(M, 3, H, W)`` in [-1, 1].

    Returns:
        1 where there are not two of each.
    """
    if min(len(fakes), len(real)) < 2:
        return real.new_ones(())
    made, seen = (F.adaptive_avg_pool2d(x.float(), 8).std(0).mean() for x in (fakes, real))
    return made / seen.clamp_min(1e-6)


def gradient_penalty(discriminator: nn.Module, real: Tensor) -> Tensor:
    """R1 (Mescheder et al. 2018, eq. 9) at weight 1: half the mean squared gradient norm.

    Args:
        discriminator: Images to logits ``(N,)``.
        real: ``(N, 3, H, W)`` in [-1, 1].
    """
    real = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean() / 2
