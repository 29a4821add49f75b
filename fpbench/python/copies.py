"""A user's copy: what it draws, and as a file that opens without any secret."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from fpbench.api import (
    FpbenchError,
    Generator,
    Host,
    Latents,
    Method,
    Modality,
    SpecError,
    StoreError,
    derive_seed,
)
from fpbench.execute.machine import processors, resolve_device
from fpbench.python.cards import CopyCard, component_of, read_card, unplaced
from fpbench.python.computing import computing, draw
from fpbench.registry import Catalogue, load
from fpbench.stages import boundary
from fpbench.stages.checks import check_generator, check_opened, check_state
from fpbench.stages.context import StageContext
from fpbench.stages.interrupt import Interrupt
from fpbench.stages.process import call
from fpbench.store import Store
from fpbench.store.objects import disk_errors, write_text

WEIGHTS, CARD = "copy.safetensors", "card.json"
"""The two files of a saved copy."""
NO_PLACES: Mapping[str, str | Path] = MappingProxyType({})
"""Of a `places` that says none."""


class Copy:
    """One user's copy, as he holds it; `TrainedMethod.copy` and `load_copy` give it.

    Attributes:
        method: name of its method.
        card: what a file of it says.
    """

    def __init__(
        self,
        card: CopyCard,
        method: Method[Any],
        host: Host[Any],
        generator: Generator,
        modality: Modality[Any],
        device: torch.device,
    ) -> None:
        self.method = method.name
        self.card = card
        self._method = method
        self._host = host
        self._generator = generator
        self._modality = modality
        self._device = device
        self._threads = min(card.threads, processors())  # a card may say anything
        self._interrupt = Interrupt()

    def __repr__(self) -> str:
        return f"<fpbench.Copy of {self.method}, {self.card.modality} {self.card.shape}>"

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """(N, H, W, 3) uint8 images; of other samples (N, *shape) as they are in a file.

        Image i depends on the seed and on i alone, so that copies of different users show equal
        latents, and more images begin with fewer.

        Args:
            n: N, at least 1.
            seed: of the latents, 0 or more.

        Raises:
            SpecError: n or seed is out of range.
            ContractError: the copy draws something else.
        """
        if n < 1 or seed < 0:
            raise SpecError([f"sample: expected n ≥ 1 and seed ≥ 0, got {n} and {seed}"])
        generator = self._generator

        def latents(numbers: np.ndarray) -> Latents:
            return generator.prior([self._seed(seed, int(i)) for i in numbers])

        who, interrupt = f"copy of {self.method}", self._interrupt
        with computing(self._threads, interrupt):
            return draw(who, generator, latents, n, self._modality, self.card.info, interrupt)

    def _seed(self, seed: int, number: int) -> int:
        if self._host.pictures:  # the next number is the next picture
            return derive_seed(seed, "copy") + number
        return derive_seed(seed, "copy", number)

    def save(self, folder: str | Path) -> Path:
        """Write the copy as `copy.safetensors` and `card.json`; `load_copy` opens them.

        The weights are what its user holds anyway. The card names method and host with versions and
        parameters: no code, no key, no training and no place of this machine.

        Args:
            folder: empty, or not there yet.

        Returns:
            The folder.

        Raises:
            SpecError: the folder holds something.
            ContractError: the method, or its host, cannot make or open a file of a copy.
        """
        target = Path(folder)
        if target.exists() and not (target.is_dir() and not any(target.iterdir())):
            raise SpecError([f"save: expected an empty folder, got {target}; name another one"])
        with computing(self._threads, self._interrupt):
            packed = _packed(self._method, self._generator)
            # What nobody could open is not handed out.
            _opened(self._method, self._host, packed, self._modality, self.card, self._device)
        weights = target / WEIGHTS
        with disk_errors(weights):
            target.mkdir(parents=True, exist_ok=True)
            save_file({name: tensor.cpu() for name, tensor in packed.items()}, weights)
        about = {"size_bytes": weights.stat().st_size, "sha256": _sha256(weights)}
        write_text(target / CARD, self.card.model_copy(update=about).text())
        return target


def load_copy(
    folder: str | Path,
    *,
    plugins: Sequence[str] = (),
    places: Mapping[str, str | Path] = NO_PLACES,
    device: str = "auto",
) -> Copy:
    """The copy that `Copy.save` has written: on a device of one kind it draws the same images.

    It needs neither the run nor a secret of it. A folder from a stranger runs nothing: weights are
    safetensors, and only what is installed or named in `plugins` is asked to open them.

    Args:
        folder: with `copy.safetensors` and `card.json`.
        plugins: further plugin modules, as `fpbench -p MODULE`.
        places: parameter -> file or folder on this machine, of a method or host that reads some.
        device: "cpu", "cuda", "cuda:1"; "auto" takes a GPU if there is one.

    Raises:
        SpecError: method or host is not installed, or is of another version.
        StoreError: a file is missing, damaged or of another kind.
        ContractError: the weights are not those of such a copy.
        MissingResource: there is no such device.
    """
    place = Path(folder)
    card, catalogue = read_card(place / CARD), load(plugins)
    method = component_of("method", card.method, places, catalogue)
    host = component_of("host", card.host, places, catalogue)
    assert isinstance(method, Method)
    assert isinstance(host, Host)
    modality, where = _modality(card, catalogue), torch.device(resolve_device(device))
    weights = {name: t.to(where) for name, t in _weights(place / WEIGHTS, card).items()}
    try:
        with computing(min(card.threads, processors()), Interrupt()):
            generator = _opened(method, host, weights, modality, card, where)
    except FpbenchError as error:
        parts = (("method", card.method), ("host", card.host))
        missing = [name for part in parts for name in unplaced(*part, places, catalogue)]
        if not missing:
            raise
        said = f"load_copy(…, places={{{missing[0]!r}: PATH}})"
        raise SpecError([f"{error}; where the files of {', '.join(missing)} are: {said}"]) from None
    return Copy(card, method, host, generator, modality, where)


def _packed(method: Method[Any], generator: Generator) -> dict[str, torch.Tensor]:
    who = f"method {method.name}: pack"
    return boundary.cloned(check_state(who, call(method.pack, generator)))


def _opened(
    method: Method[Any],
    host: Host[Any],
    packed: dict[str, torch.Tensor],
    modality: Modality[Any],
    card: CopyCard,
    device: torch.device,
) -> Generator:
    """The generator of a file, which makes the same file again.

    Raises:
        ContractError: it cannot be opened, or holds more, less or something else.
    """
    who = f"method {method.name}: unpack"
    check_state(who, packed)
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(Path(scratch), lasting=False)
        ctx = StageContext(device, (0, "unpack"), store, modality=modality, info=card.info)
        lent = boundary.cloned(packed)
        generator = check_generator(who, call(method.unpack, lent, host, ctx))
    check_opened(who, packed, _packed(method, generator))
    return generator


def _modality(card: CopyCard, catalogue: Catalogue) -> Modality[Any]:
    found = catalogue.get("modalities", card.modality)
    if found is None:
        raise SpecError([f"copy: {catalogue.unknown('modalities', card.modality)}"])
    modality = found(found.Params())
    assert isinstance(modality, Modality)
    return modality


def _weights(path: Path, card: CopyCard) -> dict[str, torch.Tensor]:
    """The tensors of a file, if they are those of the card."""
    got = "none"
    if path.is_symlink():
        got = "a link, which is not followed"
    elif path.is_file() and _sha256(path) != card.sha256:
        got = "another file than the card's"
    elif path.is_file():
        try:
            return load_file(path)
        except SafetensorError as error:
            got = f"no safetensors ({error})"
    raise StoreError(
        f"copy {path.parent}: expected the weights of its card in {path.name}, got {got}; get the "
        "folder again from whoever made it",
        path=str(path),
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
