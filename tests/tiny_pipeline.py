"""A text-to-image pipeline of a few thousand weights, saved as diffusers saves large ones."""

import json

from tiny_autoencoders import autoencoder_kl, seeded

WORDS = ["a", "cat", "dog", "of", "photo", "red"]
LENGTH = 8


def tokenizer(folder):
    """One token a letter or a word, of the kind that Stable Diffusion has."""
    from transformers import CLIPTokenizer

    letters = sorted(set("".join(WORDS)))
    merges, tokens = [], letters + [f"{letter}</w>" for letter in letters]
    for word in WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            merges.append(f"{parts[0]} {parts[1]}")
            parts = [parts[0] + parts[1], *parts[2:]]
            tokens.append(parts[0])
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}))
    lines = ["#version: 0.2", *dict.fromkeys(merges)]
    (folder / "merges.txt").write_text("\n".join(lines))
    return CLIPTokenizer.from_pretrained(str(folder), model_max_length=LENGTH), len(tokens)


def pipeline(folder, scheduler="DDIMScheduler", **rule):
    """Saves one into an empty folder, and returns it.

    Args:
        folder: for it.
        scheduler: a class of diffusers.
        rule: further settings of the scheduler.
    """
    import diffusers
    from transformers import CLIPTextConfig, CLIPTextModel

    words, size = tokenizer(folder)
    text = CLIPTextConfig(
        vocab_size=size,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        bos_token_id=size - 2,
        eos_token_id=size - 1,
        pad_token_id=size - 1,
    )
    unet = seeded(
        lambda: diffusers.UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=8,
            attention_head_dim=2,
            norm_num_groups=4,
        )
    )
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    settings = {**betas, "clip_sample": False, "steps_offset": 1, "set_alpha_to_one": False} | rule
    known = getattr(diffusers, scheduler)
    made = diffusers.StableDiffusionPipeline(
        vae=autoencoder_kl(scaling_factor=0.3),
        text_encoder=seeded(lambda: CLIPTextModel(text)),
        tokenizer=words,
        unet=unet,
        scheduler=known.from_config(settings),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    made.save_pretrained(folder / "pipeline")
    made.set_progress_bar_config(disable=True)
    return made
