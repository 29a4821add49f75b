"""One pseudo-random pattern for each bit, added to the image or subtracted from it."""

from fpbench.api import Card, Params, PostHocMethod, hookimpl


class SpreadParams(Params):
    """`bits`: length of a code. `strength`: of each pattern, on images in [-1, 1]."""

    bits: int = 32
    strength: float = 0.02


class SpreadSpectrum(PostHocMethod[SpreadParams]):
    """Reads a bit as the sign of the correlation with its pattern."""

    name, version, Params, trains = "spread-spectrum", "2", SpreadParams, False
    card = Card("Spread spectrum", "Cox et al. 1997", "Apache-2.0", "Adds a pattern for each bit.")

    def fit(self, host, images, ctx):
        import torch

        shape = (self.params.bits, 3, images.info.size, images.info.size)
        return {"patterns": torch.randn(shape, generator=ctx.rng("patterns")).to(ctx.device)}

    def embedder(self, state, ctx):
        from torch import einsum, nn

        class Add(nn.Module):
            def forward(module, images, codes):
                return images + einsum("nk,kchw->nchw", codes * 2.0 - 1, module.patterns)

        add = Add()  # what it marks with is a parameter, so that attacks on weights reach it
        add.patterns = nn.Parameter(self.params.strength * state["patterns"])
        return add

    def extract(self, state, host, evidence, ctx):
        from fpbench.api.images import to_float

        return to_float(evidence.samples).flatten(1) @ state["patterns"].flatten(1).T


@hookimpl
def fpbench_methods():
    return [SpreadSpectrum]
