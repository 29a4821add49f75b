"""The methods `passive-detector` and `passive-attribution`: registration and cards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fpbench.api import (
    Card,
    Context,
    ContractError,
    Enrolled,
    Evidence,
    Gives,
    Method,
    Needs,
    PassiveMethod,
    SampleInfo,
    SampleStream,
    State,
    TrainedHost,
    hookimpl,
)
from fpbench.nn import limits
from fpbench_passive.params import AttributionParams, DetectorParams

if TYPE_CHECKING:
    from torch import Generator as RandomGenerator
    from torch import Tensor

    from fpbench_passive.classifier import Source


class PassiveDetector(PassiveMethod[DetectorParams]):
    """Real or generated: a classifier of real images against the host's."""

    name = "passive-detector"
    version = "1"
    Params = DetectorParams
    gives = Gives.PRESENCE
    negatives = frozenset({"real"})
    card = Card(
        "Passive detector",
        "Wang, Wang, Zhang, Owens, Efros, CVPR 2020",
        "Apache-2.0",
        "Nothing is put into a generator: a classifier learns to tell real images from those of "
        "one host, each blurred and through JPEG with probability one half, and is asked about "
        "generators that it has not seen. It says whether an image is generated, not by whose "
        "model.",
        "A few convolutions at the images' own size instead of a ResNet-50 with ImageNet weights; "
        "whole images, neither cropped nor mirrored; a fixed number of steps instead of early "
        "stopping; the blur ends at 1 pixel instead of 3 of 224.",
        bibtex="@inproceedings{wang2020cnn,\n"
        "  title = {{CNN}-Generated Images Are Surprisingly Easy to Spot... for Now},\n"
        "  author = {Wang, Sheng-Yu and Wang, Oliver and Zhang, Richard and Owens, Andrew and "
        "Efros, Alexei A.},\n"
        "  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},\n"
        "  year = {2020},\n"
        "}",
    )

    def objection(self, info: SampleInfo, users: int) -> str:
        """Sides must be powers of two, and a batch must be there to draw."""
        del users
        return limits.objection(info, self.params.batch)

    def needs(self) -> Needs:
        """Room for one training."""
        return Needs(memory_gib=1.5)

    def fit(self, host: TrainedHost, images: SampleStream, ctx: Context) -> State:
        """Trains on real images and the host's, half and half."""
        from fpbench_passive import classifier

        sources = [_real(images), _generated(host, images)]
        return classifier.fit(sources, images.info.size, self.params, ctx)

    def extract(self, state: State, host: TrainedHost, evidence: Evidence, ctx: Context) -> Tensor:
        """(N,) log-odds of "generated"."""
        from fpbench_passive import classifier

        del host, ctx
        return classifier.log_odds(state, evidence.samples, self.params)[:, 1]


class PassiveAttribution(PassiveMethod[AttributionParams]):
    """Whose model: a classifier of real images and of those of each registered user's model."""

    name = "passive-attribution"
    version = "1"
    Params = AttributionParams
    gives = Gives.SCORES
    card = Card(
        "Passive attribution",
        "Yu, Davis, Fritz, ICCV 2019",
        "Apache-2.0",
        "Nothing is put into a generator: users' models are trainings of the host under seeds of "
        "their own, and a classifier learns to tell real images and those of each registered "
        "model apart. A closed world: it knows these sources and no other, gives images of any "
        "other generator to one of them, and learns anew for each new user.",
        "A few strided convolutions normalised within an image instead of the progressively grown "
        "discriminator; every image is blurred and through JPEG with probability one half, where "
        "the paper hardens a classifier in a second training.",
        bibtex="@inproceedings{yu2019attributing,\n"
        "  title = {Attributing Fake Images to {GANs}: Learning and Analyzing {GAN} "
        "Fingerprints},\n"
        "  author = {Yu, Ning and Davis, Larry and Fritz, Mario},\n"
        "  booktitle = {IEEE/CVF International Conference on Computer Vision},\n"
        "  year = {2019},\n"
        "}",
    )

    def objection(self, info: SampleInfo, users: int) -> str:
        """Sides must be powers of two, and a batch must be there to draw."""
        del users
        return limits.objection(info, self.params.batch)

    def needs(self) -> Needs:
        """Room for one training."""
        return Needs(memory_gib=1.5)

    def fit(self, host: TrainedHost, images: SampleStream, ctx: Context) -> State:
        """Nothing is learnt before there are users."""
        del host, images, ctx
        return {}

    def enrol(
        self,
        state: State,
        host: TrainedHost,
        users: Sequence[Enrolled],
        samples: SampleStream,
        ctx: Context,
    ) -> State:
        """Trains on real images and those of each user's model, as many of each.

        Raises:
            ContractError: nobody is registered, or a model gave too few samples.
        """
        from fpbench_passive import classifier

        del state, host
        if not users:
            raise ContractError(
                f"method {self.name}: expected at least one registered user to enrol, got none; "
                "set [population] copies"
            )
        sources = [_real(samples), *(self._model(user) for user in users)]
        return classifier.fit(sources, samples.info.size, self.params, ctx)

    def _model(self, user: Enrolled) -> Source:
        wanted = self.params.samples
        images = user.samples(wanted)
        if len(images) != wanted:
            raise ContractError(
                f"method {self.name}: expected {wanted} samples of user {user.user.index}'s model "
                f"to enrol, got {len(images)}; let it give more, or set a smaller `samples`"
            )

        def draw(count: int, rng: RandomGenerator) -> Tensor:
            return images[_chosen(wanted, count, rng).to(images.device)]

        return draw

    def extract(self, state: State, host: TrainedHost, evidence: Evidence, ctx: Context) -> Tensor:
        """(N, U) log-odds of each user against all other classes, "real" among them."""
        from fpbench_passive import classifier

        del state, host, ctx
        if not evidence.registry:
            raise ContractError(
                f"method {self.name}: expected what `enrol` gave as the registry, got nothing; "
                "enrol users first"
            )
        return classifier.log_odds(evidence.registry, evidence.samples, self.params)[:, 1:]


def _real(images: SampleStream) -> Source:
    def draw(count: int, rng: RandomGenerator) -> Tensor:
        return images.read(_chosen(len(images), count, rng).numpy())

    return draw


def _generated(host: TrainedHost, images: SampleStream) -> Source:
    """Images of ever new latents, under conditions of real images where the host takes any."""

    def draw(count: int, rng: RandomGenerator) -> Tensor:
        conditions = images.conditions(_chosen(len(images), count, rng).numpy())
        seeds = _chosen(2**62, count, rng).tolist()
        return host.generator.sample(host.generator.prior(seeds, conditions))

    return draw


def _chosen(among: int, count: int, rng: RandomGenerator) -> Tensor:
    """(count,) whole numbers below `among`."""
    import torch

    return torch.randint(among, (count,), generator=rng)


@hookimpl
def fpbench_methods() -> list[type[Method[Any]]]:
    """The two methods."""
    return [PassiveDetector, PassiveAttribution]
