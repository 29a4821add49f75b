"""Changes to the model that a user holds."""

from __future__ import annotations

from typing import Any

from fpbench.api import Attack, hookimpl
from fpbench_model_change.compression import Prune, Quantise, WeightRounding
from fpbench_model_change.finetuning import FineTune, Purify
from fpbench_model_change.noise import ChannelScaleNoise, WeightNoise
from fpbench_model_change.permuting import PermuteChannels
from fpbench_model_change.retraining import Distil, Overwrite


@hookimpl
def fpbench_attacks() -> list[type[Attack[Any]]]:
    """Model attacks."""
    return [
        WeightNoise,
        ChannelScaleNoise,
        Prune,
        Quantise,
        WeightRounding,
        PermuteChannels,
        FineTune,
        Purify,
        Overwrite,
        Distil,
    ]
