import pytest
import torch

from fpbench.api import SampleAttack
from fpbench.registry import load
from fpbench.stages.context import StageContext
from fpbench.store import Store


def image_attacks():
    catalogue = load()
    for name in catalogue.names("attacks"):
        cls = catalogue.component("attacks", name)
        if issubclass(cls, SampleAttack) and cls.__module__.startswith("fpbench_distortion"):
            yield pytest.param(cls, id=name)


@pytest.mark.gpu
@pytest.mark.parametrize("cls", list(image_attacks()))
def test_an_image_attack_stays_on_the_gpu_and_gives_what_the_cpu_gives(cls, tmp_path):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (8, 3, 64, 64), generator=generator, dtype=torch.uint8)
    images = images.contiguous(memory_format=torch.channels_last)
    attack = cls(cls.Params())
    strength = 0.0 if cls.strength is None else cls.strength.grid[0]
    changed = []
    for device in ("cpu", "cuda"):
        ctx = StageContext(torch.device(device), (0, "attack", cls.name), Store(tmp_path))
        out = attack.apply(images.to(device), range(8), strength, ctx)
        assert out.device.type == device
        changed.append(out.cpu().int())
    apart = (changed[0] - changed[1]).abs().float()
    # JPEG behind another attack makes several levels of a rounding.
    composite = cls.family == "combination"
    assert apart.mean() <= (0.5 if composite else 0.02)
    assert composite or apart.max() <= 1
