"""Training steps of the paper's networks, copies for one more user, images fed from a prepared set.

    pytest tests/bench/test_training_speed.py --benchmark-only -o addopts="" -s

A step is that of scalable GAN fingerprinting without its lazy regularisers: generator and reader on
two codes for each latent, then the discriminator. FPBENCH_BENCH_DEVICE=cuda runs it on a GPU, with
FPBENCH_BENCH_SIDE, _CHANNELS and _BATCH for larger ones.
"""

import os
import resource
import time

import click
import numpy as np
import pytest
import torch
from fpbench_scalable_gan.params import ScalableGANParams
from fpbench_scalable_gan.plugin import ScalableGAN
from fpbench_scalable_gan.training import build, build_discriminator, build_reader
from torch.utils.flop_counter import FlopCounterMode

from fpbench.builtin.published_sets import prepared
from fpbench.builtin.published_sets.datasets import Published
from fpbench.nn.losses import code_loss, discriminator_loss, nonsaturating_loss
from fpbench.nn.modulation import ModulatedConv, modulated_convs
from fpbench.nn.schedule import adam
from fpbench.nn.state import prefixed
from fpbench.stages import images
from fpbench.stages.context import StageContext
from fpbench.stages.images import SplitStream
from fpbench.store import Store

DEVICE = torch.device(os.environ.get("FPBENCH_BENCH_DEVICE", "cpu"))
SIDE, CHANNELS, BATCH = (
    int(os.environ.get(f"FPBENCH_BENCH_{name}", default))
    for name, default in (("SIDE", 32), ("CHANNELS", 64), ("BATCH", 16))
)
LATENT, ROUNDS = 64, 4
FORMS = {
    "grouped fp32": ("grouped", torch.contiguous_format, False),
    "scaled fp32": ("forward", torch.channels_last, False),
    "scaled bf16": ("forward", torch.channels_last, True),
    "grouped bf16": ("grouped", torch.contiguous_format, True),
}


def wait():
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


class Step:
    """One step in one form."""

    def __init__(self, form):
        method, layout, self.mixed = FORMS[form]
        params = ScalableGANParams(
            architecture="stylegan2",
            bits=32,
            channels=CHANNELS,
            channel_base=CHANNELS * SIDE,
            embedding_dim=CHANNELS,
        )
        self.generator = build(SIDE, LATENT, params)
        self.reader = build_reader(SIDE, LATENT, params)
        self.judge = build_discriminator(SIDE, params)
        for conv in modulated_convs(self.generator).values():
            conv.forward = getattr(conv, method)
        for network in (self.generator, self.reader, self.judge):
            network.to(DEVICE).to(memory_format=layout)
        own = [*self.generator.parameters(), *self.reader.parameters()]
        self.optimisers = [
            adam([(own, 2e-3)], betas=(0.0, 0.99)),
            adam([(self.judge.parameters(), 2e-3)], betas=(0.0, 0.99)),
        ]
        self.latents = torch.randn(BATCH, LATENT, device=DEVICE)
        self.codes = torch.rand(2 * BATCH, 32, device=DEVICE) < 0.5
        self.real = (torch.rand(BATCH, 3, SIDE, SIDE, device=DEVICE) * 2 - 1).contiguous(
            memory_format=layout
        )

    def __call__(self):
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=self.mixed):
            fakes = self.generator(self.latents.repeat(2, 1), self.codes)
            first, second = fakes.chunk(2)
            latent, logits = self.reader(fakes)
            loss = (
                code_loss(logits, self.codes)
                + (latent - self.latents.repeat(2, 1)).square().mean()
                + nonsaturating_loss(self.judge(first))
                + (first - second).square().mean()
            )
        self._descend(loss, 0)
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=self.mixed):
            judged = discriminator_loss(self.judge(self.real), self.judge(first.detach()))
        self._descend(judged, 1)
        wait()

    def _descend(self, loss, which):
        loss.backward()
        self.optimisers[which].step()
        for optimiser in self.optimisers:
            optimiser.zero_grad()


def limit(mixed):
    """Operations per second of a large matrix product, the most that a step could do."""
    size = 1024 if DEVICE.type == "cpu" else 8192
    a, b = (
        torch.randn(size, size, device=DEVICE, dtype=torch.bfloat16 if mixed else torch.float32)
        for _ in range(2)
    )
    best = min(timed(lambda: a @ b) for _ in range(8))
    return 2 * size**3 / best


def timed(call):
    start = time.perf_counter()
    call()
    wait()
    return time.perf_counter() - start


@pytest.mark.timeout(1800)
def test_whole_step(benchmark):
    """In turns, so that whatever else runs on the machine slows all of them."""
    steps = {form: Step(form) for form in FORMS}
    counter = FlopCounterMode(display=False)
    with counter:
        steps["scaled fp32"]()
    work = counter.get_total_flops()
    seconds = {form: [] for form in FORMS}
    for step in steps.values():
        step()
    for _ in range(ROUNDS):
        for form, step in steps.items():
            seconds[form].append(timed(step))
    best = {form: min(times) for form, times in seconds.items()}
    benchmark.pedantic(steps["scaled bf16"], rounds=1)
    click.echo(f"\n{SIDE} px, {CHANNELS} channels, {BATCH} latents, {DEVICE}")
    for form, taken in best.items():
        share = work / taken / limit(FORMS[form][2])
        benchmark.extra_info[form] = {"images_per_s": 2 * BATCH / taken, "share_of_limit": share}
        times = best["grouped fp32"] / taken
        click.echo(
            f"{form:13} {2 * BATCH / taken:9.1f} images/s, {times:.2f} times grouped fp32, "
            f"{share:.0%} of the limit of matrix products"
        )


