"""Methods that differ in how they read alone share trainings and copies."""

import pytest
from rows import value

FEW = [
    (
        '[[methods]]\nuse = "blind"\n',
        '[[methods]]\nuse = "reread"\nsign = "turned"\nlabel = "turned"\n'
        '[[methods]]\nuse = "reread"\nlabel = "weighted"\ncodes = "weighted"\n',
    ),
    ('use = "perfect"', 'use = "reread"'),
    ('[[attacks]]\nuse = "weight-noise"\nsigma = [0.1, 0.3]\n', ""),
    (
        '[[attacks]]\nuse = "fine-tune"\nsteps = [1, 3]\ncopies = 3\nimages = 6\n'
        "clean_images = 8\n",
        "",
    ),
]


@pytest.mark.timeout(180)
def test_one_training_serves_two_readings(run_suite, suite_file, tmp_path, monkeypatch):
    said = tmp_path / "trained.txt"
    monkeypatch.setenv("FPBENCH_TRAINED", str(said))
    _, records, _ = run_suite(suite_file(*FEW), plugins=("rereading",))
    # `fit` knows nothing of how its codes will be read, nor how codes are compared.
    assert said.read_text().split() == ["plain"]
    right = {
        label: value(records, label, "none", "bit-accuracy")["value"]
        for label in ("reread", "turned", "weighted")
    }
    assert right == {"reread": 1, "turned": 0, "weighted": 1}
    traced = [
        value(records, label, "none", "attribution")["value"] for label in ("reread", "weighted")
    ]
    assert min(traced) > 0.99
