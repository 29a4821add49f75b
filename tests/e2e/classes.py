"""Images that are asked for by class, and show theirs: the level of red is the class."""

import numpy as np

from fpbench.api import Generator, Offer, SampleInfo, hookimpl
from fpbench.builtin.toy_faces.dataset import ToyFaces
from fpbench.testing.fakes import Blind, TinyHost


class ClassFaces(ToyFaces):
    """Test images are of the classes 0 to 2; those of class 3 are elsewhere."""

    name = "class-faces"

    def info(self):
        plain = super().info()
        return SampleInfo.of_images(plain.size, plain.counts, "classes")

    def conditions(self, split, indices):
        return [int(i) % 3 if split == "test" else 3 for i in indices]


class ByClass(Generator):
    """Latents are a dict of "z", (N, 8), and "class", (N,)."""

    def __init__(self, chain):
        self.chain = chain

    @property
    def steps(self):
        return self.chain.steps

    def prior(self, seeds, conditions=()):
        import torch

        conditions = conditions or [seed % 3 for seed in seeds]
        assert len(conditions) == len(seeds)
        return {"z": self.chain.prior(seeds), "class": torch.tensor(conditions)}

    def sample(self, latents):
        return self.chain.sample(latents)

    def replace(self, name, step, *, after=None):
        return ByClass(self.chain.replace(name, step, after=after))


class ClassHost(TinyHost):
    name = "class-host"
    offers = frozenset({Offer.WEIGHTS})

    def assemble(self, state, ctx):
        from torch import nn

        class Red(nn.Module):
            def __init__(self, step):
                super().__init__()
                self.step = step

            def forward(self, latents):
                images = self.step(latents["z"]).clone()
                images[:, 0] = (latents["class"] / 3 - 0.5).view(-1, 1, 1)
                return images

        chain = super().assemble(state, ctx)
        return ByClass(chain.replace("generator", Red(chain.steps["generator"])))

    def unpack(self, packed, ctx):
        inner = {name.removeprefix("generator/step."): t for name, t in packed.items()}
        return self.assemble(inner, ctx)


class Telling(Blind):
    """Copies are the host; every bit is the level of red."""

    name = "telling"

    def extract(self, state, host, evidence, ctx):
        red = evidence.samples[:, 0].float().mean((1, 2)) / 127.5 - 1
        return red[:, None].expand(-1, self.bits).contiguous()


def class_of(red):
    """The classes that levels of red in [-1, 1] stand for."""
    return np.round((np.asarray(red) + 0.5) * 3).astype(int).tolist()


@hookimpl
def fpbench_datasets():
    return [ClassFaces]


@hookimpl
def fpbench_hosts():
    return [ClassHost]


@hookimpl
def fpbench_methods():
    return [Telling]
