"""The libraries, and the versions of all that their numbers depend on."""

from __future__ import annotations

from fpbench_published_marks.environments import Environment

_LIBROSA = ("librosa==0.11.0", "soxr==1.1.0")
_NUMPY = "numpy==2.4.6"
_OPENCV = "opencv-python-headless==5.0.0.93"
_PILLOW = "pillow==13.0.0"
_WAVELETS = "pywavelets==1.9.0"
_SCIPY = "scipy==1.17.1"
_SETUPTOOLS = "setuptools==81.0.0"  # the last with pkg_resources, which some still import
_TORCH = "torch==2.15.0"
_TORCHAUDIO = "torchaudio==2.11.1"
_TORCHVISION = "torchvision==0.29.2"
_OMEGACONF = "omegaconf==2.4.0"
_EINOPS = "einops==0.8.2"

INVISIBLE_WATERMARK = Environment(
    "invisible-watermark",
    (
        "invisible-watermark==0.2.0",
        "onnxruntime==1.32.0",
        _NUMPY,
        _OPENCV,
        _PILLOW,
        _TORCH,
        _WAVELETS,
    ),
)
BLIND_WATERMARK = Environment(
    "blind-watermark", ("blind-watermark==0.4.4", _NUMPY, _OPENCV, _WAVELETS)
)
TRUSTMARK = Environment(
    "trustmark",
    (
        "trustmark==0.9.2",
        "lightning==2.6.6",
        "torchmetrics==1.9.0",
        _EINOPS,
        _NUMPY,
        _OMEGACONF,
        _PILLOW,
        _TORCH,
        _TORCHVISION,
    ),
)
VIDEOSEAL = Environment(
    "videoseal",
    (
        "videoseal==1.0.1",
        "requests==2.34.2",  # it imports this, and does not ask for it
        "timm==0.9.16",
        _EINOPS,
        _NUMPY,
        _OMEGACONF,
        _OPENCV,
        _PILLOW,
        _TORCH,
        _TORCHVISION,
    ),
)
PERTH = Environment(
    "perth",
    # It asks for nothing, and imports all of these.
    (
        "resemble-perth==1.0.1",
        "pyyaml==6.0.3",
        *_LIBROSA,
        _NUMPY,
        _SCIPY,
        _SETUPTOOLS,
        _TORCH,
        _TORCHAUDIO,
    ),
)
AWARE = Environment(
    "aware",
    (
        "aware==2.0.1",
        "librosa==0.9.2",
        "numba==0.59.0",
        "numpy==1.26.4",
        "resampy==0.4.2",
        "scikit-learn==1.5.0",
        "torch==2.7.1",
        "torchaudio==2.7.1",
        "webrtcvad-wheels==2.0.14.post1",
        _SCIPY,
    ),
    # The first two need a compiler; the wheels above are the first one's. The others measure.
    dropped=("webrtcvad", "pesq", "pystoi", "matplotlib"),
    release="3.11",
)
AUDIOSEAL = Environment(
    "audioseal",
    ("audioseal==0.2.0", *_LIBROSA, _EINOPS, _NUMPY, _OMEGACONF, _SCIPY, _TORCH),
)
WAVMARK = Environment(
    "wavmark",
    (
        "wavmark==0.0.3",
        "resampy==0.4.3",
        *_LIBROSA,
        _NUMPY,
        _SCIPY,
        _SETUPTOOLS,
        _TORCH,
        _TORCHAUDIO,
    ),
)
SILENTCIPHER = Environment(
    "silentcipher",
    (
        "silentcipher==1.0.5",
        "librosa==0.10.2.post1",
        "numpy==1.26.4",
        "torch==2.0.0",
        "soxr==1.1.0",
        _SCIPY,
        _SETUPTOOLS,
    ),
    dropped=("flask",),  # of its demonstration
    release="3.11",
)
