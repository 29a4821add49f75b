"""Every image attack beside its peers; `attack_ratios.py` prints the ratios as a table.

FPBENCH_BENCH_IMAGES sets how many images (1,000 where it is not set).
"""

import os

import peers
import pytest

from fpbench.store import Store

IMAGES = int(os.environ.get("FPBENCH_BENCH_IMAGES", "1000"))


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("who", peers.WHO)
@pytest.mark.parametrize("side", [64, 256])
@pytest.mark.parametrize("name", peers.PILLOW)
def test_attack_on_a_thousand_images(benchmark, tmp_path, name, side, who):
    work = peers.work(name, IMAGES, side, Store(tmp_path))
    try:
        run = peers.runner(who, work)
    except peers.NoPeer as missing:
        pytest.skip(str(missing))
    benchmark.group = f"{name} {side}"
    benchmark.extra_info.update(images=IMAGES, who=who)
    benchmark.pedantic(run, rounds=3, warmup_rounds=1)
