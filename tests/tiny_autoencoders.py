"""Autoencoders of a few thousand weights, in the layouts in which large ones are published."""

import numpy as np
import torch
from safetensors.torch import save_file

WIDTH, POOL, LATENT = 8, 8, 4
RNG = torch.Generator()


def drawn(*shape):
    return torch.randn(shape, generator=RNG) / np.prod(shape[1:] or 8) ** 0.5


def conv(number, outputs, inputs, *, bias=True):
    made = {f"{number}.weight": drawn(outputs, inputs, 3, 3)}
    return made | ({f"{number}.bias": drawn(outputs)} if bias else {})


def block(number, *, pool=0):
    made = {}
    for i in (0, 2, 4):
        made |= conv(f"{number}.conv.{i}", WIDTH, WIDTH)
    if pool:
        made |= {
            f"{number}.pool.0.weight": drawn(pool, WIDTH, 1, 1),
            f"{number}.pool.1.weight": 1 + drawn(pool),
            f"{number}.pool.1.bias": drawn(pool),
            f"{number}.pool.3.weight": drawn(WIDTH, pool, 1, 1),
        }
    return made


def encoder_tensors(pool=POOL):
    """conv, block; halved, block with pool; halved, block; conv."""
    return {
        **conv(0, WIDTH, 3),
        **block(1),
        **conv(2, WIDTH, WIDTH, bias=False),
        **block(3, pool=pool),
        **conv(4, WIDTH, WIDTH, bias=False),
        **block(5),
        **conv(6, LATENT, WIDTH),
    }


def decoder_tensors(pool=POOL):
    """conv, ReLU, block with pool; doubled, conv, block; doubled, conv, block; conv."""
    return {
        **conv(1, WIDTH, LATENT),
        **block(3, pool=pool),
        **conv(5, WIDTH, WIDTH, bias=False),
        **block(6),
        **conv(8, WIDTH, WIDTH, bias=False),
        **block(9),
        **conv(10, 3, WIDTH),
    }


def saved_chain(folder, encoder=None, decoder=None):
    RNG.manual_seed(1)
    made = {"encoder": encoder or encoder_tensors(), "decoder": decoder or decoder_tensors()}
    for name, tensors in made.items():
        save_file(tensors, folder / f"{name}.safetensors")
    return {
        "autoencoder": str(folder / "decoder.safetensors"),
        "encoder": str(folder / "encoder.safetensors"),
    }


def autoencoder_kl(**config):
    import diffusers

    sizes = {"block_out_channels": [8, 16], "norm_num_groups": 4, "layers_per_block": 1}
    ends = ["DownEncoderBlock2D"] * 2, ["UpDecoderBlock2D"] * 2
    sizes |= {"down_block_types": ends[0], "up_block_types": ends[1], "latent_channels": LATENT}
    return seeded(lambda: diffusers.AutoencoderKL(**(sizes | config)))


def autoencoder_tiny():
    import diffusers

    widths = {"encoder_block_out_channels": (8, 8, 8), "decoder_block_out_channels": (8, 8, 8)}
    depths = {"num_encoder_blocks": (1, 1, 1), "num_decoder_blocks": (1, 1, 1)}
    return seeded(lambda: diffusers.AutoencoderTiny(**widths, **depths))


def seeded(make):
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(2)
        return make().eval()
