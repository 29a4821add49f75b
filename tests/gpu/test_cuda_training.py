"""The paper's networks on a GPU: the same numbers as on a CPU, and trainings in both precisions."""

import pytest
import torch
from fpbench_scalable_gan.params import ScalableGANParams
from fpbench_scalable_gan.training import build, build_reader

from fpbench.builtin.toy_faces.dataset import ToyFaces
from fpbench.registry import load
from fpbench.stages.context import StageContext
from fpbench.stages.images import SplitStream
from fpbench.store import Store

FULL = {"architecture": "stylegan2", "channels": 64, "channel_base": 2048, "embedding_dim": 64}


@pytest.mark.gpu
@pytest.mark.parametrize("side", [32, 64])
def test_networks_draw_and_read_what_they_do_on_a_cpu(side):
    torch.backends.cudnn.allow_tf32 = False
    params = ScalableGANParams(bits=16, **FULL)
    generator, reader = build(side, 32, params).eval(), build_reader(side, 32, params).eval()
    latents, codes = torch.randn(8, 32), torch.rand(8, 16) < 0.5
    with torch.no_grad():
        drawn = generator(latents, codes)
        read = reader.logits(drawn)
        folded = generator.folded(codes[0])(latents)
        generator.cuda(), reader.cuda()
        images = generator(latents.cuda(), codes.cuda())
        torch.testing.assert_close(images.cpu(), drawn, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(reader.logits(images).cpu(), read, atol=1e-3, rtol=1e-3)
        again = generator.folded(codes[0].cuda()).cuda()(latents.cuda())
    torch.testing.assert_close(again.cpu(), folded, atol=1e-3, rtol=1e-3)


@pytest.mark.gpu
@pytest.mark.timeout(300)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_training_resumes_on_a_gpu(precision, tmp_path):
    cls = load().component("hosts", "stylegan2")
    host = cls(
        cls.Params(
            **FULL, latent_dim=32, batch=16, pair_steps=0, adversarial_steps=8, path_weight=2.0
        )
    )
    device = torch.device("cuda")
    images = SplitStream(ToyFaces(ToyFaces.Params(train=64)), "train", device)
    store, asked = Store(tmp_path), iter(range(100))

    def context(stop_after=None):
        def progress(done, total, text):
            if next(asked) == stop_after:
                raise KeyboardInterrupt

        return StageContext(
            device, (0, "fit"), store, key="78" * 32, on_progress=progress, precision=precision
        )

    stopped = context(stop_after=4)
    stopped.checkpoint_due = lambda: True
    with pytest.raises(KeyboardInterrupt):
        host.fit(images, stopped)
    state = host.fit(images, context())
    assert all(torch.isfinite(t).all() for t in state.values() if t.is_floating_point())
    assert {t.dtype for n, t in state.items() if n.startswith("generator")} == {torch.float32}
