"""The libraries, and the versions of all that their numbers depend on."""

from __future__ import annotations

from fpbench_published_marks.environments import Environment

_NUMPY = "numpy==2.4.6"
_OPENCV = "opencv-python-headless==5.0.0.93"
_PILLOW = "pillow==13.0.0"
_WAVELETS = "pywavelets==1.9.0"
_TORCH = "torch==2.15.0"
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
