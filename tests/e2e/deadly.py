"""Plugins that would end, stop or silence more than their own cells."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from typing import ClassVar, Literal

from fpbench.api import Access, Card, ModelAttack, Params, SampleAttack, Strength, hookimpl
from fpbench.builtin.codes.uniform import Uniform
from fpbench.testing.fakes import Perfect, PerfectParams

CARD = Card("Deadly", "own", "Apache-2.0", "For tests.")
Deed = Literal[
    "exit", "interrupt", "base", "crash", "kill", "unprintable", "long", "raises",
    "print", "read", "chdir", "thread", "exit-code",
]  # fmt: skip


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class Base(BaseException):
    pass


def do(how):  # noqa: C901 - a list of deeds
    if how == "exit":
        sys.exit()
    elif how == "exit-code":
        sys.exit(0)
    elif how == "interrupt":
        raise KeyboardInterrupt
    elif how == "base":
        raise Base("neither an Exception nor ours")
    elif how == "crash":
        ctypes.string_at(0)
    elif how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "unprintable":
        raise Unprintable
    elif how == "long":
        raise RuntimeError("\n".join(f"line {i}" for i in range(100_000)))
    elif how == "raises":
        raise RuntimeError("\ud800 no text of any file")
    elif how == "print":
        os.system("echo from a program; echo and an error >&2")  # noqa: S605
        os.write(1, b'{"done": []}\n')
        os.write(2, b"noise\n")
        sys.stdout.write("noise\n")
    elif how == "read":
        assert sys.stdin.read() == ""
    elif how == "chdir":
        os.chdir("/")
    elif how == "thread":
        threading.Thread(target=time.sleep, args=(3600,)).start()


class DeedParams(Params):
    """What is done."""

    how: Deed = "exit"


class DeadlyImage(SampleAttack[DeedParams]):
    name = "deadly-image"
    version = "1"
    Params = DeedParams
    family = "deadly"
    card = CARD

    def apply(self, images, indices, strength, ctx):
        do(self.params.how)
        return images


class DeadlyModel(ModelAttack[DeedParams]):
    name = "deadly-model"
    version = "1"
    Params = DeedParams
    family = "deadly"
    access: ClassVar = frozenset({Access.COPY})
    changes_weights = False
    strength = Strength("times", "times", (1,), 0, 9, identity=1)
    card = CARD

    def apply(self, surface, strengths, ctx):
        do(self.params.how)
        for strength in strengths:
            yield strength, surface.copy


class MethodParams(PerfectParams):
    """Where what is done."""

    where: Literal["fit", "issue", "extract", "refuse"] = "fit"
    how: Deed = "exit"


class DeadlyMethod(Perfect):
    name = "deadly-method"
    Params = MethodParams

    def at(self, where):
        if self.params.where == where:
            do(self.params.how)

    def refuse(self, host, attack):
        self.at("refuse")
        return super().refuse(host, attack)

    def fit(self, host, images, ctx):
        self.at("fit")
        return super().fit(host, images, ctx)

    def issue(self, state, host, user, samples, ctx):
        self.at("issue")
        return super().issue(state, host, user, samples, ctx)

    def extract(self, state, host, evidence, ctx):
        self.at("extract")
        return super().extract(state, host, evidence, ctx)


class CodeParams(Params):
    """What is done when codes are drawn."""

    how: Deed = "exit"


class DeadlyCode(Uniform):
    name = "deadly-code"
    Params = CodeParams

    def draw(self, bits, count, rng, book):
        do(self.params.how)
        return super().draw(bits, count, rng, book)


@hookimpl
def fpbench_methods():
    return [DeadlyMethod]


@hookimpl
def fpbench_codes():
    return [DeadlyCode]


@hookimpl
def fpbench_attacks():
    return [DeadlyImage, DeadlyModel]
