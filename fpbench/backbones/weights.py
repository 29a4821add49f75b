"""The published weights: which they are, where they lie, how they come to this machine.

A file is used only if its SHA-256 is right. Of the published files their publishers give the first
eight hex digits, in the file name as torch.hub reads it, and no more is known; a suite can pin
other weights by the whole digest. Of the folders of CLIP no digest is published: what is found is
used, and named by the digest of its content. Nothing is downloaded but by `fetch`.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError  # noqa: TID251 - to catch it; nothing is unpickled with pickle
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Literal

from fpbench.api import MissingResource, StageError
from fpbench.backbones.speech import LIBRARIES, whereabouts

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "CATALOGUE",
    "FOLDERS",
    "Name",
    "WeightFile",
    "WrongWeights",
    "fetch",
    "find",
    "hub_folder",
    "library",
    "read",
    "sha256_of",
]

Name = Literal[
    "inception",
    "lpips-squeeze",
    "lpips-alex",
    "lpips-vgg",
    "clip-vit-base-patch16",
    "clip-vit-base-patch32",
    "clip-vit-large-patch14",
    "pesq",
    "stoi",
]

FOLDERS: frozenset[Name] = frozenset(
    {"clip-vit-base-patch16", "clip-vit-base-patch32", "clip-vit-large-patch14"}
)
"""Those whose weights are a folder, as `transformers` saves it, and brought by hand alone."""

_WEIGHTS = "model.safetensors"
_LOADED = ("config.json", _WEIGHTS)
_SAVING = (
    'python -c "from transformers import CLIPModel, CLIPProcessor; [kind.from_pretrained('
    "'openai/{0}').save_pretrained('{0}') for kind in (CLIPModel, CLIPProcessor)]\""
)

_BY_HAND = "name its folder with --weights DIR or FPBENCH_WEIGHTS"


class WrongWeights(StageError):
    """A weight file is there and is not what its name, the suite or the network promises."""


@dataclass(frozen=True)
class WeightFile:
    """A weight file as its publisher offers it.

    Attributes:
        name: of the network whose backbone it is.
        file: published file name; its end is the start of the SHA-256.
        entry: where the library that downloads it keeps the address: a constant of torch-fidelity,
            or an entry of torchvision's list of weights.
        packages: distributions that the network needs beside torch.
        licence: of the weights.
    """

    name: Name
    file: str
    entry: str
    packages: tuple[str, ...]
    licence: str

    @property
    def digest(self) -> str:
        """First hex digits of the file's SHA-256: all that its publisher says."""
        return self.file.removesuffix(".pth").rpartition("-")[2]


_TORCHVISION = "BSD-3-Clause (torchvision); trained on ImageNet, for non-commercial research"

CATALOGUE: Mapping[Name, WeightFile] = MappingProxyType(
    {
        weights.name: weights
        for weights in (
            WeightFile(
                "inception",
                "weights-inception-2015-12-05-6726825d.pth",
                "URL_INCEPTION_V3",
                ("torch-fidelity",),
                "Apache-2.0 (TensorFlow models); trained on ImageNet, for non-commercial research",
            ),
            WeightFile(
                "lpips-squeeze",
                "squeezenet1_1-b8a52dc0.pth",
                "SqueezeNet1_1_Weights.IMAGENET1K_V1",
                ("lpips",),
                _TORCHVISION,
            ),
            WeightFile(
                "lpips-alex",
                "alexnet-owt-7be5be79.pth",
                "AlexNet_Weights.IMAGENET1K_V1",
                ("lpips",),
                _TORCHVISION,
            ),
            WeightFile(
                "lpips-vgg",
                "vgg16-397923af.pth",
                "VGG16_Weights.IMAGENET1K_V1",
                ("lpips",),
                _TORCHVISION,
            ),
        )
    }
)


def find(name: Name, folder: Path | None = None, sha256: str | None = None) -> Path:
    """The file of a network's weights, checked; of a measure without weights, its library's.

    Args:
        name: Of the network.
        folder: Of weights brought by hand, looked into before torch.hub's; None = only the latter.
        sha256: Whole hex digest of other weights than the published ones. Then every `.pth` file
            of both folders is a candidate, whatever its name; a folder keeps its name.

    Raises:
        MissingResource: It is in neither folder; says what to do.
        WrongWeights: The published file's name is there with another digest; prints both.
    """
    folders = [place for place in (folder, hub_folder()) if place is not None]
    if name in FOLDERS:
        return _folder(name, folders, sha256)
    if name in LIBRARIES:
        return whereabouts(name)
    if sha256 is not None:
        return _pinned(name, folders, sha256.lower())
    return _published(CATALOGUE[name], folders)


