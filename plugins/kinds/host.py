"""Images as sums of principal components: the smallest host."""

from fpbench.api import Card, Host, Offer, Params, hookimpl


class EigenParams(Params):
    """`latents`: length of a latent. `images`: training images that components are found in."""

    latents: int = 64
    images: int = 1000


class Eigenimages(Host[EigenParams]):
    """Standard normal latents through one linear map, found by a singular value decomposition."""

    name, version, Params = "eigenimages", "1", EigenParams
    # What else it can do; `Host.finetune` and convolutions are not among it.
    offers = frozenset({Offer.ENCODE, Offer.GAUSSIAN, Offer.WEIGHTS})
    card = Card("Eigenimages", "own", "Apache-2.0", "Draws images from their first components.")

    def fit(self, images, ctx):
        import torch

        from fpbench.api.images import to_float

        count = min(self.params.images, len(images))
        rows = to_float(images.read(range(count))).flatten(1)
        mean = rows.mean(dim=0)
        _, sizes, axes = torch.linalg.svd(rows - mean, full_matrices=False)
        kept = sizes[: self.params.latents, None] * axes[: self.params.latents]
        return {"map.weight": (kept / count**0.5).T.contiguous(), "map.bias": mean}

    def assemble(self, state, ctx):
        from fpbench.nn.generator import ChainGenerator

        module = _images(state, ctx.info.size).to(ctx.device)
        return ChainGenerator({"generator": module}, state["map.weight"].shape[1], ctx.device)

    def encode(self, state, samples, ctx, step=None):
        from fpbench.api.images import to_float

        rows = to_float(samples).flatten(1) - state["map.bias"]
        return rows @ state["map.weight"].pinverse().T


def _images(state, size):
    from torch import nn

    class Images(nn.Module):
        def __init__(module):
            super().__init__()
            module.map = nn.Linear(*reversed(state["map.weight"].shape))

        def forward(module, latents):
            return module.map(latents).clamp(-1, 1).reshape(-1, 3, size, size)

    made = Images()
    made.load_state_dict(state)
    return made


@hookimpl
def fpbench_hosts():
    return [Eigenimages]
