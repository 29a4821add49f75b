import gc
import os
import random
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from fpbench.stages.process import call, job, stepped


def facts():
    """What the process is like, read without the module under test."""
    return {
        "dtype": torch.empty(0).dtype,
        "device": torch.empty(0).device,
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn": [
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.enabled,
            torch.backends.cudnn.conv.fp32_precision,
        ],
        "matmul": [
            torch.backends.cuda.matmul.fp32_precision,
            torch.backends.mkldnn.matmul.fp32_precision,
        ],
        "autocast": torch.is_autocast_enabled("cpu"),
        "threads": torch.get_num_threads(),
        "torch": torch.get_rng_state().tolist(),
        "numpy": [*np.random.get_state()[1], *np.random.get_state()[2:]],  # noqa: NPY002 - the global one
        "python": random.getstate(),
        "errors": np.geterr(),
        "filters": list(warnings.filters),
        "recursion": sys.getrecursionlimit(),
        "directory": Path.cwd(),
        "environment": dict(os.environ),
        "signals": [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)],
        "streams": (sys.stdout, sys.stderr),
        "collector": gc.isenabled(),
    }


def set_device():
    torch.set_default_device("meta")


def draw():
    torch.rand(3), np.random.randn(3), random.random()  # noqa: NPY002, S311 - the global ones


def new_streams():
    sys.stdout = sys.stderr = None


def set_precision():
    torch.set_float32_matmul_precision("medium")
    torch.backends.cuda.matmul.allow_tf32 = True


def mix_precisions():
    torch.backends.cudnn.conv.fp32_precision = "tf32"
    torch.backends.fp32_precision = "tf32"


def enter_inference_mode():
    enter_inference_mode.held = torch.inference_mode()
    enter_inference_mode.held.__enter__()


def all_messes():
    for mess in MESSES.values():
        mess()
    return 1 / 0


MESSES = {
    "default dtype": lambda: torch.set_default_dtype(torch.float64),
    "default device": set_device,
    "grad mode": lambda: torch.set_grad_enabled(False),
    "inference mode": enter_inference_mode,
    "deterministic": lambda: torch.use_deterministic_algorithms(True, warn_only=True),
    "benchmark": lambda: setattr(torch.backends.cudnn, "benchmark", True),
    "cudnn": lambda: setattr(torch.backends.cudnn, "enabled", False),
    "precision": set_precision,
    "mixed precisions": mix_precisions,
    "autocast": lambda: torch.set_autocast_enabled("cpu", True),
    "threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "draws": draw,
    "numpy errors": lambda: np.seterr(all="raise"),
    "warnings": lambda: warnings.simplefilter("ignore"),
    "recursion limit": lambda: sys.setrecursionlimit(400),
    "directory": lambda: os.chdir("/"),
    "environment": lambda: os.environ.update(HOME="/nowhere", NEW="1"),
    "less environment": lambda: os.environ.pop("PATH"),
    "signals": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "streams": new_streams,
    "collector": gc.disable,
}


@pytest.mark.parametrize("mess", MESSES)
def test_what_a_plugin_sets_is_put_back(mess):
    before = facts()

    def plugin():
        MESSES[mess]()
        assert facts() != before
        return mess

    if mess != "signals":
        assert call(plugin) == mess
        assert facts() == before
    with job():
        assert call(plugin) == mess
        if mess != "signals":
            assert facts() == before
        MESSES[mess]()  # outside of any visit, as where images are drawn
        call(lambda: None)
    assert facts() == before


def test_it_is_put_back_behind_an_error_and_within_no_grad():
    with torch.no_grad():
        before = facts()
        with pytest.raises(ZeroDivisionError), job():
            all_messes()
        assert facts() == before


def test_a_generator_finds_its_own_modes_again_and_we_find_ours():
    seen = []

    def plugin():
        with torch.inference_mode():
            torch.set_default_dtype(torch.float64)
            torch.manual_seed(3)  # noqa: TID251 - the global one
            for _ in range(3):
                seen.append((torch.is_inference_mode_enabled(), torch.rand(1).item()))
                assert torch.get_default_dtype() == torch.float64
                yield torch.rand(1).item()

    before = facts()
    made = []
    for item in stepped(plugin()):
        assert facts() == before
        made.append(item)
        torch.rand(7)  # ours, which must not move theirs
        before = facts()
    assert facts() == before
    draws = torch.rand(6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert [pair[0] for pair in seen] == [True] * 3
    assert [x for pair, y in zip(seen, made, strict=True) for x in (pair[1], y)] == draws.tolist()


def test_an_abandoned_generator_ends_at_once_and_in_its_own_modes():
    ended = []

    def plugin():
        try:
            with torch.no_grad():
                yield 1
                yield 2
        finally:
            torch.set_default_dtype(torch.float64)
            ended.append(True)

    before = facts()
    items = stepped(plugin())
    assert next(items) == 1
    items.close()
    assert ended == [True]
    assert facts() == before


def test_torch_is_not_loaded_for_it():
    code = (
        "import sys; from fpbench.stages.process import Visit\n"
        "with Visit(): pass\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
