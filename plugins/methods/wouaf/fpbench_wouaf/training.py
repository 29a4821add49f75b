"""How a network learns to carry codes while its images stay the host's."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from fpbench.api import (
    Context,
    ContractError,
    Generator,
    Modality,
    SampleStream,
    State,
    TrainedHost,
)
from fpbench.nn.distortions import soften
from fpbench.nn.ema import Average, warmed_decay
from fpbench.nn.extractor import Extractor
from fpbench.nn.latents import drawn
from fpbench.nn.losses import code_loss
from fpbench.nn.schedule import set_rates, warm_cosine
from fpbench.nn.sound_distortions import disturb, shift
from fpbench.nn.state import part, placed, prefixed
from fpbench.training import TrainingRun
from fpbench.training.marks import codes_of
from fpbench_wouaf import distortions, reader, searching, sparing
from fpbench_wouaf.carriers import CARRIERS, Carried, Embedding, layers_of
from fpbench_wouaf.disturbing import disturbed, drawn_for, drifts, may_be_disturbed
from fpbench_wouaf.likeness import likeness_of

if TYPE_CHECKING:
    from fpbench_wouaf.params import WouafParams

__all__ = ["behind", "carried", "fit", "folded", "opened", "read_with", "signs_of"]

Eye = TypeVar("Eye", bound=nn.Module)

_WHO = "method wouaf"
_CHUNK = 32
_BATCH_UNMARKED = 128
_BANK = 32  # batches that a bank of samples holds
_FOUND = 0.75  # training accuracy from which on codes count as found
_SHIFT_S = 0.075  # that sounds are moved by at most in a robust training
_WITH_SPARE = 0.5  # of the steps
_USES = 16  # how often a sample serves, with other codes, before the bank is made anew


def carried(network: nn.Module, params: WouafParams) -> Carried:
    """A network with an untrained carrier.

    Raises:
        ContractError: it has no layers of the wanted kind.
    """
    kind = CARRIERS[params.carrier]
    chosen = re.compile(params.layers) if params.layers else None
    found = layers_of(network, kind.on, attention=params.modulated == "all", chosen=chosen)
    if not found:
        raise ContractError(
            f"{_WHO}: expected a host whose output step has layers for the carrier "
            f"{params.carrier!r} ({kind.on}), got none; set another `carrier`"
            + (f", or `layers`, now {params.layers!r}" if params.layers else ", or another host")
        )
    layers = list(found.values())
    embedding = Embedding(params.bits, params.embedding_dim, deep=params.mapping == "published")
    gain = params.gain or kind.default_gain
    return Carried(network, kind(layers, embedding, params.bits, gain), layers)


def fit(host: TrainedHost, samples: SampleStream, params: WouafParams, ctx: Context) -> State:
    """Trains network, carrier and reader until codes can be read and images stay as they were.

    Args:
        host: its output step learns; what stands before and behind it runs as it is.
        samples: the data set, for photographs, sizes and conditions.
        params: settings.
        ctx: seeds, device and codes.

    Returns:
        Averaged weights: ``network.*``, ``carrier.*``, ``reader.*``, and ``loudness`` () of codes.
    """
    generator = host.generator
    target = copy.deepcopy(generator.steps[generator.output]).eval().requires_grad_(False)
    network = copy.deepcopy(target).requires_grad_(not params.frozen)
    wide = params.model_copy(update={"bits": params.bits + params.spare_bits})
    with ctx.seeded("carrier"):
        model = carried(network, wide)
    model.carrier.to(ctx.device)
    stage = _Stage(host, samples, target, drifts(host, samples, params, ctx), wide, ctx)

    shape = samples.info.shape
    steps = round(params.steps * params.cropped) if stage.can_be_cut else 0
    if params.reader == "extractor":
        unmarked = stage.unmarked() if params.whitened_on == "host" else None
        eye: nn.Module = reader.read_first(samples, params, ctx, unmarked)
    else:
        with ctx.seeded("reader"):
            eye = placed(reader.build(_halved(shape) if steps else shape, params), ctx.device)
    if params.spare_bits and isinstance(eye, Extractor):
        steps = round(params.steps * _WITH_SPARE)
        eye = stage.train("spare", model, eye, (steps, params.whole_batch), first=True)
        lasts = sparing.lasting(model, eye, host, samples, ctx.branch("lasting"))
        sparing.keep(model, eye, lasts, params.bits)
        stage = replace(stage, params=params)
    elif steps:
        eye = stage.train("crops", model, eye, (steps, params.batch), first=True)
        with ctx.seeded("enlarged"):
            eye = placed(reader.enlarged(eye, shape, params), ctx.device)
    if rest := params.steps - steps:
        eye = stage.train("whole", model, eye, (rest, params.whole_batch), first=not steps)
    loudness = stage.loudness(model)
    modules = {"network": model.network, "carrier": model.carrier, "reader": eye}
    return prefixed(modules) | {"loudness": torch.tensor(loudness)}


@torch.no_grad()
def folded(
    network: nn.Module, state: State, code: Tensor, params: WouafParams, loudness: float = 1.0
) -> nn.Module:
    """One user's network: layers of the host, weights of the state, a code (K,) folded in.

    Args:
        network: the host's output step.
        state: from `fit`.
        code: bool.
        params: settings.
        loudness: factor of what the state says.
    """
    own = copy.deepcopy(network)
    own.load_state_dict(part(state, "network"))
    model = opened(own, state, params)
    signs = (code[None].float() * 2 - 1) * (float(state["loudness"]) * loudness)
    settings = model.carrier(signs.to(next(model.carrier.parameters()).device))
    model.carrier.fold(model.layers, [setting[0] for setting in settings])
    return own.eval()


def opened(network: nn.Module, state: State, params: WouafParams) -> Carried:
    """A network, whose weights stay, with the carrier of a state."""
    with torch.random.fork_rng(devices=[]):  # what is drawn is replaced at once
        model = carried(network, params)
    model.carrier.load_state_dict(part(state, "carrier"))
    model.carrier.to(state["loudness"].device)
    return model


@torch.no_grad()
def read_with(
    weights: Mapping[str, Tensor], samples: Tensor, params: WouafParams, modality: Modality[Any]
) -> Tensor:
    """Logits (N, K) by a reader of these weights, each sample by itself.

    Args:
        weights: of the reader.
        samples: as files carry them.
        params: settings.
        modality: of the samples.
    """
    with torch.random.fork_rng(devices=[]):
        eye = reader.build(samples.shape[1:], params)
    eye.load_state_dict(weights)
    eye = placed(eye, samples.device).eval()
    seen = modality.to_float(samples)
    return searching.surest(eye, seen) if params.searched else eye(seen)


@dataclass(frozen=True)
class _Bank:
    """Samples that a training comes back to: what enters the output step, and their targets."""

    entry: Tensor
    images: Tensor


@dataclass(frozen=True)
class _Stage:
    """What all steps of a training share."""

    host: TrainedHost
    samples: SampleStream
    target: nn.Module
    drifts: Sequence[Mapping[str, Tensor]]
    params: WouafParams
    ctx: Context

    @property
    def can_be_cut(self) -> bool:
        """Whether what enters the output step are maps large enough to take quarters of."""
        entry = self._entry(1, self.ctx.rng("probe"))[0]
        alone = self.host.generator.output == list(self.host.generator.steps)[-1]
        return alone and entry.dim() == 4 and min(entry.shape[2:]) >= 4

    @property
    def _is_sound(self) -> bool:
        return self.samples.info.modality == "audio"

    def bank(self, name: str, number: int, count: int) -> _Bank:
        """So many samples; in the training on "crops" a quarter of each, at a place of its own.

        A decoder draws the middle of a quarter as it draws it within the whole; towards its edges
        the target is what the host makes of the quarter, too.
        """
        entries, images = [], []
        for start in range(0, count, _CHUNK):
            rng = self.ctx.rng(f"bank/{name}", number, start)
            entry, photographs = self._entry(min(_CHUNK, count - start), rng)
            if name == "crops":
                entry, photographs = _quarters(entry, photographs, rng)
            with torch.no_grad():
                shown = self._behind(self.target(entry)) if photographs is None else photographs
            entries.append(entry)
            images.append(shown)
        return _Bank(torch.cat(entries), torch.cat(images))

    @torch.no_grad()
    def unmarked(self) -> Iterator[Tensor]:
        """uint8 images (N, 3, H, W) without a code, in batches: the host's and its tuned copies'.

        What codes have to be told from, and what fine-tuning adds to it.
        """
        own = copy.deepcopy(self.target)
        before = {name: value.clone() for name, value in own.named_parameters()}
        moved: list[Mapping[str, Tensor]] = [{}, *self.drifts]
        for number in range(reader.WHITENED // _BATCH_UNMARKED):
            move = moved[number % len(moved)]
            for name, value in own.named_parameters():
                value.copy_(before[name] + move[name] if name in move else before[name])
            entry, _ = self._entry(_BATCH_UNMARKED, self.ctx.rng("unmarked", number))
            yield self.ctx.modality.to_file(self._behind(own(entry)))

    def train(
        self,
        name: str,
        model: Carried,
        eye: Eye,
        size: tuple[int, int],
        *,
        first: bool,
    ) -> Eye:
        """Some steps of so many samples each; the model then has its averaged weights.

        Args:
            name: of the training, "crops", "spare" or "whole".
            model: learns.
            eye: the reader; it learns.
            size: number of steps, and samples of each.
            first: whether codes are still to be found.

        Returns:
            The reader with its averaged weights.
        """
        p, ctx = self.params, self.ctx
        steps, batch = size
        modules: dict[str, nn.Module] = {
            "network": model.network,
            "carrier": model.carrier,
            "reader": eye,
        }
        image_rate = p.image_learning_rate
        if name != "crops" and p.whole_image_learning_rate is not None:
            image_rate = p.whole_image_learning_rate
        # What was learnt on quarters is changed with care; what was learnt with spare bits is not.
        slower = 1.0 if first or p.spare_bits else 0.4
        optimiser = _optimiser(model, eye, p, image_rate, slower)
        averages: dict[str, Average[Any]] = {key: Average(m) for key, m in modules.items()}
        alike = likeness_of(p, ctx.device, relative=self._is_sound)
        last = not first or steps == p.steps
        bank, made = _Bank(torch.empty(0), torch.empty(0)), -1
        with TrainingRun(
            ctx,
            name,
            steps=steps,
            modules=modules,
            optimisers={"all": optimiser},
            averages=averages,
            batch=batch,
        ) as run:
            for step in run:
                known = run.memory.get("accuracy", 0.5 if first else 0.95)
                set_rates(optimiser, _rate(step, steps, p, last=last))
                if known < p.reader_from:
                    optimiser.param_groups[-1]["lr"] = 0.0
                if made != step // (_BANK * _USES):
                    made = step // (_BANK * _USES)
                    bank = self.bank(name, made, batch * min(_BANK, steps))
                rows = torch.randint(len(bank.entry), (batch,), generator=run.rng("samples"))
                codes = codes_of(batch, p.bits, run.rng("codes"), ctx)
                disturbance = drawn_for(run, known, self.drifts, p)
                early = first and step < 0.57 * steps
                signs = signs_of(codes, p, run.rng("shrink"), late=last and not early)
                firm = p.likeness_weight if early else p.final_weight
                # Half of the steps that may be disturbed are, and ask for no likeness.
                firm *= 2 if may_be_disturbed(known, self.drifts, p) else 1
                # Nor does sound ask for any before: its errors are relative, and are seen at once.
                firmness = _firmness(known, 0.0003 if self._is_sound else 0.003)
                if isinstance(eye, Extractor):
                    firmness = 1.0  # it says from the start where to go
                right = []
                for piece in run.pieces(batch):
                    own = rows[piece].to(ctx.device)
                    entry, shown = bank.entry[own], bank.images[own]
                    reading = partial(
                        self._read, model, eye, run, piece, batch, entry, signs[piece], codes[piece]
                    )
                    with disturbed(model.network, disturbance, reading):
                        images, logits, loss = reading()
                        # Likeness is asked of the weights as they are.
                        unlike = loss.new_zeros(()) if disturbance else alike(images, shown)
                        run.backward(loss + firm * firmness * unlike, piece, batch)
                    right.append(((logits > 0) == codes[piece]).float().mean())
                    run.log(reading=loss.detach())
                    if not disturbance:
                        run.log(likeness=unlike.detach())
                run.update(optimiser, clip=p.clip)
                accuracy = 0.9 * known + 0.1 * run.mean(right, batch)
                run.memory["accuracy"] = accuracy
                for average in averages.values():
                    average.update(warmed_decay(0.98, step))
                run.expect("the training codes' bit accuracy", accuracy, 0.6, after=0.7)
                run.log(accuracy=accuracy)
        for key in ("network", "carrier"):
            modules[key].load_state_dict(averages[key].module.state_dict())
        averaged: Eye = averages["reader"].module
        return averaged.requires_grad_(True)

    def _read(
        self,
        model: Carried,
        eye: nn.Module,
        run: TrainingRun,
        piece: slice,
        batch: int,
        entry: Tensor,
        signs: Tensor,
        codes: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Images, logits and loss of a piece of a batch."""
        with run.autocast():
            images = self._behind(model(entry, signs))
            with run.autocast(exact=True):
                seen = self.ctx.modality.quantise(images)
                seen = self._seen(seen, run, piece, batch)
            logits = eye(seen)
            return images, logits, code_loss(logits, codes)

    @torch.no_grad()
    def loudness(self, model: Carried) -> float:
        """How loud codes are folded, so that two copies are as like the host as is asked for.

        Between nothing and three times as loud as they were trained; 1 where nothing is asked for.
        """
        if self.params.likeness_db is None:
            return 1.0
        # Of a range of 2, or of a sound's own power.
        wanted = 10 ** (-self.params.likeness_db / 10) * (1 if self._is_sound else 4)
        codes = self.ctx.training_codes(2, self.ctx.rng("loudness")).float() * 2 - 1
        entry, _ = self._entry(_CHUNK, self.ctx.rng("loudness samples"))
        shown = self._behind(self.target(entry)).clamp(-1, 1)
        powers = shown.square().flatten(1).mean(1) if self._is_sound else 1.0
        low, high = 0.0, 3.0
        for _ in range(12):
            middle = (low + high) / 2
            error = torch.stack(
                [
                    (
                        self._behind(model(entry, middle * code.expand(len(entry), -1))).clamp(
                            -1, 1
                        )
                        - shown
                    )
                    .square()
                    .flatten(1)
                    .mean(1)
                    .div(powers)
                    .log()
                    .mean()
                    for code in codes
                ]
            ).mean()
            low, high = (middle, high) if float(error.exp()) < wanted else (low, middle)
        return (low + high) / 2

    def _entry(self, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """What enters the output step, of new latents or of encoded photographs with these."""
        generator, p = self.host.generator, self.params
        with torch.no_grad():
            if p.latents == "photographs":
                chosen = torch.randint(len(self.samples), (count,), generator=rng).numpy()
                photographs = self.samples.read(chosen)
                entry = self.host.encode(photographs, self.ctx, generator.output)
                shown = self.ctx.modality.to_float(photographs)
                return entry, shown if p.likeness == "photograph" else None
            latents = drawn(self.host, count, self.samples, rng, self.ctx.device)
            entry = generator.run(latents, until=generator.output)
        if not isinstance(entry, Tensor):
            raise ContractError(
                f"{_WHO}: expected one tensor to go into the host's step {generator.output!r}, got "
                f"{type(entry).__name__}; use another host"
            )
        return entry, None

    def _behind(self, images: Tensor) -> Tensor:
        return behind(self.host.generator, images)

    def _seen(self, images: Tensor, run: TrainingRun, piece: slice, batch: int) -> Tensor:
        """Samples as the reader meets them in training."""
        if self.params.hardened == "no":
            return images
        draws = run.draws("distortion", piece, batch)
        if self._is_sound:
            rate = self.samples.info.rate
            assert rate is not None  # sounds have one
            # A network that draws in steps of many samples is else read by where they lie.
            own = run.draws("shift", piece, batch)
            shifted = shift(images, own.uniform(-_SHIFT_S, _SHIFT_S) * rate)
            shifted = shifted * own.uniform(-1, 1).sign().to(images)[:, None, None]
            known = run.memory.get("accuracy", 0.5)
            return shifted if known < _FOUND else disturb(shifted, rate, draws)
        if self.params.hardened == "mild":
            return soften(images, draws)
        return distortions.published(images, draws)


def signs_of(codes: Tensor, params: WouafParams, rng: torch.Generator, *, late: bool) -> Tensor:
    """Codes (N, K) as ±1, some of them fainter where that is asked for.

    Args:
        codes: bool.
        params: settings.
        rng: of the present step.
        late: whether they may be fainter than those that a network still has to learn.
    """
    signs = codes.float() * 2 - 1
    if not params.shrink:
        return signs
    share, least, power = params.faint_share, params.faintest, params.faint_power
    if not late:
        share, least, power = min(share, 0.5), max(least, 0.3), 1.0
    draws = torch.rand(2, len(codes), generator=rng).to(signs)
    faint = least + (1 - least) * draws[1].pow(power)
    return signs * torch.where(draws[0] < share, faint, 1.0)[:, None]


def behind(generator: Generator, images: Tensor) -> Tensor:
    """What the output step gives, through the steps behind it."""
    names = list(generator.steps)
    later = names[names.index(generator.output) + 1 :]
    if not later:
        return images
    finished: Tensor = generator.run(images, first=later[0])
    return finished


def _firmness(known: float, first: float) -> float:
    """How firmly likeness is asked for: hardly, as `first`, until codes can be read at all."""
    if known < _FOUND:
        return first
    return min(1.0, max(0.05, 0.05 + 0.95 * (known - 0.85) / 0.13))


def _rate(step: int, steps: int, p: WouafParams, *, last: bool) -> float:
    if p.cycle:
        return warm_cosine(step % p.cycle, p.cycle, low=0.0, warmup=1)
    hold = int(0.3 * steps)
    warm = min(1.0, (step + 1) / 30)
    if step < hold:
        return warm
    low = 0.1 if last else 0.4
    return warm * warm_cosine(step - hold, steps - hold, low=low, warmup=1)


def _optimiser(
    model: Carried, eye: nn.Module, p: WouafParams, image_rate: float, factor: float
) -> AdamW:
    own = [w for w in model.network.parameters() if w.requires_grad]
    groups = [
        (own, image_rate * factor),
        (list(model.carrier.parameters()), p.code_learning_rate * factor),
        (list(eye.parameters()), (p.reader_learning_rate or p.code_learning_rate) * factor),
    ]
    return AdamW(
        [{"params": params, "lr": peak, "peak": peak} for params, peak in groups if params],
        betas=(0.9, 0.99),
        weight_decay=p.weight_decay,
        fused=True,
    )


def _quarters(
    entry: Tensor, images: Tensor | None, rng: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """Half of the height and width of each map, at a place of its own, and of images the same."""
    high, wide = (side // 2 for side in entry.shape[2:])
    rows = torch.randint(entry.shape[2] - high + 1, (len(entry),), generator=rng).tolist()
    columns = torch.randint(entry.shape[3] - wide + 1, (len(entry),), generator=rng).tolist()

    def cut(maps: Tensor) -> Tensor:
        f = maps.shape[2] // entry.shape[2]
        parts = [
            one[:, f * r : f * (r + high), f * c : f * (c + wide)]
            for one, r, c in zip(maps, rows, columns, strict=True)
        ]
        return torch.stack(parts).contiguous(memory_format=torch.channels_last)

    return cut(entry), None if images is None else cut(images)


def _halved(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of a sample of which both sides are cut in halves."""
    return (shape[0], *(size // 2 for size in shape[1:]))
