"""What lies in the folder of a whole text-to-image pipeline of diffusers, read without torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fpbench.api import ContractError
from fpbench.nn.autoencoders.layout import PICKLES, config_of, shapes_of

__all__ = ["check", "digest"]


@dataclass(frozen=True)
class Part:
    """One folder of a pipeline.

    Attributes:
        config: file that says what it is.
        classes: that are known of it; empty for any.
        weights: what the file of its weights is called, before ".safetensors"; empty for none.
    """

    config: str
    classes: tuple[str, ...] = ()
    weights: str = ""


_SAME_TWICE = ("DDIMScheduler", "EulerDiscreteScheduler", "PNDMScheduler")  # they draw nothing
_PARTS = {
    "unet": Part("config.json", ("UNet2DConditionModel",), "diffusion_pytorch_model"),
    "text_encoder": Part("config.json", ("CLIPTextModel",), "model"),
    "scheduler": Part("scheduler_config.json"),
    "tokenizer": Part("tokenizer_config.json"),
}
_TOKENS = "tokenizer.json", "vocab.json"


def check(who: str, folder: Path, scheduler: str) -> None:
    """See that all parts of a pipeline are there, as they must be.

    Args:
        who: asks, for messages.
        folder: of the pipeline; its autoencoder is looked at by `layout.find`.
        scheduler: "ddim", or "folder" for the pipeline's own.

    Raises:
        ContractError: a part is missing, of another kind, pickled or damaged.
    """
    for name, part in {"vae": Part("config.json"), **_PARTS}.items():
        where = folder / name
        if not where.is_dir():
            found = sorted(path.parent.name for path in folder.glob("*/*.json"))
            raise ContractError(
                f"{who}: expected the part {name} in the folder {folder.name} of a pipeline, got "
                f"{', '.join(dict.fromkeys(found)) or 'none of its parts'}; name a folder as "
                "StableDiffusionPipeline saves it"
            )
        kinds = _kinds(config_of(who, where, part.config))
        if part.classes and not kinds & set(part.classes):
            raise ContractError(
                f"{who}: expected {' or '.join(part.classes)} as the part {name}, got "
                f"{', '.join(sorted(kinds)) or 'no class'}; other pipelines are not known here"
            )
        if part.weights:
            _check_weights(who, where, part.weights)
    if not any((folder / "tokenizer" / file).is_file() for file in _TOKENS):
        raise ContractError(
            f"{who}: expected {' or '.join(_TOKENS)} in the part tokenizer, got neither; save the "
            "pipeline again"
        )
    own = _kinds(config_of(who, folder / "scheduler", "scheduler_config.json"))
    if scheduler == "folder" and not own & set(_SAME_TWICE):
        raise ContractError(
            f"{who}: expected a scheduler that draws nothing ({', '.join(_SAME_TWICE)}), got "
            f"{', '.join(sorted(own)) or 'no class'}; set host.scheduler to ddim"
        )


def digest(folder: Path) -> bytes:
    """SHA-256 over the contents of what a state does not hold: all parts but the autoencoder."""
    total = hashlib.sha256()
    for name in sorted(_PARTS):
        for path in sorted(p for p in (folder / name).rglob("*") if p.is_file()):
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            total.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return total.digest()


def _kinds(config: Mapping[str, Any]) -> set[str]:
    """The class that a configuration names, as diffusers or as transformers does."""
    said = config.get("_class_name") or config.get("architectures") or ()
    return {said} if isinstance(said, str) else {str(name) for name in said}


def _check_weights(who: str, folder: Path, stem: str) -> None:
    """See that weights are there, in one file or in several with an index, and whole."""
    whole, index = folder / f"{stem}.safetensors", folder / f"{stem}.safetensors.index.json"
    if whole.is_file():
        files = {whole.name}
    elif index.is_file():
        shards = config_of(who, folder, index.name).get("weight_map")
        if not isinstance(shards, dict):
            raise ContractError(
                f"{who}: expected a table weight_map in {folder.name}/{index.name}, got {shards}; "
                "save the pipeline again"
            )
        files = {str(name) for name in shards.values()}
    else:
        others = sorted(p.name for p in folder.iterdir() if p.suffix in PICKLES)
        got = f"{', '.join(others)}, which may run programs" if others else "nothing"
        raise ContractError(
            f"{who}: expected {folder.name}/{whole.name}, got {got}; save the pipeline with "
            "safe_serialization=True"
        )
    for name in sorted(files):
        try:
            shapes_of(folder / name)
        except ContractError as error:
            raise ContractError(f"{who}: part {folder.name}: {error}") from error
