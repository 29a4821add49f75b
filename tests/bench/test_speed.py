import numpy as np
import pytest

from fpbench.builtin.toy_faces.faces import draw
from fpbench.plan import make_plan
from fpbench.plan.status import status_of
from fpbench.registry import load
from fpbench.spec import read_suite
from fpbench.store import Store


@pytest.mark.parametrize("size", [32, 64])
def test_toy_faces_per_thousand(benchmark, size):
    benchmark(draw, np.arange(1000), size)


def test_plan_of_ten_thousand_cells(benchmark, suite_file, tmp_path):
    catalogue = load(["fpbench.testing.fakes"])
    methods = "".join(
        f'[[methods]]\nuse = "blind"\nlabel = "m{i}"\nbits = {16 + i}\n' for i in range(25)
    )
    strengths = ", ".join(f"{1 + i / 1000:.3f}" for i in range(400))
    attack = f'[[attacks]]\nuse = "gaussian-blur"\nsigma = [{strengths}]\n'
    text = f"""
[suite]
name = "large"
[dataset]
use = "toy-faces"
[host]
use = "tiny-host"
{methods}{attack}"""
    path = suite_file(text=text)

    def plan():
        made = make_plan(read_suite(str(path), catalogue), catalogue.metrics())
        return status_of(made, Store(tmp_path / "store"))

    status = benchmark.pedantic(plan, rounds=3)
    assert status.cells["pending"] == 25 * 401


def test_put_and_get_of_an_artefact(benchmark, tmp_path):
    store = Store(tmp_path)
    numbers = iter(range(10**6))
    arrays = {"logits": np.zeros((18, 32), np.float32)}

    def once():
        key = f"{next(numbers):064x}"
        store.put(key, arrays, {"a": 1})
        store.get(key)

    benchmark(once)


def test_extraction_of_a_thousand_fakes(benchmark):
    import torch

    from fpbench.nn.reader import Reader

    reader = Reader(image_size=32, outputs=32).eval()
    images = torch.zeros(1024, 3, 32, 32)
    with torch.no_grad():
        benchmark(reader, images)
