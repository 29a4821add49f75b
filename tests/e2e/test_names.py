"""Labels that read alike keep their own records, pictures and logs."""

import json

import cv2
import numpy as np
import pytest

from fpbench.api import Outcome

LABELS = [("per fect", "per-fect"), ("方法一", "方法二")]


@pytest.mark.parametrize(("one", "two"), LABELS)
def test_methods_whose_labels_make_one_file_name_show_their_own_pictures(
    run_suite, suite_file, one, two
):
    from fpbench.execute.request import Request
    from fpbench.stages.measuring import Measurer
    from fpbench.store import Store

    # They mark images with codes of different lengths, so that no strip is like another.
    path = suite_file(
        ('use = "perfect"', f'use = "perfect"\nlabel = "{one}"\nbits = 8'),
        ('use = "blind"', f'use = "perfect"\nlabel = "{two}"\nbits = 32'),
    )
    _, _, folder = run_suite(path)
    index = json.loads((folder / "samples" / "samples.json").read_text())
    plan, _ = Request(suite=str(path), plugins=("fpbench.testing.fakes",)).plan()
    measurer = Measurer(plan, Store(folder.parent / "store"))
    seen = set()
    for fit in plan.fits:
        shown = index["methods"][fit.method.label]
        files = [*shown["codes"], shown["residual"], *shown["points"].values()]
        assert len(set(files)) == len(files)
        assert not seen & set(files)
        seen |= set(files)
        for user, file in enumerate(shown["codes"]):
            strip = cv2.imread(str(folder / "samples" / file))[:, :, ::-1]
            images = measurer.sheet(fit, plan.sheet_key(fit, user, None), None)
            expected = np.hstack([image.transpose(1, 2, 0) for image in images])
            assert np.array_equal(strip, expected)
    assert index["host"] == "host.png"
    listed = {name for name in map(str, (folder / "samples").glob("host*.png"))}
    assert len(listed) == 1 + sum(len(s) for k, s in _training(index, one) if k.startswith("host"))


def _training(index, label):
    return index["methods"][label]["training"].items()


def test_failures_whose_labels_make_one_file_name_keep_their_own_logs(run_suite, suite_file):
    text = 'use = "broken"\nwhere = "shape"\nlabel = '
    path = suite_file(
        ('use = "perfect"', f'{text}"no pe"'),
        # Another method; what is the same but for its label is run once.
        ('use = "blind"', f'{text}"no-pe"\nbits = 8'),
    )
    for _ in range(2):  # a second run writes over its own
        summary, _, folder = run_suite(path)
        assert summary.cells[Outcome.FAILED] == 16
        logs = [file.read_text().partition("\n")[0] for file in (folder / "logs").glob("*.txt")]
        assert sorted(logs) == sorted(set(logs))
        assert {"no pe under none", "no-pe under none"} <= set(logs)
