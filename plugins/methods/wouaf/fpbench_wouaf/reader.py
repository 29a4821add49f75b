"""The network that reads codes: small, a ResNet-50 as published, or one that comes first."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fpbench.api import Context, MissingResource, SampleStream
from fpbench.nn.extractor import Embedder, Extractor
from fpbench.nn.spectra import spectra
from fpbench.nn.state import placed
from fpbench.training.marks import fit_extractor, photographs, whiten

if TYPE_CHECKING:
    from fpbench_wouaf.params import WouafParams

__all__ = ["WHITENED", "build", "enlarged", "read_first"]

WHITENED = 4000  # images at most that an extractor's outputs are whitened on

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_FAINT = 1e-2  # of a sound's level, below which a bin says nothing
_FRAME = 256  # samples of a frame of sounds
# An extractor and its embedder: enough for 32 bits at 64 px.
_DEPTH, _EMBEDDER_DEPTH, _PATCH, _PLACES = 4, 2, 2, 8
_STRENGTH = 0.2  # most change of a value by a mark
_MARKED, _MARKED_RATE = 32, 2e-3
_SKIPPED = 2 / 3  # of the outputs that are too many, those along which images vary least
_HALVINGS = 3  # from the image to the last map of the small reader: an eighth of the side


class SmallReader(nn.Module):
    """Strided convolutions and one linear layer over the whole of the last map.

    Normalised by groups of channels within one image, so that an image reads the same alone or in
    company. One that averaged over positions reads less: a code is not at every place alike.

    Args:
        side: of the images, a multiple of 8 pixels.
        bits: K.
        channels: of the first convolution; later ones have twice and three times as many.
    """

    def __init__(self, side: int, bits: int, channels: int) -> None:
        super().__init__()
        widths = [12, channels, 2 * channels, 3 * channels]
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=1 if i == 0 else 2, padding=1, bias=False)
            for i, (a, b) in enumerate(itertools.pairwise(widths))
        )
        self.norms = nn.ModuleList(nn.GroupNorm(8, width) for width in widths[1:])
        self.out = nn.Linear((side >> _HALVINGS) ** 2 * widths[-1], bits)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, 3, H, W) in [-1, 1]."""
        x = nn.functional.pixel_unshuffle(images, 2)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = nn.functional.leaky_relu(norm(conv(x)), 0.2)
        logits: Tensor = self.out(x.flatten(1))
        return logits


class ResNetReader(nn.Module):
    """A ResNet-50 with as many outputs as bits, on images as ImageNet's are normalised.

    Its weights are drawn: those of ImageNet are not part of fpbench. Batch statistics are those of
    the training once it reads for good.

    Args:
        bits: K.

    Raises:
        MissingResource: torchvision is not installed.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, bits: int) -> None:
        super().__init__()
        try:
            from torchvision.models import resnet50
        except ImportError as error:
            raise MissingResource(
                'method wouaf: expected the package torchvision for reader = "resnet50", got '
                "none; install it with `pip install torchvision`"
            ) from error
        self.network: nn.Module = resnet50(weights=None, num_classes=bits)
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None])
        self.register_buffer("deviation", torch.tensor(_DEVIATION)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, 3, H, W) in [-1, 1]."""
        x = (images.add(1).div(2) - self.mean) / self.deviation
        logits: Tensor = self.network(x)
        return logits


