"""The methods `perth`, `aware`, `audioseal`, `wavmark` and `silentcipher`, which mark sounds."""

from __future__ import annotations

from typing import Any

from fpbench.api import Card, Gives, Method, SampleInfo
from fpbench_published_marks import libraries
from fpbench_published_marks.method import LibraryMethod
from fpbench_published_marks.params import (
    AudioSealParams,
    AwareParams,
    PerthParams,
    SilentCipherParams,
    WavMarkParams,
)

__all__ = ["METHODS"]

_OPAQUE = "It runs in another process, so that attacks on weights are refused."
_AUDIO = frozenset({"audio"})
_WAVMARK_FILE = "step59000_snr39.99_pesq4.35_BERP_none0.30_mean1.81_std1.81.model.pkl"


class Perth(LibraryMethod[PerthParams]):
    """The mark of a deployed text-to-speech system, without bits."""

    name = "perth"
    version = "1"
    Params = PerthParams
    environment = libraries.PERTH
    module = "with_perth"
    gives = Gives.PRESENCE
    modalities = _AUDIO
    gate = 0.6  # nothing is trained: what it reads of short sounds is what there is
    card = Card(
        "Perth",
        "Resemble AI 2025, the library resemble-perth",
        "MIT (the library, with the weights in its wheel)",
        "Networks change the spectrum up to 2 kHz of a sound that was brought to 32 kHz, where it "
        "is loud, and say how surely a mark is there: one number, and no bits. "
        f"{_OPAQUE}",
        "The last few samples, which the library cuts off, stay as they were; one channel is "
        "marked after the other, and the mean of what is read of them counts.",
        bibtex="@misc{resemble2025perth,\n"
        "  title = {Perth: Audio Watermarking and Detection Library},\n"
        "  author = {{Resemble AI}},\n"
        "  year = {2025},\n"
        "}",
    )


class Aware(LibraryMethod[AwareParams]):
    """No training: each sound is optimised against a detector of random weights."""

    name = "aware"
    version = "1"
    Params = AwareParams
    environment = libraries.AWARE
    module = "with_aware"
    modalities = _AUDIO
    card = Card(
        "AWARE",
        "Pavlović, Stanarević, Nedić, Kovačević, Djurović 2025",
        "MIT (the library)",
        "Each sound is optimised, 400 steps, until a detector whose weights are random and known "
        "to all reads the code: magnitudes of its spectrum from 1 to 4 kHz move by 6 dB at most. "
        f"It takes seconds a sound. {_OPAQUE}",
        "At 16 kHz, there and back; a sound in which the library hears no voice stays unmarked, "
        "and its level is the library's.",
        bibtex="@article{pavlovic2025aware,\n"
        "  title = {{AWARE}: Audio Watermarking with Adversarial Resistance to Edits},\n"
        "  author = {Pavlovi{\\'c}, Kosta and Stanarevi{\\'c}, Lazar and Nedi{\\'c}, Petar and "
        "Kova{\\v c}evi{\\'c}, Slavko and Djurovi{\\'c}, Igor},\n"
        "  journal = {arXiv:2510.17512},\n"
        "  year = {2025},\n"
        "}",
    )


class AudioSeal(LibraryMethod[AudioSealParams]):
    """Networks by Meta."""

    name = "audioseal"
    version = "1"
    Params = AudioSealParams
    environment = libraries.AUDIOSEAL
    module = "with_audioseal"
    modalities = _AUDIO
    gate = 0.6  # nothing is trained: what it reads of short sounds is what there is
    card = Card(
        "AudioSeal",
        "San Roman, Fernandez, Elsahar, Défossez, Furon, Tran, ICML 2024",
        "MIT (the library); its weights are not passed on here",
        "A network adds a waveform with 16 bits to a sound at 16 kHz, another reads them at every "
        f"sample. {_OPAQUE}",
        "At 16 kHz, there and back. The weights come with no package: name their folder.",
        bibtex="@inproceedings{sanroman2024audioseal,\n"
        "  title = {Proactive Detection of Voice Cloning with Localized Watermarking},\n"
        "  author = {San Roman, Robin and Fernandez, Pierre and Elsahar, Hady and D{\\'e}fossez, "
        "Alexandre and Furon, Teddy and Tran, Tuan},\n"
        "  booktitle = {International Conference on Machine Learning},\n"
        "  year = {2024},\n"
        "}",
    )

    def brought(self) -> tuple[tuple[str, ...], str]:
        """See `LibraryMethod.brought`."""
        names = ("generator_base.pth", "detector_base.pth")
        where = "https://huggingface.co/facebook/audioseal/resolve/main"
        fetch = " ".join(f"-O {where}/{name}" for name in names)
        return names, f"fetch them with `curl -L {fetch}`, and name their folder"


