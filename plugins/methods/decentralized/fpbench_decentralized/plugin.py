"""The method `decentralized`: registration and card."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fpbench.api import (
    Card,
    Context,
    ContractError,
    Enrolled,
    Evidence,
    Generator,
    Gives,
    Method,
    Needs,
    Offer,
    Placement,
    SampleInfo,
    SampleStream,
    State,
    TrainedHost,
    User,
    hookimpl,
)
from fpbench_decentralized.params import DecentralizedParams

if TYPE_CHECKING:
    from torch import Tensor


class Decentralized(Method[DecentralizedParams]):
    """A secret direction for each user, along which the images of his copy alone go."""

    name = "decentralized"
    version = "1"
    Params = DecentralizedParams
    placement = Placement.IN_MODEL
    gives = Gives.SCORES
    separable = True
    keeps_sample = True
    asks = frozenset({Offer.WEIGHTS})
    card = Card(
        "Decentralized attribution",
        "Kim, Ren, Yang, ICLR 2021",
        "Apache-2.0",
        "Each user has a secret key, a direction in the space of images in which neither real "
        "images nor the host's go and which is orthogonal to all other keys; his copy is the host "
        "fine-tuned until its images go there. A score above 0 says that an image is his.",
        "The host's own output step is fine-tuned instead of a residual network behind it, which "
        "its user could take off; each round of algorithm 1 goes on from the round before; "
        "distinguishability is measured on 8-bit images. In robust training each image meets the "
        "distortion with probability 1/2 instead of each batch, crops are at random places, and "
        "JPEG is a real codec.",
        bibtex="@inproceedings{kim2021decentralized,\n"
        "  title = {Decentralized Attribution of Generative Models},\n"
        "  author = {Kim, Changhoon and Ren, Yi and Yang, Yezhou},\n"
        "  booktitle = {International Conference on Learning Representations},\n"
        "  year = {2021},\n"
        "}",
    )

    def objection(self, info: SampleInfo, users: int) -> str:
        """Each user needs a key of his own, and there are no more directions than values."""
        keys, values = self.params.keys, math.prod(info.shape)
        if keys < users:
            return (
                f"expected a key for each of {users} users, got keys = {keys}; set keys to at "
                f"least {users}, or issue fewer copies"
            )
        if keys > values:
            return (
                f"expected at most as many keys as an image has values, {values:,}, got keys = "
                f"{keys:,}; set fewer keys"
            )
        return ""

    def needs(self) -> Needs:
        """Room for one training."""
        return Needs(memory_gib=2.0)

    def fit(self, host: TrainedHost, images: SampleStream, ctx: Context) -> State:
        """Draws the owner's keys; no copy is trained yet."""
        import torch

        from fpbench_decentralized import copies, keys

        count = min(self.params.samples, len(images))
        chosen = torch.randperm(len(images), generator=ctx.rng("real"))[:count]
        real = images.read(chosen.numpy())
        made = copies.drawn(host.generator, count, images, ctx.rng("host"))
        return keys.fit(real, made, self.params, ctx)

    def issue(
        self, state: State, host: TrainedHost, user: User, samples: SampleStream, ctx: Context
    ) -> State:
        """Trains the user's copy; his key stays with the owner."""
        from fpbench_decentralized import copies

        if user.index >= len(state["keys"]):
            raise ContractError(
                f"method {self.name}: expected one of the {len(state['keys'])} users with a key, "
                f"got user {user.index}; set keys to more"
            )
        key, reach, silent = (state[name][user.index] for name in ("keys", "reach", "silent"))
        return copies.issue(
            host.generator, key, float(reach), float(silent), samples, self.params, ctx
        )

    def assemble(self, state: State, host: TrainedHost, issued: State, ctx: Context) -> Generator:
        """The host with the trained weights in its output step; no key among them."""
        from fpbench_decentralized import copies

        del state, ctx
        return copies.assemble(host.generator, issued)

    def enrol(
        self,
        state: State,
        host: TrainedHost,
        users: Sequence[Enrolled],
        samples: SampleStream,
        ctx: Context,
    ) -> State:
        """The keys of the registered users, in their order."""
        del host, samples, ctx
        return {"keys": state["keys"][[one.user.index for one in users]]}

    def extract(self, state: State, host: TrainedHost, evidence: Evidence, ctx: Context) -> Tensor:
        """(N, U) how far images go along each registered user's key; the paper's threshold is 0."""
        from fpbench.api.images import to_float
        from fpbench_decentralized.keys import scores

        del state, host, ctx
        return scores(to_float(evidence.samples), evidence.registry["keys"])


@hookimpl
def fpbench_methods() -> list[type[Method[Any]]]:
    """The method."""
    return [Decentralized]
