"""The method `spread-spectrum-audio`: registration and card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from fpbench.api import (
    Card,
    Context,
    ContractError,
    Evidence,
    Method,
    PostHocMethod,
    SampleInfo,
    SampleStream,
    State,
    TrainedHost,
    hookimpl,
)
from fpbench_spread_spectrum.params import SpreadSpectrumParams

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

_BAND = 0.9  # of half the sampling rate; codecs and filters take what lies above first


class SpreadSpectrumAudio(PostHocMethod[SpreadSpectrumParams]):
    """Adds a secret sequence for each bit to finished sounds, and reads its sign."""

    name = "spread-spectrum-audio"
    version = "1"
    Params = SpreadSpectrumParams
    modalities = frozenset({"audio"})
    trains = False
    uses_host = False
    card = Card(
        "Spread spectrum in sounds",
        "Cox, Kilian, Leighton, Shamoon 1997; Malvar and Florêncio 2003",
        "Apache-2.0",
        "A secret sequence of noise for each bit is added to a finished sound or subtracted from "
        "it; what the sound itself correlates to is taken away first. It is read at the shift at "
        "which all correlations together are largest. Nothing is trained. The sequences are in "
        "every copy: who holds one can read and forge.",
        "The classical baseline: sequences lie in a band of the whole clip, as loud as the sound "
        "around each sample; the search over shifts knows no code, so that it makes no accusation "
        "of an innocent user likelier.",
        bibtex="@article{malvar2003improved,\n"
        "  title = {Improved Spread Spectrum: A New Modulation Technique for Robust "
        "Watermarking},\n"
        "  author = {Malvar, Henrique S. and Flor{\\^e}ncio, Dinei A. F.},\n"
        "  journal = {IEEE Transactions on Signal Processing},\n"
        "  volume = {51},\n"
        "  number = {4},\n"
        "  pages = {898--905},\n"
        "  year = {2003},\n"
        "}",
    )

    def objection(self, info: SampleInfo, users: int) -> str:
        """Why there is no room for the sequences."""
        del users
        low, high = self._band(info)
        room = int((high - low) * info.shape[-1] / 4)
        if self.bits <= room:
            return ""
        return (
            f"expected at most {max(room, 0)} bits in a band from {self.params.low_hz:g} to "
            f"{min(self.params.high_hz, _BAND * _rate(info) / 2):g} Hz of clips of "
            f"{info.shape[-1]} samples at {_rate(info)} Hz, got {self.bits}; set bits, low_hz or "
            "high_hz, or take longer clips"
        )

    def fit(self, host: TrainedHost, images: SampleStream, ctx: Context) -> State:
        """Draws the sequences, (K, T)."""
        from fpbench_spread_spectrum import spreading

        del host
        band, length = self._band(images.info), images.info.shape[-1]
        drawn = spreading.sequences(self.bits, length, band, ctx.rng("sequences"))
        return {"sequences": drawn.to(ctx.device)}

    def embedder(self, state: State, ctx: Context) -> Module:
        """See `PostHocMethod.embedder`."""
        from fpbench_spread_spectrum import spreading

        del ctx
        return spreading.Embedder(state["sequences"], snr_db=self.params.snr_db)

    def embedder_of(self, weights: State, ctx: Context) -> NoReturn:
        """See `PostHocMethod.embedder_of`; there are no files of copies.

        Raises:
            ContractError: always.
        """
        del weights, ctx
        raise ContractError(
            f"method {self.name}: expected a copy without anything that the owner reads with, got "
            "one that holds the sequences; no file of it can be handed out"
        )

    def extract(self, state: State, host: TrainedHost, evidence: Evidence, ctx: Context) -> Tensor:
        """Correlations with the sequences."""
        from fpbench_spread_spectrum import spreading

        del host
        search = min(round(self.params.search_ms / 1000 * _rate(ctx.info)), ctx.info.shape[-1] - 1)
        sounds = ctx.modality.to_float(evidence.samples)
        return spreading.read(sounds, state["sequences"], search)

    def _band(self, info: SampleInfo) -> tuple[float, float]:
        """As shares of half the sampling rate."""
        half = _rate(info) / 2
        return self.params.low_hz / half, min(self.params.high_hz / half, _BAND)


def _rate(info: SampleInfo) -> int:
    assert info.rate, "sounds have a rate"
    return info.rate


@hookimpl
def fpbench_methods() -> list[type[Method[Any]]]:
    """The method."""
    return [SpreadSpectrumAudio]
