import subprocess
import sys

import fpbench.api


def test_public_names_are_sorted_and_there():
    assert fpbench.api.__all__ == sorted(fpbench.api.__all__)
    assert all(hasattr(fpbench.api, name) for name in fpbench.api.__all__)


def test_planning_imports_neither_torch_nor_pandas():
    code = (
        "import sys; from fpbench.execute.request import Request; import fpbench.cli.main;"
        "from fpbench.plan.status import status_of; from fpbench.store import Store;"
        "from pathlib import Path; plan, _ = Request('quickstart').plan();"
        "status_of(plan, Store(Path('nowhere')));"
        "bad = {'torch', 'pandas', 'cv2', 'scipy', 'numpy'} & set(sys.modules);"
        "sys.exit(f'imported {bad}' if bad else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_attacks_reach_only_what_they_declare():
    import pytest

    from fpbench.api import Access, ContractError, Surface

    surface = Surface(frozenset({Access.COPY}), "greedy", _copies=[object()])
    assert surface.copy is not None
    with pytest.raises(ContractError, match=r"greedy.*declares.*public-host"):
        _ = surface.public_host
    with pytest.raises(ContractError, match="clean-images"):
        _ = surface.clean_images
