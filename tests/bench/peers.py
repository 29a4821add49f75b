"""The same work by others: a loop over Pillow images, torchvision and kornia.

`pillow_peer` and `tensor_peers` hold the operations; here is what makes them comparable.

Everyone is handed the same pixels, ready in the form described below, and his parameters for
nothing; the draws, and all else that happens within `SampleAttack.apply`, count as our own time.

    pillow: `Image.fromarray`, the operation, `np.asarray`, one image after the other. Where Pillow
        has no such operation (noise, salt-pepper), numpy on that image.
    torchvision: v2 functionals on the very tensors that the attack gets, 8 bits and channels last;
        one call for a batch, or one an image where each image has a parameter of its own; results
        rounded once, as ours are.
    torchvision-batch: the same functionals the way they are fastest, which is other or less work:
        contiguous planes, the first image's parameter for the whole batch, resizing that rounds
        after each direction and shrinks by another filter.
    kornia: float32 (N, 3, H, W) in [0, 1] in and out; the conversion from and to uint8 is left out.
    limit: what cannot be undercut: the codec alone in one thread, torch.randn of as many numbers,
        or a copy of the bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from pillow_peer import PILLOW, parameters

from fpbench.builtin.toy_faces.faces import draw
from fpbench.registry import load
from fpbench.stages.context import StageContext
from fpbench.store import Store

BATCH = 250
WHO = ("ours", "pillow", "torchvision", "torchvision-batch", "kornia", "limit")
OTHER_DRAWS = {"pillow": set(), "torchvision": set(), "kornia": {"salt-pepper", "erase"}}
"""Attacks whose peers draw for themselves, so that their pixels cannot be compared."""


class NoPeer(Exception):
    """He has no such operation, or is not installed."""


@dataclass(frozen=True)
class Work:
    """One attack on one set of images.

    Attributes:
        name: of the attack.
        images: (N, 3, S, S) uint8, channels last.
        strength: the middle of the attack's default grid.
        ctx: where our draws come from.
        draws: for each image the parameters that Pillow's operation takes.
    """

    name: str
    images: torch.Tensor
    strength: float
    ctx: StageContext
    draws: list[Any] = field(repr=False)

    @property
    def side(self) -> int:
        """Of an image, pixels."""
        return self.images.shape[-1]

    def batches(self) -> list[torch.Tensor]:
        """The images in the portions that everyone works on."""
        return list(self.images.split(BATCH))


@cache
def faces(count: int, side: int) -> torch.Tensor:
    """Toy faces in the layout of the harness."""
    return torch.from_numpy(draw(np.arange(count), side)).permute(0, 3, 1, 2)


def names() -> list[str]:
    """The attacks that there are peers for, as far as they are installed."""
    installed = load().names("attacks")
    return [name for name in PILLOW if name in installed]


def work(name: str, count: int, side: int, store: Store) -> Work:
    """The attack called `name` at its middle strength."""
    knob = load().component("attacks", name).strength
    strength = knob.grid[len(knob.grid) // 2] if knob is not None else 0.0
    ctx = StageContext(torch.device("cpu"), (0, "attack", name), store)
    draws = [parameters(name, strength, side, ctx.image_rng(i)) for i in range(count)]
    return Work(name, faces(count, side), strength, ctx, draws)


def runner(who: str, work: Work) -> Callable[[], Any]:
    """A call that does the work once and returns the first batch's result, (N, 3, S, S).

    Raises:
        NoPeer: he cannot do it; the text says why.
    """
    import tensor_peers

    makers = {
        "ours": ours,
        "pillow": pillow,
        "torchvision": tensor_peers.torchvision,
        "torchvision-batch": tensor_peers.torchvision_batch,
        "kornia": tensor_peers.kornia,
        "limit": limit,
    }
    return makers[who](work)


def ours(work: Work) -> Callable[[], torch.Tensor]:
    """The attack itself."""
    cls = load().component("attacks", work.name)
    attack, batches = cls(cls.Params()), work.batches()

    def run() -> torch.Tensor:
        done = [
            attack.apply(batch, range(BATCH * i, BATCH * i + len(batch)), work.strength, work.ctx)
            for i, batch in enumerate(batches)
        ]
        return done[0]

    return run


def limit(work: Work) -> Callable[[], None]:
    """See above."""
    arrays = work.images.permute(0, 2, 3, 1).numpy()
    if work.name in ("jpeg", "webp"):
        ending, key = {
            "jpeg": (".jpg", cv2.IMWRITE_JPEG_QUALITY), "webp": (".webp", cv2.IMWRITE_WEBP_QUALITY)
        }[work.name]  # fmt: skip

        def run() -> None:
            for image in arrays:
                _, code = cv2.imencode(ending, image, [key, int(work.strength)])
                cv2.imdecode(code, cv2.IMREAD_COLOR)

        return run
    if work.name == "gaussian-noise":
        batches = work.batches()

        def run() -> None:
            for batch in batches:
                torch.randn(batch.shape)

        return run
    target = np.empty_like(arrays)
    return lambda: np.copyto(target, arrays)


def pillow(work: Work) -> Callable[[], np.ndarray]:
    """One image after the other."""
    operation = PILLOW[work.name]
    arrays = work.images.permute(0, 2, 3, 1).numpy()
    out = np.empty_like(arrays)

    def run() -> np.ndarray:
        for i, image in enumerate(arrays):
            changed = operation(Image.fromarray(image), work.strength, work.draws[i])
            out[i] = np.asarray(changed)
        return out[:BATCH].transpose(0, 3, 1, 2)

    return run


def difference(work: Work, who: str) -> float | None:
    """Mean levels between his result and ours; None where both draw for themselves."""
    if who == "limit" or work.name in ({"gaussian-noise", "combination"} | OTHER_DRAWS[who]):
        return None
    few = Work(work.name, work.images[:32], work.strength, work.ctx, work.draws[:32])
    theirs, mine = (torch.as_tensor(np.asarray(runner(w, few)())).float() for w in (who, "ours"))
    levels = theirs * 255 if who == "kornia" else theirs
    return float((levels - mine).abs().mean())
