"""Blocks of pixels, each of one colour: the smallest attack on images."""

from fpbench.api import Card, NoParams, SampleAttack, Strength, hookimpl


class Pixelate(SampleAttack[NoParams]):
    """Every block of so many pixels a side takes its mean colour."""

    name, version, Params, family = "pixelate", "1", NoParams, "resolution"
    # From weakest to strongest; `identity` is the strength that changes nothing, if there is one.
    strength = Strength("block", "pixels", (2, 4, 8), low=1, high=64, whole=True, identity=1)
    card = Card("Pixelation", "own", "Apache-2.0", "Blocks of pixels take their mean colour.")

    def apply(self, images, indices, strength, ctx):
        from torch.nn.functional import avg_pool2d, interpolate

        # An attack that draws takes the draws of image i from ctx.image_rng(i) alone.
        height, width = images.shape[-2:]
        small = avg_pool2d(images.float(), int(strength), ceil_mode=True)
        large = interpolate(small, scale_factor=int(strength))[..., :height, :width]
        return large.round().to(images.dtype)


@hookimpl
def fpbench_attacks():
    return [Pixelate]
