import subprocess
import sys

import fpbench.stats


def test_public_names_are_sorted_and_exist():
    names = fpbench.stats.__all__
    assert names == sorted(names, key=lambda name: (not name.isupper(), name))
    assert all(hasattr(fpbench.stats, name) for name in fpbench.stats.__all__)


def test_importing_stats_loads_neither_torch_nor_scipy():
    code = "import sys, fpbench.stats; sys.exit('torch' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
