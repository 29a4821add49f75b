"""Training the own denoiser on latents, and building it again from what was learnt."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fpbench.api import Context, ContractError, State
from fpbench.api.images import to_uint8
from fpbench.nn.ema import Average, warmed_decay
from fpbench.nn.schedule import adam, set_rates
from fpbench.nn.state import opened, placed
from fpbench.training import TrainingRun
from fpbench_latent_diffusion.denoising import Denoiser, Transformer, velocity_error

if TYPE_CHECKING:
    from fpbench_latent_diffusion.params import LatentDiffusionParams

__all__ = ["classes_of", "opened_denoiser", "trained_denoiser"]

_WARMUP = 100  # steps until the learning rate is reached
_SHOWN = 16


def trained_denoiser(
    latents: Tensor,
    classes: Tensor | None,
    decoder: nn.Module,
    p: LatentDiffusionParams,
    ctx: Context,
    whole: Callable[[State], State] = dict,
) -> State:
    """A denoiser's state after training: the moving average of its weights, and its spread.

    Args:
        latents: (M, C, h, w) of photographs.
        classes: (M,) int64, or None.
        decoder: for what is shown of the training.
        p: sizes and rates.
        ctx: seeds and device.
        whole: the state of `fit` with this part of it.
    """
    mean = latents.mean((0, 2, 3), keepdim=True)
    deviation = latents.std((0, 2, 3), keepdim=True).clamp_min(1e-6)
    data = (latents - mean) / deviation
    spread = torch.cat([mean, deviation]).expand(2, *latents.shape[1:]).contiguous()
    kinds = 0 if classes is None else int(classes.max()) + 1
    with ctx.seeded("denoiser"):
        network = _transformer(latents.shape[1:], kinds, p)
    network = placed(network, ctx.device)
    optimiser = adam([(network.parameters(), p.learning_rate)], betas=(0.9, 0.999))
    average = Average(network)
    shown = _shown(latents, kinds, ctx)

    def drawing() -> Denoiser:
        return _denoiser(average.module, spread, p)

    @torch.no_grad()
    def sheet() -> Tensor:
        images: Tensor = decoder(drawing()(shown))
        return to_uint8(images)

    def state() -> State:
        return {name: t.detach().clone() for name, t in drawing().state_dict().items()}

    with TrainingRun(
        ctx,
        "denoiser",
        steps=p.steps,
        modules={"network": network},
        optimisers={"adam": optimiser},
        averages={"network": average},
        batch=p.batch,
    ) as run:
        for step in run:
            set_rates(optimiser, min(1.0, (step + 1) / _WARMUP))
            rows = torch.randint(len(data), (p.batch,), generator=run.rng("rows")).to(ctx.device)
            # Logit-normal: most of them where data and noise are mixed.
            times = torch.randn(p.batch, generator=run.rng("times")).sigmoid().to(ctx.device)
            known = _kept(classes, rows, p, run.rng("classes"))
            for piece in run.pieces(p.batch):
                noise = run.draws("noise", piece, p.batch).normal(data.shape[1:]).to(ctx.device)
                asked = None if known is None else known[piece]
                with run.autocast():
                    loss = velocity_error(network, data[rows[piece]], noise, times[piece], asked)
                run.backward(loss, piece, p.batch)
                run.log(loss=loss.detach())
            run.update(optimiser)
            average.update(warmed_decay(p.decay, step))
            run.sheet(sheet)
            run.snapshot(lambda: whole(state()))
    return state()


def opened_denoiser(who: str, tensors: State, p: LatentDiffusionParams) -> Denoiser:
    """A denoiser with the weights of a state or of a file.

    Args:
        who: opens it, for messages.
        tensors: by their names within it.
        p: sizes, and how it draws.

    Raises:
        ContractError: the weights are others.
    """
    spread = tensors.get("_extra_state")
    if spread is None or spread.dim() != 4:
        raise ContractError(
            f"{who}: expected the spread of latents beside a denoiser's weights, got none; open it "
            "with the host that it is of"
        )
    kinds = classes_of(tensors)
    return opened(
        who, lambda: _denoiser(_transformer(spread.shape[1:], kinds, p), spread, p), tensors
    )


def classes_of(tensors: State) -> int:
    """How many classes a denoiser was trained on."""
    table = tensors.get("network.classes.weight")
    return 0 if table is None else len(table) - 1


def _kept(
    classes: Tensor | None, rows: Tensor, p: LatentDiffusionParams, rng: torch.Generator
) -> Tensor | None:
    """Classes of a batch, some of them left out, so that it learns to do without."""
    if classes is None:
        return None
    kept = torch.rand(len(rows), generator=rng) >= p.dropped
    return classes[rows].where(kept.to(rows.device), -1)


def _shown(latents: Tensor, kinds: int, ctx: Context) -> Tensor | dict[str, Tensor]:
    """Noise, and classes in turn, of what is shown of a training."""
    shape = (_SHOWN, *latents.shape[1:])
    noise = torch.randn(shape, generator=ctx.rng("denoiser/shown")).to(ctx.device)
    if not kinds:
        return noise
    return {"noise": noise, "class": torch.arange(_SHOWN, device=ctx.device) % kinds}


def _transformer(shape: torch.Size, kinds: int, p: LatentDiffusionParams) -> Transformer:
    return Transformer(
        shape, classes=kinds, patch=p.patch, width=p.width, depth=p.depth, heads=p.heads
    )


def _denoiser(network: Transformer, spread: Tensor, p: LatentDiffusionParams) -> Denoiser:
    return Denoiser(
        network,
        spread,
        steps=p.sampling_steps,
        solver=p.solver,
        guidance=1.0 if p.guidance is None else p.guidance,
    )
