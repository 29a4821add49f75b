"""How a trained host learns to carry codes in the scale of its weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fpbench.api import Context, ContractError, SampleStream, State, TrainedHost
from fpbench.api.images import quantise, to_float
from fpbench.nn.distortions import soften
from fpbench.nn.ema import Average, warmed_decay
from fpbench.nn.latents import drawn, rows
from fpbench.nn.losses import code_loss
from fpbench.nn.modulation import modulated_convs, scaled_styles
from fpbench.nn.reader import Reader
from fpbench.nn.schedule import adam, set_rates, warm_cosine
from fpbench.nn.state import part, placed, prefixed
from fpbench.training import TrainingRun
from fpbench_weight_modulation.networks import CodeModulation, fold_into

if TYPE_CHECKING:
    from fpbench_weight_modulation.params import WeightModulationParams

__all__ = ["build", "build_reader", "extract", "fit", "issue"]


def build(network: nn.Module, params: WeightModulationParams) -> CodeModulation:
    """The untrained code map for a host's network.

    Raises:
        ContractError: The network has no modulated convolutions.
    """
    convs = modulated_convs(network)
    if not convs:
        raise ContractError(
            "method weight-modulation: expected a host whose output step contains "
            "fpbench.nn.modulation.ModulatedConv layers, got none; use a host such as stylegan2, "
            "or a method that does not change weights"
        )
    channels = [conv.in_channels for conv in convs.values()]
    return CodeModulation(
        bits=params.bits,
        channels=channels,
        embedding_dim=params.embedding_dim,
        gain=params.code_gain,
    )


def build_reader(image_size: int, params: WeightModulationParams) -> Reader:
    """The untrained reader."""
    return Reader(image_size=image_size, outputs=params.bits, channels=params.reader_channels)


def fit(
    host: TrainedHost, samples: SampleStream, params: WeightModulationParams, ctx: Context
) -> State:
    """Trains weights, code map and reader until codes can be read and images stay the host's.

    Args:
        host: Its output step learns; what stands before and behind it runs as it is.
        samples: The data set, for the size of images and for conditions where it has some.
        params: Settings.
        ctx: Seeds, device and codes.

    Returns:
        Averaged weights: ``network.*``, ``code.*``, ``reader.*``.
    """
    generator = host.generator
    output = generator.output
    behind = list(generator.steps)[list(generator.steps).index(output) + 1 :]

    def finished(x: Tensor) -> Tensor:
        images: Tensor = generator.run(x, first=behind[0]) if behind else x
        return images

    target = copy.deepcopy(generator.steps[output]).eval().requires_grad_(False)
    # In eval mode noise inputs, where there are any, are those that the copies will have.
    network = copy.deepcopy(target)
    with ctx.seeded("init"):
        code = build(network, params)
        reader = build_reader(samples.info.size, params)
    code = code.to(ctx.device)
    reader = placed(reader, ctx.device)
    convs = list(modulated_convs(network).values())
    image_weights = _image_weights(network)

    optimiser = adam(
        [
            (image_weights, params.image_learning_rate),
            ([*code.parameters(), *reader.parameters()], params.code_learning_rate),
        ],
        betas=(0.9, 0.99),
    )
    modules: Mapping[str, nn.Module] = {"network": network, "code": code, "reader": reader}
    averages = {name: Average(module) for name, module in modules.items()}
    with TrainingRun(
        ctx,
        "weight-modulation",
        steps=params.steps,
        modules=modules,
        optimisers={"all": optimiser},
        averages=averages,
        batch=params.batch,
    ) as run:
        for step in run:
            set_rates(optimiser, warm_cosine(step, params.steps, low=0.1))
            latents = drawn(host, params.batch, samples, run.rng("latents"), ctx.device)
            codes = ctx.training_codes(params.batch, run.rng("codes"))
            # First the code must be readable at all; then likeness is asked for, ever more firmly.
            known = run.memory.get("accuracy", 0.5)
            firmness = min(1.0, max(0.05, 0.05 + 0.95 * (known - 0.85) / 0.13))
            right = []
            for piece in run.pieces(params.batch):
                with run.autocast():
                    with torch.no_grad():
                        entry = generator.run(rows(latents, piece), until=output)
                        host_images = finished(target(entry))
                    with scaled_styles(convs, code(codes[piece])):
                        images = finished(network(entry))
                    with run.autocast(exact=True):
                        seen = quantise(images)
                        if params.hardened:
                            seen = soften(seen, run.draws("distortion", piece, params.batch))
                    logits = reader(seen)
                    reading = code_loss(logits, codes[piece])
                    likeness = (images - host_images).square().mean()
                    loss = reading + params.likeness_weight * firmness * likeness
                run.backward(loss, piece, params.batch)
                right.append(((logits > 0) == codes[piece]).float().mean())
                run.log(reading=reading.detach(), likeness=likeness.detach())
            run.update(optimiser)
            accuracy = 0.9 * known + 0.1 * run.mean(right, params.batch)
            run.memory["accuracy"] = accuracy
            for average in averages.values():
                average.update(warmed_decay(0.98, step))
            run.expect("the training codes' bit accuracy", accuracy, 0.6, after=0.5)
            run.log(accuracy=accuracy)

    return prefixed({name: average.module for name, average in averages.items()})


@torch.no_grad()
def issue(host: nn.Module, state: State, code: Tensor, params: WeightModulationParams) -> nn.Module:
    """One user's network: layers of the host, weights of the state, the ``(K,)`` code folded in."""
    network = copy.deepcopy(host)
    network.load_state_dict(part(state, "network"))
    modulation = build(network, params)
    modulation.load_state_dict(part(state, "code"))
    scales = modulation.to(code.device)(code[None])
    return fold_into(network.to(code.device), [scale[0] for scale in scales]).eval()


def extract(state: State, images: Tensor, params: WeightModulationParams) -> Tensor:
    """Logits ``(N, K)`` of uint8 images ``(N, 3, H, W)``; each image is read by itself."""
    reader = build_reader(images.shape[-1], params)
    reader.load_state_dict(part(state, "reader"))
    reader = placed(reader, images.device).eval()
    with torch.no_grad():
        logits: Tensor = reader(to_float(images))
    return logits


def _image_weights(network: nn.Module) -> list[nn.Parameter]:
    """The parameters to train: of the modulated convolutions and of the modules that hold them.

    Whatever else makes the styles (the host's mapping network, its constant) stays as it is: it
    says which image a latent means, and that must not move.
    """
    chosen: dict[nn.Parameter, None] = {}
    for name in modulated_convs(network):
        holder = network.get_submodule(name.rpartition(".")[0])
        chosen.update(dict.fromkeys(holder.parameters()))
    for parameter in chosen:
        parameter.requires_grad_(True)
    return list(chosen)
