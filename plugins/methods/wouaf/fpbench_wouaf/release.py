"""How codes are read after release, when copies may have been fine-tuned.

Fine-tuning hardly removes a code: it adds to every bit an offset that all tuned copies share and
that drowns the code. It is mostly where the reader puts photographs.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.optim import Adam

from fpbench.api import Context, ContractError, Generator, SampleStream, State, TrainedHost
from fpbench.nn.latents import drawn
from fpbench.nn.losses import code_loss
from fpbench.nn.schedule import set_rates, warm_cosine
from fpbench.nn.state import part, placed, prefixed
from fpbench.training import TrainingRun
from fpbench_wouaf import reader
from fpbench_wouaf.carriers import LowRank
from fpbench_wouaf.disturbing import moves
from fpbench_wouaf.training import behind, folded, opened, read_with

if TYPE_CHECKING:
    from fpbench_wouaf.params import WouafParams

__all__ = ["calibrated", "normalised", "retrained", "weight_logits"]

_CHUNK = 32
_BATCH = 32
_UNMARKED = 8  # samples of a batch that bear no code
_MARKS = (10, 50, 100)
_OWN = 96  # photographs that one copy is tuned on


@torch.no_grad()
def calibrated(weights: State, samples: SampleStream, params: WouafParams, ctx: Context) -> State:
    """``mean`` (K,): what a reader says, on average, of photographs of the training split."""
    chosen = torch.randperm(len(samples), generator=ctx.rng("calibration"))[: params.photographs]
    logits = [
        read_with(weights, samples.read(own.numpy()), params, ctx.modality)
        for own in torch.split(chosen, _CHUNK)
    ]
    return {"mean": torch.cat(logits).mean(0)}


def normalised(logits: Tensor, mean: Tensor) -> Tensor:
    """(N, K) logits without what photographs read, of length √K each."""
    own = logits - mean
    return own / own.square().mean(1, keepdim=True).sqrt().clamp_min(1e-12)


def retrained(
    state: State, host: TrainedHost, samples: SampleStream, params: WouafParams, ctx: Context
) -> State:
    """A reader that has met what fine-tuning does: ``reader.*`` and its ``mean``.

    The owner tunes pairs of copies of opposite codes; half of the sum of their weights' moves is
    drift without code, since the moves that cancel the codes cancel each other. The reader learns
    on faint codes plus drift, and that samples without a code say nothing. No copy is touched.

    Args:
        state: from `fit`.
        host: the trained host.
        samples: photographs.
        params: settings.
        ctx: seeds, device and training codes.
    """
    drift = _codeless(state, host, samples, params, ctx)
    network = folded(
        host.generator.steps[host.generator.output],
        state,
        torch.zeros(params.bits, dtype=torch.bool, device=ctx.device),
        params,
        loudness=0.0,
    ).requires_grad_(False)
    model = opened(network, state, params)
    before = {name: value.clone() for name, value in network.named_parameters()}
    with torch.random.fork_rng(devices=[]):
        eye = placed(reader.build(samples.info.shape, params), ctx.device)
    eye.load_state_dict(part(state, "reader"))
    rates = Adam(
        [{"params": list(eye.parameters()), "lr": params.code_learning_rate / 4}], betas=(0.9, 0.99)
    )
    rates.param_groups[0]["peak"] = params.code_learning_rate / 4
    with TrainingRun(
        ctx,
        "reader",
        steps=params.retraining_steps,
        modules={"reader": eye},
        optimisers={"all": rates},
        batch=_BATCH,
    ) as run:
        for step in run:
            set_rates(rates, warm_cosine(step, params.retraining_steps, low=0.05))
            rng = run.rng("step")
            codes = ctx.training_codes(_BATCH, run.rng("codes"))
            draws = torch.rand(2, _BATCH, generator=rng).to(ctx.device)
            faint = torch.where(draws[0] < 0.25, 1.0, 0.1 + 0.9 * draws[1])
            faint[:_UNMARKED] = 0
            signs = (codes.float() * 2 - 1) * (faint * float(state["loudness"]))[:, None]
            share = float(torch.rand((), generator=rng)) * 1.2
            move = drift[int(torch.randint(len(drift), (1,), generator=rng))]
            photographs = ctx.modality.to_float(
                samples.read(torch.randint(len(samples), (_UNMARKED // 2,), generator=rng).numpy())
            )
            with torch.no_grad():
                for name, value in network.named_parameters():
                    value.copy_(before[name]).add_(move[name], alpha=share)
                latents = drawn(host, _BATCH, samples, rng, ctx.device)
                entry = host.generator.run(latents, until=host.generator.output)
                shown = ctx.modality.quantise(behind(host.generator, model(entry, signs)))
                shown[: len(photographs)] = photographs
            with run.autocast():
                logits = eye(shown)
                read = code_loss(logits[_UNMARKED:], codes[_UNMARKED:])
                silent = nn.functional.binary_cross_entropy_with_logits(
                    logits[:_UNMARKED], torch.full_like(logits[:_UNMARKED], 0.5)
                )
            run.backward(read + silent, slice(0, _BATCH), _BATCH)
            run.update(rates)
            right = ((logits > 0) == codes)[_UNMARKED:].float().mean()
            run.log(reading=read.detach(), silence=silent.detach(), accuracy=right)
    found = prefixed({"reader": eye})
    return found | calibrated(part(found, "reader"), samples, params, ctx)


def weight_logits(state: State, host: TrainedHost, copy: Generator, params: WouafParams) -> Tensor:
    """(1, K) coefficients of the carrier's directions in a copy's weights.

    Least squares of its difference from the owner's network without a code, over all layers:
    argmin_a |ΔW - sum_k a[k] u[k] v[k]ᵀ|². Whoever has permuted or scaled hidden channels is
    answered by bringing the copy into the owner's order first, if that brings it nearer.
    """
    from fpbench.nn.aligning import aligned

    name = copy.output
    silent = torch.zeros(params.bits, dtype=torch.bool, device=state["loudness"].device)
    own = folded(host.generator.steps[host.generator.output], state, silent, params, loudness=0.0)
    mine = {n: w.detach() for n, w in own.named_parameters()}
    theirs = dict(copy.steps[name].named_parameters())
    alike = {n: w.shape for n, w in theirs.items()} == {n: w.shape for n, w in mine.items()}
    if not (alike and all(bool(w.isfinite().all()) for w in theirs.values())):
        return silent.new_zeros(1, params.bits, dtype=torch.float32)  # another network, or none
    candidates = [copy]
    with suppress(ContractError):  # nobody knows its hidden channels, so nobody permutes them
        candidates.append(aligned("method wouaf", copy, copy.replace(name, own)))
    differences = [
        {n: w.detach() - mine[n] for n, w in one.steps[name].named_parameters()}
        for one in candidates
    ]
    moved = min(differences, key=_size)
    model = opened(own, state, params)
    assert isinstance(model.carrier, LowRank)
    names = {id(module): n for n, module in own.named_modules()}
    gram = torch.zeros(params.bits, params.bits, dtype=torch.float64)
    right = torch.zeros(params.bits, dtype=torch.float64)
    for index, layer in enumerate(model.layers):
        directions = model.carrier.tensors(index, layer).double().cpu()  # (K, O, I, ...)
        delta = moved[f"{names[id(layer)]}.weight"].double().cpu()
        flat = directions.flatten(1)
        gram += flat @ flat.T
        right += flat @ delta.flatten()
    found = torch.linalg.lstsq(gram, right[:, None]).solution[:, 0]
    coefficients: Tensor = found.float().to(silent.device)[None]
    return coefficients


def _size(moved: dict[str, Tensor]) -> float:
    return sum(float(m.double().square().sum()) for m in moved.values())


def _codeless(
    state: State, host: TrainedHost, samples: SampleStream, params: WouafParams, ctx: Context
) -> list[dict[str, Tensor]]:
    """How weights move as the owner tunes copies, without what depends on their codes."""
    output = host.generator.output
    codes = ctx.training_codes(-(-params.tuned // 2), ctx.rng("tuned codes"))
    found: list[dict[str, Tensor]] = []
    for number, code in enumerate(codes):
        chosen = torch.randperm(len(samples), generator=ctx.rng("tuned photographs", number))
        photographs = samples.read(chosen[:_OWN].numpy())
        both = []
        for own in (code, ~code):
            network = folded(host.generator.steps[output], state, own, params)
            copy = host.generator.replace(output, network.to(ctx.device))
            # The same photographs in the same order, so that only the codes differ.
            both.append(moves(host, copy, photographs, _MARKS, ctx.branch("tuned", number)))
        found += [
            {name: (first[name] + second[name]) / 2 for name in first}
            for first, second in zip(*both, strict=True)
        ]
    return found
