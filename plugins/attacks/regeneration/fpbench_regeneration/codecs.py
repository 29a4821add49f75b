"""Published neural codecs of sounds, EnCodec and DAC, from folders as transformers saves them."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fpbench.api import Context, ContractError, MissingResource, State
from fpbench.nn.batches import alike
from fpbench.nn.state import filled, part, placed, prefixed
from fpbench_regeneration.codec_files import CLASSES, CONFIG, WEIGHTS, check

if TYPE_CHECKING:
    from torch import nn

__all__ = ["passed", "read_codec"]


def read_codec(who: str, place: str, digest: str, ctx: Context) -> State:
    """A codec as a state: ``codec.*``, ``about`` how it is built, ``files`` their digest.

    Raises:
        ContractError: the tensors are others than those of the configuration.
        MissingResource: it is not there, or transformers is not installed.
    """
    folder = check(who, place)
    about = json.loads((folder / CONFIG).read_text("utf-8"))
    kind = getattr(_transformers(who), CLASSES[about["model_type"]])
    try:
        model, found = kind.from_pretrained(
            str(folder),
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            dtype=torch.float32,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ContractError(
            f"{who}: expected the tensors of {kind.__name__} in {folder.name}/{WEIGHTS}, got "
            f"others ({error}); save the model again with transformers"
        ) from error
    if wrong := sorted(map(str, [*found["missing_keys"], *found["unexpected_keys"]])):
        raise ContractError(
            f"{who}: expected the tensors of {kind.__name__} in {folder.name}/{WEIGHTS}, got "
            f"missing or left over: {', '.join(wrong[:5])}; save the model again with transformers"
        )
    text = model.config.to_json_string(use_diff=False).encode()
    return {
        **{name: t.detach().to(ctx.device) for name, t in prefixed({"codec": model}).items()},
        "about": torch.tensor(list(text), dtype=torch.uint8, device=ctx.device),
        "files": torch.tensor(list(bytes.fromhex(digest)), dtype=torch.uint8, device=ctx.device),
    }


@torch.no_grad()
def passed(sounds: Tensor, passes: int, bitrate: float | None, ctx: Context) -> Tensor:
    """Sounds (N, C, T) int16 after so many passes through the codec of `ctx.fitted`.

    Each channel is a sound of its own, at the codec's rate.

    Args:
        sounds: at least one, at a stated rate.
        passes: at least one.
        bitrate: kbit/s; the codec takes the nearest that it has. None = its highest.
        ctx: of the attack.
    """
    state, rate = ctx.fitted, ctx.info.rate
    assert rate is not None  # sounds have one
    name = f"codec {bytes(state['files'].tolist()).hex()} {ctx.device}"
    codec: Any = ctx.once(name, lambda: placed(_opened(state), ctx.device).eval())
    own, length = codec.config.sampling_rate, sounds.shape[-1]
    for _ in range(passes):
        waves = ctx.modality.to_float(sounds).reshape(-1, length)
        heard = _resampled(waves, rate, own)
        # As images of one row, which is what batches of one size are made of.
        coded = alike(lambda rows: _coded(codec, rows[:, 0], bitrate), heard[:, None, None])
        back = _resampled(coded, own, rate)[:, :length]
        sounds = ctx.modality.to_file(back.reshape(sounds.shape).to(ctx.device))
    return sounds


def _coded(codec: Any, waves: Tensor, bitrate: float | None) -> Tensor:
    """Waves (N, 1, L), encoded and decoded, (N, L)."""
    length, hop = waves.shape[-1], math.prod(_ratios(codec.config))
    # With silence up to the next frame, so that the end is drawn, too.
    whole = torch.nn.functional.pad(waves, (0, -length % hop))
    if codec.config.model_type == "encodec":
        known = codec.config.target_bandwidths
        wanted = max(known) if bitrate is None else min(known, key=lambda k: abs(k - bitrate))
        found = codec.encode(whole, bandwidth=wanted)
        made: Tensor = codec.decode(found.audio_codes, found.audio_scales)[0][:, 0]
    else:
        config = codec.config
        each = config.sampling_rate / hop * math.log2(config.codebook_size) / 1000
        books = config.n_codebooks if bitrate is None else max(1, round(bitrate / each))
        found = codec.encode(whole, n_quantizers=min(books, config.n_codebooks))
        made = codec.decode(quantized_representation=found.quantized_representation)[0]
        made = made.reshape(len(whole), -1)
    return torch.nn.functional.pad(made, (0, max(0, length - made.shape[-1])))[:, :length]


def _ratios(config: Any) -> list[int]:
    """By how much each stage of a codec shortens a sound."""
    ratios = config.upsampling_ratios if config.model_type == "encodec" else None
    return list(ratios or config.downsampling_ratios)


def _resampled(waves: Tensor, own: int, rate: int) -> Tensor:
    """Waves (N, T) at another rate."""
    if own == rate:
        return waves
    from scipy.signal import resample_poly

    common = math.gcd(own, rate)
    values = waves.double().cpu().numpy()
    found = resample_poly(values, rate // common, own // common, axis=-1)
    return torch.from_numpy(found).to(waves)


def _opened(state: State) -> nn.Module:
    library = _transformers("attack regenerate")
    about = json.loads(bytes(state["about"].tolist()))
    name = CLASSES[about["model_type"]]
    config = getattr(library, name.replace("Model", "Config")).from_dict(about)
    codec: nn.Module = filled(lambda: getattr(library, name)(config), part(state, "codec"))
    return codec


def _transformers(who: str) -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingResource(
            f"{who}: expected the package transformers for a published codec of sounds, got none; "
            "install it with `pip install fpbench[latent]`"
        ) from error
    library: Any = transformers
    library.utils.logging.disable_progress_bar()
    return library
