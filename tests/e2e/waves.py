"""Samples that are no images: waves, int16 (N, 1, 128), with known answers."""

import numpy as np

from fpbench.api import (
    Card,
    Dataset,
    Host,
    Modality,
    NoParams,
    Offer,
    Params,
    PostHocMethod,
    SampleAttack,
    SampleInfo,
    Strength,
    hookimpl,
)

CARD = Card("Wave", "own", "Apache-2.0", "For tests.")
LENGTH, LATENT = 128, 8
COUNTS = {"train": 32, "test": 64, "reference": 64}
WAVE = frozenset({"wave"})


class Wave(Modality[NoParams]):
    """16-bit sounds of one channel."""

    name, version, Params, card = "wave", "1", NoParams, CARD

    def check(self, who, samples, count, info):
        from fpbench.api.samples import check_samples

        return check_samples(who, "waves", samples, count, info)

    def to_float(self, samples):
        return samples.float() / 2**15

    def to_file(self, samples):
        import torch

        levels = samples.detach().float().mul(2**15).round()
        return levels.clamp(-(2**15), 2**15 - 1).to(torch.int16)

    @property
    def likeness(self):
        return {"snr": snr}

    def damage(self, before, after):
        return (self.to_float(before) - self.to_float(after)).abs().mean(dim=(1, 2))

    def features(self, device, info):
        import torch

        class Quarters(torch.nn.Module):
            def forward(self, samples):
                return samples.float().reshape(len(samples), 4, -1).mean(dim=2) / 2**15

        return Quarters().to(device)

    def show(self, samples):
        return "audio/wav", samples.tobytes()


def snr(before, after):
    """(N,) signal to noise in dB."""
    import torch

    wave, noise = before.double(), (before.double() - after.double())
    return 10 * torch.log10(wave.square().sum(dim=(1, 2)) / noise.square().sum(dim=(1, 2)))


class Tones(Dataset[NoParams]):
    """Sines of random frequency and phase."""

    name, version, Params, card = "tones", "1", NoParams, CARD
    drawn = True

    def info(self):
        return SampleInfo("wave", (1, LENGTH), "int16", COUNTS, rate=8000)

    def digest(self):
        return "tones"

    def read(self, split, indices):
        first = 1000 * list(COUNTS).index(split)
        dice = [np.random.default_rng(first + int(i)).random(2) for i in indices]
        turns, phases = np.reshape(dice, (-1, 2)).T[..., None]
        time = np.arange(LENGTH) / LENGTH
        waves = np.sin(2 * np.pi * (turns * 9 * time + phases))
        return np.round(waves * 2**14).astype(np.int16)[:, None]


class Synth(Host[NoParams]):
    """A linear map of 8 latents to waves."""

    name, version, Params, card = "synth", "1", NoParams, CARD
    offers = frozenset({Offer.WEIGHTS})
    modalities = WAVE

    def fit(self, images, ctx):
        import torch

        assert images.read([3, 1]).shape == (2, *ctx.info.shape)
        assert ctx.info.rate == 8000
        with ctx.seeded("init"):
            return {"map.weight": torch.randn(ctx.info.size, LATENT, device=ctx.device) / 4}

    def assemble(self, state, ctx):
        import torch

        from fpbench.nn.generator import ChainGenerator

        class Map(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.map = torch.nn.Linear(LATENT, ctx.info.size, bias=False)

            def forward(self, latents):
                return torch.tanh(self.map(latents))[:, None]

        step = Map().to(ctx.device)
        step.load_state_dict(state)
        return ChainGenerator({"generator": step}, LATENT, ctx.device, ctx.modality.to_file)


class BlockParams(Params):
    """Length of the code."""

    bits: int = 16


class Blocks(PostHocMethod[BlockParams]):
    """Bit k is the sign of the mean of block k."""

    name, version, Params, card = "blocks", "1", BlockParams, CARD
    modalities = WAVE
    trains = False

    def fit(self, host, images, ctx):
        import torch

        return {"amplitude": torch.tensor([0.5], device=ctx.device)}

    def embedder(self, state, ctx):
        import torch

        class Marker(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.amplitude = torch.nn.Parameter(state["amplitude"].clone())

            def forward(self, samples, codes):
                block = samples.shape[-1] // codes.shape[1]
                signs = (codes.float() * 2 - 1).repeat_interleave(block, dim=1)
                return samples / 4 + self.amplitude * signs[:, None]

        return Marker()

    def extract(self, state, host, evidence, ctx):
        waves = ctx.modality.to_float(evidence.samples)
        return waves.reshape(len(waves), self.bits, -1).mean(dim=2)


class Hush(SampleAttack[NoParams]):
    """Takes a share of the level away."""

    name, version, Params, card = "hush", "1", NoParams, CARD
    family = "level"
    modalities = WAVE
    strength = Strength("share", "of the level", (0.5,), 0, 1, identity=0)

    def apply(self, images, indices, strength, ctx):
        return ctx.modality.to_file(ctx.modality.to_float(images) * (1 - strength))


@hookimpl
def fpbench_modalities():
    return [Wave]


@hookimpl
def fpbench_datasets():
    return [Tones]


@hookimpl
def fpbench_hosts():
    return [Synth]


@hookimpl
def fpbench_methods():
    return [Blocks]


@hookimpl
def fpbench_attacks():
    return [Hush]
