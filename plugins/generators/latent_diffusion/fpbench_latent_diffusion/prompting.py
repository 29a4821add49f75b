"""A published denoiser that makes latents of noise and a prompt: text encoder, U-Net, scheduler."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fpbench.api import (
    Conditions,
    Context,
    ContractError,
    Latents,
    MissingResource,
    StageError,
    State,
)
from fpbench.nn.generator import ChainGenerator
from fpbench_latent_diffusion import parts

if TYPE_CHECKING:
    from fpbench_latent_diffusion.params import LatentDiffusionParams

__all__ = ["Prompted", "TextToLatents", "assembled", "files_of", "reopened"]

Tokens = Callable[[Sequence[str]], Tensor]
"""Prompts as (N, L) int64 tokens."""
_GUIDANCE = 7.5  # as published with Stable Diffusion
_KEPT = 4096  # latents; those of Stable Diffusion 2 at 512 pixels take 64 KiB each


class TextToLatents(nn.Module):
    """Normal noise (N, C, h, w) and the tokens of prompts (N, L) to latents (N, C, h, w).

    What it has made it keeps, so that copies with another decoder behind it are spared it. What is
    kept is that of a whole batch, since its rounding is a function of all that is in it; a deep
    copy begins with nothing, and all is forgotten when a weight has changed.

    Args:
        text_encoder: tokens to (N, L, D), as the first of what it gives.
        unet: noise of latents at a time, given a text.
        scheduler: of diffusers, one that draws nothing.
        empty: (L,) tokens of no prompt.
        shape: (C, h, w) of latents.
        steps: of the scheduler.
        guidance: factor on the way from no prompt to the prompt; 1 = as far as the prompt.
    """

    def __init__(
        self,
        text_encoder: nn.Module,
        unet: nn.Module,
        scheduler: Any,
        empty: Tensor,
        shape: Sequence[int],
        *,
        steps: int,
        guidance: float,
    ) -> None:
        super().__init__()
        self.text_encoder, self.unet = text_encoder, unet
        self.shape = tuple(shape)
        self._scheduler, self._steps, self._guidance = scheduler, steps, guidance
        self.register_buffer("empty", empty, persistent=False)
        self._kept = _Kept()

    def forward(self, latents: Mapping[str, Tensor]) -> Tensor:
        """See the class."""
        noise, prompt = latents["noise"], latents["prompt"]
        weights = [*self.parameters(), *self.buffers()]
        learning = noise.requires_grad or any(tensor.requires_grad for tensor in weights)
        if learning and torch.is_grad_enabled():
            return self._made(noise, prompt)
        return self._kept.of(weights, (noise, prompt), lambda: self._made(noise, prompt))

    def _made(self, noise: Tensor, prompt: Tensor) -> Tensor:
        """As `StableDiffusionPipeline` does it."""
        assert isinstance(self.empty, Tensor)
        guided = self._guidance > 1
        texts = torch.cat([self.empty.expand_as(prompt), prompt]) if guided else prompt
        text = self.text_encoder(texts)[0]
        # It has a state of its own that begins anew here.
        scheduler = copy.deepcopy(self._scheduler)
        scheduler.set_timesteps(self._steps, device=noise.device)
        x: Tensor = noise * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            twice = scheduler.scale_model_input(torch.cat([x, x]) if guided else x, t)
            found = self.unet(twice, t, encoder_hidden_states=text).sample
            if guided:
                plain, asked = found.chunk(2)
                found = plain + self._guidance * (asked - plain)
            x = scheduler.step(found, t, x).prev_sample
        return x

    def get_extra_state(self) -> Tensor:
        """(3,) the shape of latents, which no weight of a U-Net tells."""
        return torch.tensor(self.shape)

    def set_extra_state(self, state: Tensor) -> None:
        """What `get_extra_state` gave."""
        self.shape = tuple(state.tolist())


class _Kept:
    """What was made of some inputs, as long as no weight changes."""

    def __init__(self) -> None:
        self._weights: list[tuple[Tensor, int]] = []
        self._made: dict[bytes, Tensor] = {}

    def __deepcopy__(self, memo: dict[int, object]) -> _Kept:
        return _Kept()

    def of(
        self, weights: Sequence[Tensor], given: Sequence[Tensor], make: Callable[[], Tensor]
    ) -> Tensor:
        """What `make` gives, made once for these weights and inputs."""
        now = [(tensor, tensor._version) for tensor in weights]
        if not _same(now, self._weights):
            self._weights, self._made = now, {}
        key = _key(given)
        if key not in self._made:
            made = make()
            room = _KEPT - len(made)
            while self._made and sum(map(len, self._made.values())) > room:
                del self._made[next(iter(self._made))]  # the oldest
            self._made[key] = made
        return self._made[key].clone()


def _same(one: list[tuple[Tensor, int]], other: list[tuple[Tensor, int]]) -> bool:
    return len(one) == len(other) and all(
        a is b and of_a == of_b for (a, of_a), (b, of_b) in zip(one, other, strict=True)
    )


def _key(given: Sequence[Tensor]) -> bytes:
    total = hashlib.sha256()
    for tensor in given:
        total.update(f"{tuple(tensor.shape)} {tensor.dtype} {tensor.device}".encode())
        total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.digest()


class Prompted(ChainGenerator):
    """A chain whose latents are normal noise and the tokens of a prompt.

    Args:
        steps: "denoiser", "decoder", and what stands behind.
        shape: (C, h, w) of latents.
        tokens: of prompts.
        prompts: one of them is chosen by the seed where nobody says what is asked for.
        device: where the steps live.
    """

    def __init__(
        self,
        steps: Mapping[str, nn.Module],
        shape: Sequence[int],
        tokens: Tokens,
        prompts: Sequence[str],
        device: torch.device,
    ) -> None:
        super().__init__(steps, 0, device)
        self._shape, self._tokens, self._prompts = tuple(shape), tokens, tuple(prompts)

    def prior(self, seeds: Sequence[int], conditions: Conditions = ()) -> Latents:
        """{"noise" (N, C, h, w), "prompt" (N, L) int64} of captions, or of the host's prompts."""
        rngs = [torch.Generator().manual_seed(seed) for seed in seeds]
        noise = torch.stack([torch.randn(self._shape, generator=rng) for rng in rngs])
        asked = [str(caption) for caption in conditions] or [
            self._prompts[int(torch.randint(len(self._prompts), (1,), generator=rng))]
            for rng in rngs
        ]
        prompt = self._tokens(asked)
        return {"noise": noise.to(self._device), "prompt": prompt.to(self._device)}

    def replace(self, name: str, step: nn.Module | None, *, after: str | None = None) -> Prompted:
        """See `fpbench.api.Generator.replace`."""
        steps = super().replace(name, step, after=after).steps
        return Prompted(steps, self._shape, self._tokens, self._prompts, self._device)


