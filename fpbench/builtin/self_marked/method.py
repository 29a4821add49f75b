"""The method `self-marked`: images that were marked elsewhere, and the user's own reader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fpbench.api import (
    Access,
    Attack,
    Card,
    Context,
    ContractError,
    Evidence,
    Generator,
    Host,
    Method,
    MissingResource,
    Placement,
    Refusal,
    SampleStream,
    State,
    TrainedHost,
)
from fpbench.builtin.self_marked.files import codes_of, listed, picture
from fpbench.builtin.self_marked.host import Originals, names_of
from fpbench.builtin.self_marked.params import SelfMarkedParams

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

_NEW_MARKS = frozenset({Access.EMBEDDER, Access.MARKED, Access.TARGET, Access.TARGET_CODE})


class SelfMarked(Method[SelfMarkedParams]):
    """Shows the marked image in the place of each original."""

    name = "self-marked"
    version = "1"
    Params = SelfMarkedParams
    placement = Placement.POST_HOC
    keeps_sample = True
    opaque = True
    trains = False
    uses_host = False
    card = Card(
        "Self-marked",
        "given by the user",
        "that of the user",
        "Images that were marked elsewhere, and their reader, a function or a command of the "
        "user's: the mark was made by who submits it, and nobody can mark more images with it.",
        "Codes are those of the images; false rates take them for independent fair bits.",
    )

    def given_codes(self, host: Host[Any], users: int, images: int) -> np.ndarray:
        """Of each user that of his images, which must be one.

        Raises:
            ContractError: the host is another one, there are too few images, or a user's bear
                several codes.
        """
        who = f"method {self.name}"
        if not isinstance(host, Originals):
            raise ContractError(
                f"{who}: expected the host {Originals.name}, which shows what was marked, got "
                f"{host.name}; set [host] use"
            )
        names = list(listed(who, host.params.path))
        if len(names) < users * images:
            raise ContractError(
                f"{who}: expected {users * images:,} originals, {images} for each of {users} "
                f"copies, got {len(names):,}; lower [population] copies or images"
            )
        codes = codes_of(who, self.params.codes_file, names[: users * images], self.params.bits)
        per_user = codes.reshape(users, images, -1)
        for user, own in enumerate(per_user):
            if (own != own[0]).any():
                start = names[user * images]
                raise ContractError(
                    f"{who}: expected one code on the {images} images of a user, in the order of "
                    f"names, got several from {start} on; set [population] images = 1, or name "
                    "images so that those with one code stand together"
                )
        first: np.ndarray = per_user[:, 0]
        seen: dict[bytes, int] = {}
        for user, code in enumerate(first):
            other = seen.setdefault(code.tobytes(), user)
            if other != user:
                raise ContractError(
                    f"{who}: expected a code of his own for each user, got one code on "
                    f"{names[other * images]} and {names[user * images]}; raise [population] "
                    "images so that they are one user's"
                )
        return first

    def refuse(self, host: Host[Any], attack: Attack[Any] | None) -> Refusal | None:
        """Where more images would have to be marked, or names do not pair."""
        if attack is not None and attack.access & _NEW_MARKS:
            return Refusal("its images were marked elsewhere: nobody can mark more of them")
        if not isinstance(host, Originals):
            return None  # its codes are asked for, and say so
        who = f"method {self.name}"
        try:
            ours, theirs = listed(who, host.params.path), listed(who, self.params.marked)
        except MissingResource:
            return None  # on a machine that only reads what was made elsewhere
        lacking, more = sorted(ours.keys() - theirs), sorted(theirs.keys() - ours)
        if not lacking and not more:
            return None
        return Refusal(
            f"expected the marked images under the names of the originals, got {len(lacking):,} "
            f"originals without one ({', '.join(lacking[:3]) or 'none'}) and {len(more):,} marked "
            f"ones without an original ({', '.join(more[:3]) or 'none'}); rename or remove them"
        )

    def fit(self, host: TrainedHost, images: SampleStream, ctx: Context) -> State:
        """The marked images, in the order of names."""
        import numpy as np
        import torch

        del host
        who, place = f"method {self.name}", self.params.marked
        pixels = [
            picture(who, place, file, images.info.size) for file in listed(who, place).values()
        ]
        marked = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
        return {"marked": marked.to(ctx.device)}

    def assemble(self, state: State, host: TrainedHost, issued: State, ctx: Context) -> Generator:
        """The originals, and behind them the step that shows their marked forms."""
        from fpbench.builtin.self_marked.showing import Shown

        if "names" not in host.state:
            raise ContractError(
                f"method {self.name}: expected the host {Originals.name}, got "
                f"{host.component.name}; set [host] use"
            )
        originals, marked = host.state["pictures"], state["marked"]
        if len(marked) != len(names_of(host.state)):
            raise ContractError(
                f"method {self.name}: expected a marked image for each of {len(originals):,} "
                f"originals, got {len(marked):,}; name them alike"
            )
        step = Shown(originals.to(ctx.device), marked.to(ctx.device))
        return host.generator.replace("post", step, after=host.generator.output)

    def extract(self, state: State, host: TrainedHost, evidence: Evidence, ctx: Context) -> Tensor:
        """What the user's reader says."""
        import torch

        from fpbench.builtin.self_marked.reading import read

        del state, host
        pixels = evidence.samples.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        logits = read(f"method {self.name}", pixels, self.params)
        return torch.from_numpy(logits).to(ctx.device)
