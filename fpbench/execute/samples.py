"""Sample strips for the page: host, copies, ×10 residual, attacked, as PNG files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpbench.api import StoreError, digest
from fpbench.plan import Fit, Plan
from fpbench.plan.plan import SHOWN_COPIES
from fpbench.stages.measuring import Measurer
from fpbench.store.names import Slugs
from fpbench.store.objects import read_object, write_text

_GAIN = 10
_SAMPLES = 8  # images of a strip of samples over a training

Strip = NDArray[np.uint8]
Steps = dict[str, dict[str, str]]


class _Strips:
    """The folder of the strips; labels that read alike get files of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.slugs = Slugs()
        self.trained: dict[str, Steps] = {}  # key of a training -> its strips
        folder.mkdir(parents=True, exist_ok=True)


def write_samples(plan: Plan, measurer: Measurer, folder: Path) -> None:
    """Write the strips of the first training seed of every method, unless they are there.

    Args:
        plan: what was run.
        measurer: gives the stored columns.
        folder: made if absent; `samples.json` in it says what the files show.
    """
    key = digest([plan.host_key, [c.key for c in plan.cells if measurer.measured(c)]])
    index_file = folder / "samples.json"
    if (read_object(index_file) or {}).get("key") == key:
        return
    strips = _Strips(folder)
    index: dict[str, Any] = {"key": key, "methods": {}}
    index["real"] = _save(strips, "real", _real(plan))
    for fit in (fit for fit in plan.fits if plan.sheet_key(fit, 0, None)):
        try:
            index["methods"][fit.method.label] = _method(plan, measurer, fit, strips, index)
        except StoreError:
            continue  # damaged, as `fpbench cache verify` says; no number stands on it
    write_text(index_file, json.dumps(index, indent=1, sort_keys=True) + "\n")


def _method(
    plan: Plan, measurer: Measurer, fit: Fit, folder: _Strips, index: dict[str, Any]
) -> dict[str, Any]:
    host = measurer.sheet(plan.sheet_key(fit, None, None), None)
    if host is not None and "host" not in index:
        index["host"] = _save(folder, "host", _strip(host))
    users = plan.users(fit)[:SHOWN_COPIES]
    sheets = [measurer.sheet(plan.sheet_key(fit, user, None), None) for user in users]
    copies = [images for images in sheets if images is not None]
    name = fit.method.label
    trained = {"host": plan.host_training, "method": fit.training}
    found: dict[str, Any] = {
        "training": {
            phase: steps
            for who, key in trained.items()
            for phase, steps in _training(measurer, key, folder, name, who).items()
        },
        "codes": [
            _save(folder, f"{name}-copy-{u}", _strip(images)) for u, images in enumerate(copies)
        ],
        "points": {},
    }
    if fit.method.component.keeps_sample and host is not None and sheets[0] is not None:
        change = sheets[0].astype(np.float64) - host
        residual = np.clip(128 + _GAIN * change, 0, 255).astype(np.uint8)
        found["residual"] = _save(folder, f"{name}-residual", _strip(residual))
    for cell in plan.cells:
        if cell.fit is fit and cell.point.label != "none" and measurer.measured(cell):
            point = cell.point
            images = measurer.sheet(plan.sheet_key(fit, 0, point.model), point.image)
            if images is not None:
                file = _save(folder, f"{name}-{point.label}", _strip(images))
                found["points"][point.label] = file
    return found


def _training(measurer: Measurer, key: str, folder: _Strips, name: str, who: str) -> Steps:
    """Phase -> step -> file of what a training's samples looked like."""
    if key in folder.trained:
        return folder.trained[key]
    owner = name if who == "method" else who
    found: Steps = {}
    for label, images in measurer.training_images(key).items():
        phase, _, step = label.rpartition("/")
        file = _save(folder, f"{owner}-{phase}-step-{step}", _strip(images[:_SAMPLES]))
        found.setdefault(f"{who} {phase}", {})[step] = file
    folder.trained[key] = found
    return found


def _real(plan: Plan) -> Strip:
    count = min(plan.suite.population.shared, plan.suite.dataset.info().counts["reference"])
    return np.concatenate(list(plan.suite.dataset.read("reference", np.arange(count))), axis=1)


def _strip(images: NDArray[Any]) -> Strip:
    """(N, 3, H, W) side by side as (H, N·W, 3)."""
    return np.concatenate(list(images.transpose(0, 2, 3, 1)), axis=1)


def _save(folder: _Strips, name: str, strip: Strip) -> str:
    import cv2

    file = f"{folder.slugs.make(name)}.png"
    ok, data = cv2.imencode(".png", strip[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert ok
    (folder.folder / file).write_bytes(data.tobytes())
    return file
