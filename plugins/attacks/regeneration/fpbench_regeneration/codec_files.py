"""What lies in the folder of a published codec of sounds; no torch."""

from __future__ import annotations

import json
from pathlib import Path

from fpbench.api import ContractError, MissingResource

__all__ = ["CLASSES", "CONFIG", "WEIGHTS", "check"]

CONFIG, WEIGHTS = "config.json", "model.safetensors"
CLASSES = {"encodec": "EncodecModel", "dac": "DacModel"}
"""Of transformers, by what a configuration calls its model."""


def check(who: str, place: str) -> Path:
    """The folder of a codec, as far as its configuration says; no transformers.

    Raises:
        MissingResource: there is nothing.
        ContractError: what is there is no codec of one channel, or its weights are pickles.
    """
    folder = Path(place)
    if not folder.exists():
        raise MissingResource(
            f"{who}: expected a codec of sounds at {place}, got nothing there; fetch one, as with "
            "`hf download facebook/encodec_24khz --local-dir FOLDER`, and set autoencoder to its "
            "folder"
        )
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ContractError(
            f"{who}: expected {CONFIG} of a codec of sounds in {folder.name}, got none that can "
            f"be read ({error}); name a folder as transformers saves it"
        ) from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind not in CLASSES:
        raise ContractError(
            f"{who}: expected a codec of sounds ({' or '.join(CLASSES)}) in {folder.name}/"
            f"{CONFIG}, got {kind!r}; name the folder of such a model"
        )
    channels, chunk = config.get("audio_channels", 1), config.get("chunk_length_s")
    if channels != 1 or chunk:
        raise ContractError(
            f"{who}: expected a codec of one channel that takes sounds whole, got {folder.name} "
            f"with audio_channels = {channels}, chunk_length_s = {chunk}; name another, as "
            "facebook/encodec_24khz"
        )
    if not (folder / WEIGHTS).is_file():
        raise ContractError(
            f"{who}: expected {WEIGHTS} in {folder.name}, got none; other formats may run "
            "programs: save the model again with transformers"
        )
    return folder
