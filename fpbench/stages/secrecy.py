"""Can an adversary tell that an image carries a fingerprint at all?

A detector learns to tell images of some users' copies from host images, and is tried on copies of
users it has never seen (Yu et al. 2022, their secrecy test). Near one half, nothing was found by
this detector; that is no proof that a better one would not.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fpbench.api.images import to_float
from fpbench.nn.reader import Reader
from fpbench.nn.schedule import adam, descend, set_rates, warm_cosine
from fpbench.nn.state import placed
from fpbench.plan import Fit, Stage
from fpbench.stages import boundary
from fpbench.stages.bench import Bench, chunks
from fpbench.stages.issue import copy_of
from fpbench.training import TrainingRun

_BATCH = 64
_LEARNING_RATE = 1e-3


def measure_secrecy(stage: Stage, bench: Bench) -> None:
    """Train the detector and keep its scores of unseen copies and of unseen host images."""
    key, fit = stage.key, stage.of_fit
    if bench.store.has(key):
        return
    options = bench.suite.secrecy
    everyone = bench.plan.users(fit)
    seen, unseen = everyone[::2], everyone[1::2]
    ctx = bench.context("secrecy", key=key)
    # Nobody's latents come twice: else a detector might know pictures instead of fingerprints.
    copies = torch.cat([_images(bench, fit, user, options.images) for user in seen])
    host = _images(bench, fit, None, len(everyone) * options.images)
    shown, kept = host[: len(copies)], host[len(copies) :]
    with ctx.seeded("init"):
        detector = Reader(image_size=bench.suite.dataset.info().size, outputs=1)
    detector = placed(detector, bench.device)
    optimiser = adam([(list(detector.parameters()), _LEARNING_RATE)], betas=(0.9, 0.99))
    with TrainingRun(
        ctx,
        "secrecy",
        steps=options.steps,
        modules={"detector": detector},
        optimisers={"detector": optimiser},
    ) as run:
        for step in run:
            set_rates(optimiser, warm_cosine(step, options.steps, low=0.02))
            rng = run.rng("images")
            pick = [torch.randint(len(copies), (_BATCH // 2,), generator=rng) for _ in range(2)]
            batch = to_float(torch.cat([copies[pick[0]], shown[pick[1]]]))
            if torch.rand((), generator=rng) < 0.5:
                batch = batch.flip(3)
            target = (torch.arange(len(batch), device=batch.device) < _BATCH // 2).float()
            loss = functional.binary_cross_entropy_with_logits(detector(batch)[:, 0], target)
            descend(loss, optimiser)
            run.log(loss=loss.detach())
    detector.eval()
    scores = np.stack(
        [_score(detector, _images(bench, fit, user, options.images)) for user in unseen]
    )
    arrays = {"copies": scores, "host": _score(detector, kept), "seen": _score(detector, copies)}
    bench.store.put(key, arrays, {"seen": list(seen), "unseen": list(unseen)})
    bench.store.drop_checkpoints(key)


@torch.no_grad()
def _score(detector: Reader, images: Tensor) -> np.ndarray:
    parts = [detector(to_float(part))[:, 0] for part in torch.split(images, 4 * _BATCH)]
    return torch.cat(parts).float().cpu().numpy()


def _images(bench: Bench, fit: Fit, user: int | None, count: int) -> Tensor:
    """(count, 3, H, W) images of a copy, or of the host, that nothing else is measured on."""
    generator = bench.host.generator if user is None else copy_of(bench, fit, user)
    purpose = f"secrecy {'host' if user is None else user}"
    who = f"{fit.method.label}: sample"
    with boundary.unharmed(who, bench.host_loan, bench.fit_loan(fit)):
        parts = [
            boundary.drawn(generator, bench.latents(generator, [(purpose, int(i)) for i in chunk]))
            for chunk in chunks(count)
        ]
    return torch.cat(parts)