def assembled(
    who: str,
    own: State,
    folder: Path,
    decoder: nn.Module,
    p: LatentDiffusionParams,
    ctx: Context,
) -> Prompted:
    """A pipeline with this decoder, its denoiser opened once a process.

    Args:
        who: opens it, for messages.
        own: "files", the digest that its files must have, and "latent", the shape of latents.
        folder: of the pipeline.
        decoder: behind the denoiser.
        p: how it draws.
        ctx: device; keeps the denoiser.

    Raises:
        ContractError: weights are missing or left over.
        StageError: the files are others than when the host was fitted.
    """
    shape = own["latent"].tolist()

    def make() -> tuple[TextToLatents, Tokens]:
        if not torch.equal(own["files"].cpu(), files_of(folder)):
            raise StageError(
                f"{who}: expected the files of the pipeline {folder.name} as they were when the "
                "host was fitted, got others; run again, which plans with what is there now"
            )
        return _opened(who, folder, shape, p, ctx)

    known = bytes(own["files"].tolist()).hex()
    name = f"{who} {p.model_dump_json()} {known} {shape} {ctx.device}"
    step, tokens = ctx.once(name, make)
    return _prompted(step, tokens, decoder, p, ctx)


def reopened(
    who: str,
    weights: State,
    folder: Path,
    decoder: nn.Module,
    p: LatentDiffusionParams,
    ctx: Context,
) -> Prompted:
    """A pipeline with this decoder, and with the denoiser's weights of a file.

    Raises:
        ContractError: they are those of another pipeline.
    """
    shape = weights.get("_extra_state", torch.zeros(0)).tolist()
    step, tokens = _opened(who, folder, shape, p, ctx)
    try:
        step.load_state_dict(weights)
    except RuntimeError as error:
        raise ContractError(
            f"{who}: expected the weights of a copy of this pipeline, got others ({error}); open "
            "it with the parameters that it was made with"
        ) from error
    return _prompted(step, tokens, decoder, p, ctx)