def fetch(name: Name, folder: Path | None = None) -> Path:
    """The published file, downloaded into torch.hub's folder unless it is there already.

    Folders and libraries are never downloaded. The address is that of the library whose network it
    is, the download torch.hub's.

    Args:
        name: Of the network.
        folder: Of weights brought by hand.

    Raises:
        MissingResource: The library is not installed, or the download failed; says what to do.
        WrongWeights: The file that is there, or that came, has another digest than it should.
    """
    try:
        return find(name, folder)
    except MissingResource:
        if name in FOLDERS or name in LIBRARIES:
            raise
    weights = CATALOGUE[name]
    target, url = hub_folder() / weights.file, _url(weights)
    from torch.hub import download_url_to_file

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        download_url_to_file(url, str(target), weights.digest, progress=False)
    except (OSError, HTTPException) as error:
        raise MissingResource(
            f"weights {name}: expected to download {url} to {target}, got {error!r}; on a machine "
            f"without internet bring {weights.file} from another one and {_BY_HAND}"
        ) from error
    except RuntimeError as error:  # what torch.hub says of another digest
        raise WrongWeights(
            f"weights {name}: expected {url} to have a SHA-256 that starts with {weights.digest}, "
            f"got {error}; nothing was kept: try again, or bring {weights.file} and {_BY_HAND}"
        ) from error
    return find(name)


def hub_folder() -> Path:
    """Where torch.hub, and so every library here, keeps downloaded weights.

    Its own rule written out, since a plan asks for weights and needs no torch.
    """
    caches = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", f"{caches}/torch")
    return Path(home).expanduser() / "hub" / "checkpoints"


def sha256_of(path: Path) -> str:
    """Hex digest of a file; read once in this process unless the file changes.

    Of a folder, that of the names and digests of the files that a network is loaded from.
    """
    if path.is_dir():
        files = sorted({*path.glob("*.json"), *path.glob("merges.txt"), path / _WEIGHTS})
        lines = "".join(f"{file.name}\0{sha256_of(file)}\n" for file in files)
        return hashlib.sha256(lines.encode()).hexdigest()
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a weight file by name, on the CPU.

    Raises:
        WrongWeights: It does not hold tensors by name, and nothing else.
    """
    import torch

    try:
        # Weights are published in torch's own format; weights_only runs no code of the file.
        state = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251
    except (UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise WrongWeights(
            f"weights {path}: expected a file of tensors, got one that torch cannot read "
            f"({error}); bring another file"
        ) from error
    if not isinstance(state, dict) or not all(map(torch.is_tensor, state.values())):
        raise WrongWeights(
            f"weights {path}: expected tensors by name, got {type(state).__name__} with other "
            "content; bring another file"
        )
    return dict(state)


def library(module: str) -> ModuleType:
    """A module of a library that only the networks need.

    Raises:
        MissingResource: It is not installed; says how to get it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingResource(
            f"expected the module {module}, got {error}; run in fpbench's folder: "
            "uv sync --extra backbones (or pip install 'fpbench[backbones]')"
        ) from error


def _published(weights: WeightFile, folders: list[Path]) -> Path:
    for folder in folders:
        path = folder / weights.file
        if not path.is_file():
            continue
        found = sha256_of(path)
        if not found.startswith(weights.digest):
            raise WrongWeights(
                f"weights {weights.name}: expected {path} to have a SHA-256 that starts with "
                f"{weights.digest}, got {found}; remove the file and run `fpbench prepare SUITE`, "
                "or, if these weights are meant, pin their digest in the suite (sha256)"
            )
        return path
    raise MissingResource(
        f"weights {weights.name}: expected {weights.file} in {_either(folders)}, got no such file; "
        f"run `fpbench prepare SUITE`, or bring the file by hand and {_BY_HAND}"
    )


def _pinned(name: Name, folders: list[Path], sha256: str) -> Path:
    candidates = [path for folder in folders for path in sorted(folder.glob("*.pth"))]
    # Large files take seconds: the likely one first.
    candidates.sort(key=lambda path: path.name != CATALOGUE[name].file)
    for path in candidates:
        if sha256_of(path) == sha256:
            return path
    raise MissingResource(
        f"weights {name}: expected a .pth file with the SHA-256 that the suite pins, {sha256}, in "
        f"{_either(folders)}, got {len(candidates)} with others; bring it by hand and {_BY_HAND}, "
        f"or remove the pin and run `fpbench prepare SUITE` for {CATALOGUE[name].file}"
    )


def _folder(name: Name, folders: list[Path], sha256: str | None) -> Path:
    """A folder of that name with a model in it."""
    there = [f / name for f in folders if all((f / name / n).is_file() for n in _LOADED)]
    for path in there:
        if sha256 is None or sha256_of(path) == sha256.lower():
            return path
    if there:
        found = ", ".join(f"{sha256_of(path)} in {path}" for path in there)
        raise MissingResource(
            f"weights {name}: expected a folder {name} with the SHA-256 that the suite pins, "
            f"{sha256}, got {found}; bring that one and {_BY_HAND}, or remove the pin"
        )
    raise MissingResource(
        f"weights {name}: expected a folder {name} with {' and '.join(_LOADED)} in "
        f"{_either(folders)}, got none; make it on a machine with internet: "
        f"{_SAVING.format(name)}, and {_BY_HAND}"
    )


def _either(folders: list[Path]) -> str:
    return " or ".join(str(folder) for folder in folders)


def _url(weights: WeightFile) -> str:
    if weights.name == "inception":
        module = library("torch_fidelity.feature_extractor_inceptionv3")
        return str(getattr(module, weights.entry))
    return str(library("torchvision.models").get_weight(weights.entry).url)


@cache
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    del size, mtime_ns  # a changed file is another entry
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