@pytest.mark.parametrize("up", [False, True], ids=["same", "up"])
@pytest.mark.parametrize("side", [8, 16, 32])
@pytest.mark.timeout(600)
def test_modulated_convolution(benchmark, side, up):
    """Forward and backward of one layer, scaled over grouped."""
    conv = ModulatedConv(CHANNELS, CHANNELS, up=up).to(DEVICE)
    style = torch.rand(BATCH, CHANNELS, device=DEVICE) + 0.5
    x = torch.randn(BATCH, CHANNELS, side, side, device=DEVICE)
    inputs = {
        "grouped": (conv.grouped, x.clone().requires_grad_()),
        "forward": (
            conv.to(memory_format=torch.channels_last).forward,
            x.contiguous(memory_format=torch.channels_last).requires_grad_(),
        ),
    }
    best = {name: min(timed(lambda f=f, x=x: f(x, style).sum().backward()) for _ in range(8))
            for name, (f, x) in inputs.items()}  # fmt: skip
    form, x = inputs["forward"]
    benchmark.pedantic(lambda: form(x, style).sum().backward(), rounds=3)
    ratio = best["grouped"] / best["forward"]
    benchmark.extra_info["scaled_over_grouped"] = ratio
    click.echo(f"\n{side} px{', up' if up else ''}: scaled {ratio:.2f} times grouped")


def owner(side=64, channels=256):
    """A method of the suite faces-64 with an untrained state."""
    params = ScalableGANParams(
        architecture="stylegan2", bits=128, channels=channels, channel_base=8192, embedding_dim=512
    )
    state = prefixed({"generator": build(side, 512, params), "reader": torch.nn.Identity()})
    state |= {"image_size": torch.tensor(side), "latent_dim": torch.tensor(512)}
    return ScalableGAN(params), state


@pytest.mark.timeout(600)
def test_one_more_user(benchmark, tmp_path):
    """The bar is 50 ms at 64 pixels on a CPU, once the trained state is loaded."""
    method, state = owner()
    ctx = StageContext(torch.device("cpu"), (0, "issue"), Store(tmp_path))
    codes = iter(torch.rand(200, 128) < 0.5)
    benchmark.pedantic(
        lambda: method.assemble(state, None, {"code": next(codes)}, ctx), rounds=20, warmup_rounds=2
    )
    click.echo(f"\none more user at 64 px: {1e3 * benchmark.stats.stats.median:.0f} ms")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_users_in_a_stream(tmp_path):
    """Each is folded, draws an image and is forgotten; memory and disk do not grow."""
    method, state = owner(side=32, channels=64)
    ctx = StageContext(torch.device("cpu"), (0, "issue"), Store(tmp_path))
    rng = torch.Generator().manual_seed(0)
    seen = []
    for user in range(10_000):
        code = torch.rand(128, generator=rng) < 0.5
        copy = method.assemble(state, None, {"code": code}, ctx)
        assert copy.sample(copy.prior([user])).shape == (1, 3, 32, 32)
        if user % 1000 == 999:
            seen.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    click.echo(f"\npeak memory after each 1,000 users, MiB: {[round(mib) for mib in seen]}")
    assert seen[-1] - seen[0] < 64
    assert not list(tmp_path.rglob("*.safetensors"))


class Prepared64(Published):
    """20,000 images of noise at 64 pixels."""

    name = "noise"
    version = "1"
    size = 64
    get_by_hand = ""
    card = None

    def _images(self):
        return iter(())

    def _square(self, image):
        return image


@pytest.mark.timeout(600)
def test_feeding_a_device(benchmark, tmp_path, monkeypatch):
    """The bar is 20,000 images per second at 64 pixels from one core."""
    monkeypatch.setenv("FPBENCH_DATA", str(tmp_path))
    monkeypatch.setattr(images, "_HELD_BYTES", 0)  # from the mapped file, as a large set is
    count, batch = 20_000, 64
    noise = np.random.default_rng(0).integers(0, 256, (256, 64, 64, 3), dtype=np.uint8)
    prepared.store("noise", 64, count, "1", (noise[i % 256] for i in range(count)))
    params = Prepared64.Params(train=count - 2, test=1, reference=1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        stream = SplitStream(Prepared64(params), "train", torch.device("cpu"))
        rng = np.random.default_rng(1)
        picks = [rng.integers(0, count - 2, batch) for _ in range(400)]
        benchmark.pedantic(lambda: [stream.read(p) for p in picks], rounds=3, warmup_rounds=1)
    finally:
        torch.set_num_threads(threads)
    rate = 400 * batch / benchmark.stats.stats.min
    benchmark.extra_info["images_per_s"] = rate
    click.echo(f"\nfed from one core: {rate:,.0f} images/s at 64 px")