class WavMark(LibraryMethod[WavMarkParams]):
    """An invertible network, which finds its mark by a pattern."""

    name = "wavmark"
    version = "1"
    Params = WavMarkParams
    environment = libraries.WAVMARK
    module = "with_wavmark"
    modalities = _AUDIO
    gate = 0.6  # nothing is trained: what it reads is what there is
    card = Card(
        "WavMark",
        "Chen, Wu, Liu, Liu, Liu, Fan 2023",
        "MIT (the library); its weights are not passed on here",
        "An invertible network puts 16 bits, and 16 of a pattern by which they are found, into "
        f"each second of a sound at 16 kHz. {_OPAQUE}",
        "At 16 kHz, there and back. Where the library finds no mark, all logits are 0. The weights "
        "come with no package: name their folder.",
        bibtex="@article{chen2023wavmark,\n"
        "  title = {{WavMark}: Watermarking for Audio Generation},\n"
        "  author = {Chen, Guangyu and Wu, Yu and Liu, Shujie and Liu, Tao and Du, Xiaoyong and "
        "Wei, Furu},\n"
        "  journal = {arXiv:2308.12770},\n"
        "  year = {2023},\n"
        "}",
    )

    def objection(self, info: SampleInfo, users: int) -> str:
        """The library marks pieces of 1.1 seconds, and refuses shorter sounds."""
        del users
        seconds = info.size / (info.rate or 1)
        if seconds >= 1.1:
            return ""
        return (
            f"expected sounds of at least 1.1 seconds, which its network works on, got "
            f"{seconds:.3g}; take longer sounds"
        )

    def brought(self) -> tuple[tuple[str, ...], str]:
        """See `LibraryMethod.brought`."""
        where = f"https://huggingface.co/M4869/WavMark/resolve/main/{_WAVMARK_FILE}"
        return (_WAVMARK_FILE,), f"fetch it with `curl -LO {where}`, and name its folder"


class SilentCipher(LibraryMethod[SilentCipherParams]):
    """Networks by Sony."""

    name = "silentcipher"
    version = "1"
    Params = SilentCipherParams
    environment = libraries.SILENTCIPHER
    module = "with_silentcipher"
    modalities = _AUDIO
    gate = 0.6  # nothing is trained: what it reads of short sounds is what there is
    card = Card(
        "SilentCipher",
        "Singh, Takahashi, Liao, Mitsufuji, Interspeech 2024",
        "MIT (the library); its weights are not passed on here",
        "Networks put 40 bits, letter by letter, into the magnitudes of a sound's spectrum at 44.1 "
        f"kHz, as loud as a psychoacoustic model lets them. {_OPAQUE}",
        "At 44.1 kHz, there and back. Where the library finds no message, all logits are 0: its "
        "message takes longer than short sounds are. The weights come with no package: name their "
        "folder.",
        bibtex="@inproceedings{singh2024silentcipher,\n"
        "  title = {{SilentCipher}: Deep Audio Watermarking},\n"
        "  author = {Singh, Mayank Kumar and Takahashi, Naoya and Liao, Weihsiang and Mitsufuji, "
        "Yuki},\n"
        "  booktitle = {Interspeech},\n"
        "  year = {2024},\n"
        "}",
    )

    def brought(self) -> tuple[tuple[str, ...], str]:
        """See `LibraryMethod.brought`."""
        return ("enc_c.ckpt", "dec_c.ckpt", "dec_m_0.ckpt", "hparams.yaml"), (
            "fetch them with `hf download sony/silentcipher --include '44_1_khz/*'`, and name the "
            "folder 44_1_khz/73999_iteration"
        )


METHODS: list[type[Method[Any]]] = [Perth, Aware, AudioSeal, WavMark, SilentCipher]