class SoundReader(nn.Module):
    """Convolutions over the frames of a spectrogram, and for each bit a mean over time.

    Of each bin it sees the logarithm of the magnitude, and the phase: a faint tone that is added
    with one sign or the other differs in nothing else. Each bit has weights of its own for the
    frames, so that it may be read where it can be. A clip's level does not matter. The spectrogram
    itself is averaged, too: what is easiest to learn is then linear.

    Args:
        sources: channels of a sound.
        bits: K.
        channels: a quarter of those of the convolutions.
    """

    def __init__(self, sources: int, bits: int, channels: int) -> None:
        super().__init__()
        width = 4 * channels
        widths = [3 * sources * (_FRAME // 2 + 1), width, width, width]
        self.convs = nn.ModuleList(
            nn.Conv1d(a, b, 3, padding=1, bias=False) for a, b in itertools.pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(8, width) for _ in self.convs)
        self.out = nn.Conv1d(widths[0] + width, 2 * bits, 1)

    def forward(self, sounds: Tensor) -> Tensor:
        """Logits (N, K) of sounds (N, C, T) in [-1, 1]."""
        n, sources, length = sounds.shape
        found = spectra(sounds.reshape(n * sources, length), _FRAME, _FRAME // 4)
        power = found.real.square() + found.imag.square()
        level = power.mean((1, 2), keepdim=True).sqrt().clamp_min(1e-4)
        size = (power + 1e-12).sqrt() / level + _FAINT
        phase = torch.view_as_real(found) / (level * size)[..., None]
        seen = torch.cat([size.log()[..., None], phase], 3)  # (N sources, frames, bins, 3)
        seen = seen.permute(0, 3, 2, 1).reshape(n, -1, seen.shape[1])
        x = seen
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = nn.functional.leaky_relu(norm(conv(x)), 0.2)
        said, sure = self.out(torch.cat([seen, x], 1)).chunk(2, dim=1)
        logits: Tensor = (said * sure.softmax(2)).sum(2)
        return logits


def build(shape: Sequence[int], params: WouafParams) -> nn.Module:
    """The reader of samples (C, H, W) or sounds (C, T), with weights as they are drawn."""
    if len(shape) == 2:
        return SoundReader(shape[0], params.bits, params.reader_channels)
    if params.reader == "resnet50":
        return ResNetReader(params.bits)
    if params.reader == "extractor":
        return _extractor(params.bits, params)
    return SmallReader(shape[-1], params.bits, params.reader_channels)


@torch.no_grad()
def enlarged(small: nn.Module, shape: Sequence[int], params: WouafParams) -> nn.Module:
    """A reader of images (C, H, W) that goes on from one of their quarters.

    Its linear layer takes the mean of what the smaller one would say of the four quarters.
    """
    large = build(shape, params)
    state = dict(small.state_dict())
    if isinstance(small, SmallReader):
        weight = small.out.weight
        edge = (shape[-1] >> _HALVINGS) // 2
        maps = weight.view(params.bits, -1, edge, edge).repeat(1, 1, 2, 2) / 4
        state["out.weight"] = maps.flatten(1)
    large.load_state_dict(state)
    return large


def read_first(
    samples: SampleStream,
    params: WouafParams,
    ctx: Context,
    unmarked: Iterable[Tensor] | None = None,
) -> Extractor:
    """An extractor that has learnt to read marks on photographs, whitened.

    Where it has learnt more marks than a code has bits, a middle run of its components is kept.
    Along those with the largest variance a mark has to be loud to be read; along those with the
    smallest, decoders draw nothing, and what they were made to draw is gone after a few steps of
    fine-tuning. Spare ones are those below the run that would else be kept.

    Args:
        samples: the training split.
        params: settings.
        ctx: seeds, device and training codes.
        unmarked: uint8 images to whiten on; None = photographs of the training split.
    """
    bits = params.bits + params.spare_bits
    marks = params.extractor_marks or bits
    with ctx.seeded("reader"):
        extractor = placed(_extractor(marks, params), ctx.device)
    with ctx.seeded("embedder"):
        embedder = Embedder(
            bits=marks,
            channels=params.reader_channels,
            depth=_EMBEDDER_DEPTH,
            patch=_PATCH,
            places=_PLACES,
            strength=_STRENGTH,
        )
    trained = fit_extractor(
        extractor,
        placed(embedder, ctx.device),
        samples,
        ctx,
        steps=params.extractor_steps,
        batch=_MARKED,
        learning_rate=_MARKED_RATE,
    )
    first = max(0, round(_SKIPPED * (marks - params.bits)) - params.spare_bits)
    seen = photographs(samples, WHITENED, ctx) if unmarked is None else unmarked
    whiten(trained, seen, slice(first, first + bits))
    return trained.requires_grad_(True)


def _extractor(bits: int, params: WouafParams) -> Extractor:
    return Extractor(
        bits=bits,
        channels=params.reader_channels,
        depth=_DEPTH,
        patch=_PATCH,
        places=_PLACES,
    )
