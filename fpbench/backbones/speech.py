"""PESQ and STOI of pairs of 16-bit sounds, by the libraries that papers compute them with.

They need no weights. Neither is defined for every sound: PESQ finds no utterance in what is nearly
silent, and STOI wants 0.4 s that are not; such a pair has nan. Letters: N pairs, C channels, which
are mixed down, T samples.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from fpbench.api import MissingResource

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LIBRARIES", "RATES", "SpeechMeasure", "whereabouts"]

Measure = Literal["pesq", "stoi"]

LIBRARIES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"pesq": ("pesq", "_pesq.py"), "stoi": ("pystoi", "stoi.py")}
)
"""Measure -> the package that computes it, and the file of it which does."""
RATES: Mapping[int, str] = MappingProxyType({8000: "nb", 16000: "wb"})
"""Samples a second -> mode of PESQ: P.862 for telephones, P.862.2 for wide bands."""
_UNDEFINED = 1e-5  # what pystoi gives for too few frames, with a warning


def whereabouts(measure: str) -> Path:
    """The file that computes a measure; it stands for it as a file of weights for a network.

    Raises:
        MissingResource: it is not installed; says how to get it.
    """
    package, file = LIBRARIES[measure]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise MissingResource(
            f"{measure}: expected the module {package}, got none; run in fpbench's folder: "
            "uv sync --extra speech (or pip install 'fpbench[speech]')"
        )
    return Path(spec.origin).with_name(file)


class SpeechMeasure:
    """(N, C, T) int16 twice -> (N,) float64: how good each second sound is beside the first.

    PESQ (ITU-T P.862, P.862.2) is a mean opinion score from 1 to 4.6, STOI (Taal et al. 2011) a
    correlation up to 1; nan where it is undefined.

    Args:
        measure: which.
        rate: samples a second; of PESQ one of `RATES`.

    Raises:
        MissingResource: its library is not installed.
    """

    def __init__(self, measure: Measure, rate: int) -> None:
        whereabouts(measure)
        self._measure, self._rate = measure, rate

    def __call__(self, before: Any, after: Any) -> Any:
        """See the class; tensors in, a tensor out."""
        import torch

        one = _of_pesq if self._measure == "pesq" else _of_stoi
        pairs = zip(_mono(before), _mono(after), strict=True)
        return torch.tensor([one(*pair, self._rate) for pair in pairs], dtype=torch.float64)


def _mono(sounds: Any) -> NDArray[np.float32]:
    mono: NDArray[np.float32] = sounds.cpu().numpy().mean(axis=1).astype("float32") / 2**15
    return mono


def _of_pesq(before: NDArray[np.float32], after: NDArray[np.float32], rate: int) -> float:
    from pesq import PesqError, pesq

    try:
        return float(pesq(rate, before, after, RATES[rate]))
    except PesqError:
        return float("nan")


def _of_stoi(before: NDArray[np.float32], after: NDArray[np.float32], rate: int) -> float:
    from pystoi import stoi

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = float(stoi(before, after, rate))
    return float("nan") if found == _UNDEFINED else found
