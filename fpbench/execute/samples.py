"""Sample strips for the page: host, copies, ×10 residual, attacked, as PNG files.

A strip is what the modality shows of samples; what it shows as no PNG is left out. Where it plays
them, a WAV file of the same name lies beside.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpbench.api import Modality, SampleInfo, StoreError, digest
from fpbench.plan import Fit, Plan
from fpbench.plan.plan import SHOWN_COPIES
from fpbench.stages.measuring import Measurer
from fpbench.store.names import Slugs
from fpbench.store.objects import read_object, write_text
from fpbench.store.sounds import sound_beside

_GAIN = 10
_SAMPLES = 8  # images of a strip of samples over a training

Steps = dict[str, dict[str, str]]


class _Strips:
    """The folder of the strips; labels that read alike get files of their own."""

    def __init__(self, folder: Path, modality: Modality[Any], info: SampleInfo) -> None:
        self.folder = folder
        self.modality = modality
        self.info = info
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
    strips = _Strips(folder, plan.modality, plan.facts.info)
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
    host = measurer.sheet(fit, plan.sheet_key(fit, None, None), None)
    if host is not None and "host" not in index:
        index["host"] = _save(folder, "host", host)
    users = plan.users(fit)[:SHOWN_COPIES]
    sheets = [measurer.sheet(fit, plan.sheet_key(fit, user, None), None) for user in users]
    copies = [images for images in sheets if images is not None]
    name = fit.method.label
    trained = {"host": plan.host_training, "method": fit.training}
    found: dict[str, Any] = {
        "training": {
            phase: steps
            for who, key in trained.items()
            for phase, steps in _training(measurer, key, folder, name, who).items()
        },
        "codes": [_save(folder, f"{name}-copy-{u}", images) for u, images in enumerate(copies)],
        "points": {},
    }
    beside = fit.method.component.keeps_sample
    if beside and host is not None and sheets[0] is not None:
        residual = _residual(sheets[0], host)
        found["residual"] = _save(folder, f"{name}-residual", residual)
    for cell in plan.cells:
        if cell.fit is fit and cell.point.label != "none" and measurer.measured(cell):
            point = cell.point
            images = measurer.sheet(fit, plan.sheet_key(fit, 0, point.model), point.image)
            if images is not None:
                file = _save(folder, f"{name}-{point.label}", images)
                found["points"][point.label] = file
    return found


def _residual(samples: NDArray[Any], host: NDArray[Any]) -> NDArray[Any]:
    """Ten times what samples have over the host's; of images, which are unsigned, on grey."""
    kind = samples.dtype
    change = _GAIN * (samples.astype(np.float64) - host)
    if not np.issubdtype(kind, np.integer):
        return np.asarray(change, kind)
    least, most = np.iinfo(kind).min, np.iinfo(kind).max
    return np.asarray(np.clip(change + (least + most + 1) // 2, least, most), kind)


def _training(measurer: Measurer, key: str, folder: _Strips, name: str, who: str) -> Steps:
    """Phase -> step -> file of what a training's samples looked like."""
    if key in folder.trained:
        return folder.trained[key]
    owner = name if who == "method" else who
    found: Steps = {}
    for label, images in measurer.training_images(key).items():
        phase, _, step = label.rpartition("/")
        file = _save(folder, f"{owner}-{phase}-step-{step}", images[:_SAMPLES])
        found.setdefault(f"{who} {phase}", {})[step] = file
    folder.trained[key] = found
    return found


def _real(plan: Plan) -> NDArray[Any]:
    count = min(plan.suite.population.shared, plan.facts.counts["reference"])
    samples = plan.suite.dataset.read("reference", np.arange(count))
    # Data sets give images with their channels last.
    return samples.transpose(0, 3, 1, 2) if samples.ndim == 4 else samples


def _save(folder: _Strips, name: str, samples: NDArray[Any]) -> str:
    """The file that shows samples (N, ...); "" where pages cannot."""
    media, content = folder.modality.show(samples)
    if media != "image/png":
        return ""
    file = folder.folder / f"{folder.slugs.make(name)}.png"
    file.write_bytes(content)
    sound = sound_beside(file)
    sound.unlink(missing_ok=True)
    if heard := folder.modality.play(samples, folder.info):
        sound.write_bytes(heard)
    return file.name
