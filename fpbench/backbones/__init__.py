"""What published measures stand on: Inception for FID, KID and the like; LPIPS; CLIP; PESQ, STOI.

Importing this package imports neither torch nor the libraries of the networks.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fpbench.backbones.weights import FOLDERS

if TYPE_CHECKING:
    import torch

    from fpbench.backbones.clip import CaptionScores
    from fpbench.backbones.inception import InceptionFeatures
    from fpbench.backbones.perceptual import Net, Perceptual
    from fpbench.backbones.speech import SpeechMeasure
    from fpbench.backbones.weights import Name

__all__ = ["load"]


def load(
    name: Name,
    path: Path,
    device: torch.device,
    layer: Literal["64", "192", "768", "2048"] = "2048",
    precision: Literal["fp32", "bf16"] = "fp32",
    rate: int | None = None,
) -> InceptionFeatures | Perceptual | CaptionScores | SpeechMeasure:
    """A published network with its weights.

    Args:
        name: "inception" gives features of images, those of CLIP scores of images and captions, the
            others distances of pairs.
        path: Of the weights, as `fpbench.backbones.weights.find` returns it.
        device: Where it computes.
        layer: Of Inception.
        precision: Of Inception.
        rate: Of sounds, samples a second.

    Raises:
        MissingResource: The library of the network is not installed.
        WrongWeights: The file is not of this network, or not finite.
    """
    if name == "pesq" or name == "stoi":
        from fpbench.backbones.speech import SpeechMeasure

        assert rate is not None  # the plan asks for sounds
        return SpeechMeasure(name, rate)
    if name in FOLDERS:
        from fpbench.backbones.clip import CaptionScores

        return CaptionScores(path, device)
    if name == "inception":
        from fpbench.backbones.inception import InceptionFeatures

        return InceptionFeatures(path, layer, device, precision)
    from fpbench.backbones.perceptual import Perceptual

    nets: dict[Name, Net] = {"lpips-squeeze": "squeeze", "lpips-alex": "alex", "lpips-vgg": "vgg"}
    return Perceptual(nets[name], path, device)
