"""Plugins that ruin what they are lent, or the process that they run in."""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import warnings
from typing import ClassVar, Literal

import cv2
import numpy as np

from fpbench.api import (
    Access,
    Card,
    Method,
    ModelAttack,
    NoParams,
    Params,
    Placement,
    PostHocMethod,
    SampleAttack,
    Strength,
    hookimpl,
)
from fpbench.testing.fakes import Keyed

CARD = Card("Culprit", "own", "Apache-2.0", "For tests.")


class InPlaceParams(Params):
    how: Literal["flip", "sort", "zero", "invert-a-copy", "numpy", "opencv", "fails"] = "flip"


class InPlace(SampleAttack[InPlaceParams]):
    name = "in-place"
    version = "1"
    Params = InPlaceParams
    family = "culprit"
    card = CARD

    def apply(self, images, indices, strength, ctx):
        how = self.params.how
        if how == "flip":
            images.copy_(images.flip(3))
        elif how == "sort":  # no sum shows it
            images.copy_(images.flatten(1).sort(dim=1).values.reshape(images.shape))
        elif how == "zero":
            images.zero_()
        elif how == "invert-a-copy":
            images.detach().data.bitwise_not_()
            return images.clone()
        elif how == "numpy":  # no version counter shows it
            images.numpy()[...] = 0
        elif how == "opencv":
            for image in images.permute(0, 2, 3, 1).numpy():
                cv2.rectangle(image, (0, 0), (31, 31), (9, 9, 9), -1)
        else:
            images.zero_()
            raise RuntimeError("it fails behind its deed")
        return images


class Buffered(SampleAttack[NoParams]):
    """Fills one buffer again and again; its strengths differ nevertheless."""

    name = "buffered"
    version = "1"
    Params = NoParams
    family = "culprit"
    card = CARD
    strength = Strength("shade", "levels", (0, 255), 0, 255, whole=True)
    buffer: ClassVar = {}

    def apply(self, images, indices, strength, ctx):
        out = self.buffer.setdefault(tuple(images.shape), images.clone())
        out.copy_(images)
        if strength:
            out.fill_(int(strength))
        return out


class SpoilParams(Params):
    what: Literal["generator", "state", "clean", "copy", "yields-in-no-grad"] = "generator"


class Spoil(ModelAttack[SpoilParams]):
    """Ruins what its surface opens, and returns the copy with weights that hardly differ."""

    name = "spoil"
    version = "1"
    Params = SpoilParams
    family = "culprit"
    access = frozenset({Access.COPY, Access.PUBLIC_HOST, Access.CLEAN_IMAGES})
    strength = Strength("share", "of it", (0.5,), 0, 1)
    card = CARD

    def apply(self, surface, strengths, ctx):
        import torch

        what = self.params.what
        if what == "generator":
            zero(surface.public_host.generator)
        elif what == "state":
            for tensor in surface.public_host.state.values():
                tensor.numpy()[...] = 0
        elif what == "clean":
            surface.clean_images.zero_()
        elif what == "copy":
            zero(surface.copy)
        copy = surface.copy
        for step in copy.steps.values():
            for parameter in step.parameters():
                parameter.data += 1e-9 if what == "copy" else 1e-7 * parameter.data
        with torch.no_grad():
            for strength in strengths:
                torch.set_default_dtype(torch.float64)
                yield strength, copy
                assert not torch.is_grad_enabled()
                assert torch.get_default_dtype() == torch.float64


def zero(generator):
    import torch

    with torch.no_grad():
        for step in generator.steps.values():
            for parameter in step.parameters():
                parameter.zero_()


class RuinousParams(Params):
    bits: int = 16
    where: Literal["fit-generator", "fit-state", "issue", "assemble", "extract", "code", "process"]


class Ruinous(PostHocMethod[RuinousParams]):
    """Reads like the fake "perfect", and ruins something on the way."""

    name = "ruinous"
    version = "1"
    Params = RuinousParams
    placement = Placement.POST_HOC
    keeps_sample = True
    card = CARD

    def fit(self, host, images, ctx):
        import torch

        if self.params.where == "fit-generator":
            zero(host.generator)
            assert not host.generator.sample(host.generator.prior([0])).float().std()
        if self.params.where == "fit-state":
            ruin(host.state)
        if self.params.where == "process":
            leave_a_mess()
        return {"amplitude": torch.full((1,), 0.25, dtype=torch.float32, device="cpu")}

    def issue(self, state, host, user, samples, ctx):
        if self.params.where == "issue":
            ruin(host.state)
        issued = {"code": user.code.clone()}
        if self.params.where == "code":
            user.code.logical_not_()
        if self.params.where == "process":
            leave_a_mess()
        return issued

    def embedder(self, state, ctx):
        from fpbench.testing import networks

        return networks.BlockEmbedder(self.params.bits, state["amplitude"])

    def extract(self, state, host, evidence, ctx):
        from fpbench.testing import networks

        logits = networks.block_contrast(evidence.samples.clone(), self.params.bits)
        evidence.samples.zero_()
        if self.params.where == "extract":
            ruin(host.state)
            state["amplitude"].add_(1)
        if self.params.where == "process":
            leave_a_mess()
        return logits


class Forgetful(Keyed):
    """Reads like the fake "keyed", and writes into what it was told of its users."""

    name = "forgetful"

    def enrol(self, state, host, users, samples, ctx):
        import torch

        known = super().enrol(state, host, users, samples, ctx)
        return {**known, "asked": torch.zeros(1)}

    def extract(self, state, host, evidence, ctx):
        evidence.registry["asked"].add_(1)
        return super().extract(state, host, evidence, ctx)


def ruin(state):
    state["map.weight"].data.mul_(-1)
    state.clear()


def leave_a_mess():
    """Everything that a process keeps and a careless plugin sets."""
    import torch

    torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002, S311 - the global ones
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_grad_enabled(False)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.deterministic = False
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.set_float32_matmul_precision("medium")
    torch.set_autocast_enabled("cpu", True)
    np.seterr(all="raise")
    warnings.simplefilter("error")
    os.chdir("/")
    os.environ["TORCH_HOME"] = "/nowhere"
    os.environ.pop("HOME", None)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.stdout = sys.stderr = None
    gc.disable()
    sys.setrecursionlimit(150 + depth())


def depth():
    frame, found = sys._getframe(), 0
    while frame is not None:
        frame, found = frame.f_back, found + 1
    return found


@hookimpl
def fpbench_methods() -> list[type[Method]]:
    return [Ruinous, Forgetful]


@hookimpl
def fpbench_attacks():
    return [InPlace, Buffered, Spoil]
