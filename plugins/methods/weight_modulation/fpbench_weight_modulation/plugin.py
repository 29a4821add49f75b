"""The method `weight-modulation`: registration and card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fpbench.api import (
    Card,
    Context,
    Evidence,
    Generator,
    Method,
    Needs,
    Placement,
    SampleInfo,
    SampleStream,
    State,
    TrainedHost,
    hookimpl,
)
from fpbench.nn import limits
from fpbench_weight_modulation.params import WeightModulationParams

if TYPE_CHECKING:
    from torch import Tensor


class WeightModulation(Method[WeightModulationParams]):
    """A code scales the input channels of every modulated convolution of a trained host."""

    name = "weight-modulation"
    version = "3"
    Params = WeightModulationParams
    placement = Placement.IN_MODEL
    keeps_sample = True
    gate = 0.95
    card = Card(
        "Weight modulation",
        "WOUAF: Kim, Min, Patel, Cheng, Yang, CVPR 2024",
        "Apache-2.0",
        "Fine-tunes a trained host so that a user's code, as one factor per input channel of every "
        "convolution, can be read from each image; a copy is the host with other weights.",
        "The host is a GAN, not a latent diffusion decoder. Factors act inside the host's "
        "demodulation (WOUAF has none) and on its RGB layers too; the mapping is one linear layer; "
        "the image loss is the squared difference to the host's image instead of LPIPS to a "
        "photograph; the reader is a small network trained from scratch instead of a ResNet-50.",
        bibtex="@inproceedings{kim2024wouaf,\n"
        "  title = {{WOUAF}: Weight Modulation for User Attribution and Fingerprinting in "
        "Text-to-Image Diffusion Models},\n"
        "  author = {Kim, Changhoon and Min, Kyle and Patel, Maitreya and Cheng, Sheng and "
        "Yang, Yezhou},\n"
        "  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},\n"
        "  year = {2024},\n"
        "}",
    )

    def objection(self, info: SampleInfo, users: int) -> str:
        """Sides must be powers of two, and a batch must be there to draw."""
        del users
        return limits.objection(info, self.params.batch)

    def needs(self) -> Needs:
        """Room for one training."""
        return Needs(memory_gib=2.0)

    def fit(self, host: TrainedHost, images: SampleStream, ctx: Context) -> State:
        """Fine-tunes the host together with the code map and the reader; needs no photographs."""
        from fpbench_weight_modulation import training

        return training.fit(host, images, self.params, ctx)

    def assemble(self, state: State, host: TrainedHost, issued: State, ctx: Context) -> Generator:
        """The host's generator with the user's factors folded into its convolutions."""
        from fpbench_weight_modulation import training

        generator = host.generator
        network = generator.steps[generator.output]
        step = training.issue(network, state, issued["code"], self.params)
        return generator.replace(generator.output, step.to(ctx.device))

    def extract(self, state: State, host: TrainedHost, evidence: Evidence, ctx: Context) -> Tensor:
        """Logits of the reader."""
        from fpbench_weight_modulation import training

        del host, ctx
        return training.extract(state, evidence.samples, self.params)


@hookimpl
def fpbench_methods() -> list[type[Method[Any]]]:
    """The method."""
    return [WeightModulation]