def files_of(folder: Path) -> Tensor:
    """(32,) uint8 digest of the pipeline's files, by which a state knows them."""
    return torch.tensor(list(parts.digest(folder)), dtype=torch.uint8)


def _prompted(
    step: TextToLatents,
    tokens: Tokens,
    decoder: nn.Module,
    p: LatentDiffusionParams,
    ctx: Context,
) -> Prompted:
    steps = {"denoiser": step, "decoder": decoder}
    return Prompted(steps, step.shape, tokens, p.prompts, ctx.device)


def _opened(
    who: str, folder: Path, shape: Sequence[int], p: LatentDiffusionParams, ctx: Context
) -> tuple[TextToLatents, Tokens]:
    """The denoiser and the tokenizer of a pipeline.

    Raises:
        ContractError: weights are missing or left over.
    """
    kinds, tokens = _diffusers(who), _tokenizer(who, folder)
    text = _loaded(who, _transformers(who).CLIPTextModel, folder / "text_encoder")
    unet = _loaded(who, kinds.UNet2DConditionModel, folder / "unet", low_cpu_mem_usage=False)
    config = dict(kinds.DDIMScheduler.load_config(str(folder / "scheduler")))
    config.setdefault("clip_sample", False)  # bounds of pixels, which latents do not have
    name = config["_class_name"] if p.scheduler == "folder" else "DDIMScheduler"
    step = TextToLatents(
        text,
        unet,
        getattr(kinds, name).from_config(config),
        tokens([""])[0],
        shape,
        steps=p.sampling_steps,
        guidance=_GUIDANCE if p.guidance is None else p.guidance,
    )
    return step.to(ctx.device).eval().requires_grad_(False), tokens


def _tokenizer(who: str, folder: Path) -> Tokens:
    """The tokenizer of a pipeline: prompts cut or padded to what its text encoder takes."""
    tokenizer = _transformers(who).CLIPTokenizer.from_pretrained(
        str(folder / "tokenizer"), local_files_only=True
    )

    def tokens(prompts: Sequence[str]) -> Tensor:
        length = tokenizer.model_max_length
        found = tokenizer(
            list(prompts),
            padding="max_length",
            max_length=length,
            truncation=True,
            return_tensors="pt",
        )
        ids: Tensor = found.input_ids
        return ids

    return tokens


def _loaded(who: str, kind: Any, folder: Path, **how: object) -> nn.Module:
    model, found = kind.from_pretrained(
        str(folder),
        local_files_only=True,
        use_safetensors=True,
        output_loading_info=True,
        **how,
    )
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if found.get(what):
            raise ContractError(
                f"{who}: expected the tensors of {kind.__name__} in the part {folder.name}, got "
                f"{what.replace('_', ' ')}: {sorted(map(str, found[what]))[0]}; save the pipeline "
                "again"
            )
    loaded: nn.Module = model.float()
    return loaded


def _diffusers(who: str) -> Any:
    try:
        import diffusers
    except ImportError as error:
        raise _missing(who, "diffusers") from error
    return diffusers


def _transformers(who: str) -> Any:
    try:
        import transformers
    except ImportError as error:
        raise _missing(who, "transformers") from error
    return transformers


def _missing(who: str, package: str) -> MissingResource:
    return MissingResource(
        f"{who}: expected the package {package}, got none; install it with "
        "`pip install fpbench[latent]`"
    )
