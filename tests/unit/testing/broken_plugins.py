"""Plugins that each break one rule, as text of a single file."""

GOOD = '''
from fpbench.api import Card, Params, PostHocMethod, hookimpl
{top}

class MineParams(Params):
    """`bits`: length of a code."""

    bits: int = 16


class Mine(PostHocMethod[MineParams]):
    """One pattern for each bit."""

    name, version, Params, trains = "{name}", "1", MineParams, False
    card = Card("Mine", "own", "{licence}", "A pattern for each bit.")
    last = None

    def fit(self, host, images, ctx):
        import torch
        {fit}
        shape = (self.params.bits, 3, images.info.size, images.info.size)
        return {{"patterns": torch.randn(shape, generator=ctx.rng("patterns")) * {scale}}}

    def issue(self, state, host, user, samples, ctx):
        {issue}
        return {{"code": user.code}}

    def embedder(self, state, ctx):
        import torch
        from torch import einsum, nn

        class Add(nn.Module):
            def forward(module, images, codes):
                return images + einsum("nk,kchw->nchw", codes * 2.0 - 1, module.patterns)

        add = Add()
        {carrier}
        return add

    def extract(self, state, host, evidence, ctx):
        import torch
        from fpbench.api.images import to_float

        read = to_float(evidence.samples).flatten(1) @ state["patterns"].flatten(1).T
        {extract}
        return read


{hook}
def fpbench_methods():
    return [Mine]
'''
DEFAULTS = {
    "top": "",
    "name": "mine",
    "licence": "Apache-2.0",
    "fit": "",
    "scale": "1.0",
    "issue": "",
    "carrier": 'add.patterns = nn.Parameter(0.02 * state["patterns"])',
    "extract": "",
    "hook": "@hookimpl",
}

ONNX_STEP = """
        class Session(nn.Module):
            opaque = True
            def forward(module, images, codes):
                return module.graph[0](images, codes)
        add.patterns = 0.02 * state["patterns"]
        session = Session()
        session.graph = [add]
        return session
"""

BROKEN = {
    "wrong shape": ("shapes", "expected finite floats (16, 16)", {"extract": "read = read[:, :3]"}),
    "an integer reading": ("shapes", "got int64", {"extract": "read = (read > 0).long()"}),
    "NaN in the reading": ("shapes", "not finite", {"extract": "read = read * float('nan')"}),
    "NaN in the state": ("shapes", "NaN or infinity in 'patterns'", {"scale": "float('nan')"}),
    "a code leaked in the class": (
        "blind",
        "whoever was given a copy before",
        {
            "issue": "type(self).last = user.code",
            "extract": "read = (type(self).last.float() * 2 - 1).expand(len(read), -1)",
        },
    ),
    "a code leaked in the state": (
        "lent",
        "'patterns' of its state",
        {"issue": "state['patterns'][0, 0, 0, :16] = user.code.float()"},
    ),
    "the global generator": (
        "process",
        "where global generators stood elsewhere",
        {"fit": "return {'patterns': torch.randn(self.params.bits, 3, 32, 32)}"},
    ),
    "the global generator seeded": ("process", "seeded anew", {"fit": "torch.manual_seed(0)"}),
    "a flag of torch": (
        "process",
        "another torch.backends.cudnn.benchmark",
        {"fit": "torch.backends.cudnn.benchmark = True"},
    ),
    "batch statistics": ("alone", "batch statistics", {"extract": "read = read - read.mean(0)"}),
    "written into its images": (
        "lent",
        "'samples' of the images",
        {"extract": "evidence.samples.zero_()"},
    ),
    "torch at import": ("torch-free", "mine.py, line 3", {"top": "import torch"}),
    "a duplicate name": ("name", "got that of a class in fpbench", {"name": "hidden"}),
    "a name with capitals and spaces": ("name", "call it 'my-method'", {"name": "My Method"}),
    "raises in issue": ("runs", "ValueError: no", {"issue": "raise ValueError('no')"}),
    "a carrier out of reach": (
        "reach",
        "with all 0 of them at 0",
        {"carrier": 'add.patterns = 0.02 * state["patterns"]'},
    ),
    "an ONNX step": ("steps", "set `opaque = True` on the method, too", {"carrier": ONNX_STEP}),
    "a forgotten hookimpl": ("loads", "expected `@hookimpl` above fpbench_methods()", {"hook": ""}),
    "a lambda as embedder": (
        "runs",
        "expected a torch.nn.Module, got a function",
        {"carrier": "return lambda images, codes: images"},
    ),
    "no licence": ("card", "expected `licence` of its card", {"licence": ""}),
    "the code is not in the copy": (
        "two-codes",
        "got the same twice",
        {"carrier": "add.forward = lambda images, codes: images"},
    ),
    "read wrong": ("gate", "as its `gate` says", {"extract": "read = -read"}),
}


def text_of(fault=""):
    """The text of a plugin, with one fault or none."""
    return GOOD.format(**DEFAULTS | (BROKEN[fault][2] if fault else {}))
